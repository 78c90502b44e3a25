"""Networks to train and to quantize, each under a page."""

from .digits_cnn import DigitsCNN as DigitsCNN
from .lenet import LeNet as LeNet
from .mobilenet import DSCNN as DSCNN
from .mobilenet import MobileNetV1 as MobileNetV1
from .mobilenet import MobileNetV2 as MobileNetV2
from .resnet import ResNet as ResNet
from .resnet import resnet8 as resnet8
from .resnet import resnet18 as resnet18
from .resnet import resnet50 as resnet50
from .sequence import LSTMClassifier as LSTMClassifier
from .sequence import TransformerClassifier as TransformerClassifier
