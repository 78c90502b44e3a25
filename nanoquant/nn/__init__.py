"""Networks: float layers, their fused, quantization-aware and integer twins. Names and arguments are torch's.

In reading order: `spatial` and `normalization`, the ops of image networks; `functional`; then the float layers,
`intrinsic` (fused), `qat`, `quantized`.
"""

from ..autograd.parameter import Parameter as Parameter
from ..module import Module as Module
from . import functional as functional
from . import intrinsic as intrinsic
from . import qat as qat
from . import quantized as quantized
from .activation import ReLU as ReLU
from .container import Sequential as Sequential
from .conv import Conv2d as Conv2d
from .linear import Identity as Identity
from .linear import Linear as Linear
from .loss import CrossEntropyLoss as CrossEntropyLoss
from .loss import MSELoss as MSELoss
from .norm import BatchNorm1d as BatchNorm1d
from .norm import BatchNorm2d as BatchNorm2d
from .pool import AdaptiveAvgPool2d as AdaptiveAvgPool2d
from .pool import AvgPool2d as AvgPool2d
from .pool import Dropout as Dropout
from .pool import Flatten as Flatten
from .pool import MaxPool2d as MaxPool2d
