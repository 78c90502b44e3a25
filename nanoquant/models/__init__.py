"""Networks to train and to quantize, each under a page."""

from .digits_cnn import DigitsCNN as DigitsCNN
from .lenet import LeNet as LeNet
from .mobilenet import DSCNN as DSCNN, MobileNetV1 as MobileNetV1, MobileNetV2 as MobileNetV2
from .resnet import ResNet as ResNet, resnet8 as resnet8, resnet18 as resnet18, resnet50 as resnet50
from .sequence import LSTMClassifier as LSTMClassifier, TransformerClassifier as TransformerClassifier
