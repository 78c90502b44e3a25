"""Layers that compute in integers, in C.

Their state is plain: int8 weights, scales, zero points, the name of their numerics profile. Packed weights are made
from it when a layer first runs.
"""

from . import dynamic as dynamic
from . import functional as functional
from .activations import ELU as ELU
from .activations import Hardsigmoid as Hardsigmoid
from .activations import Hardswish as Hardswish
from .activations import LeakyReLU as LeakyReLU
from .activations import Sigmoid as Sigmoid
from .activations import Tanh as Tanh
from .conv import Conv1d as Conv1d
from .conv import Conv2d as Conv2d
from .conv import Conv3d as Conv3d
from .conv import ConvReLU1d as ConvReLU1d
from .conv import ConvReLU2d as ConvReLU2d
from .conv import ConvReLU3d as ConvReLU3d
from .conv import ConvTranspose1d as ConvTranspose1d
from .conv import ConvTranspose2d as ConvTranspose2d
from .conv import ConvTranspose3d as ConvTranspose3d
from .functionals import FloatFunctional as FloatFunctional
from .functionals import FXFloatFunctional as FXFloatFunctional
from .functionals import QFunctional as QFunctional
from .functionals import QScalarFunctional as QScalarFunctional
from .fused import Conv2dHardswish as Conv2dHardswish
from .fused import Conv2dReLU6 as Conv2dReLU6
from .fused import ConvAdd2d as ConvAdd2d
from .fused import ConvAddReLU2d as ConvAddReLU2d
from .fused import LinearLeakyReLU as LinearLeakyReLU
from .fused import LinearTanh as LinearTanh
from .linear import Linear as Linear
from .linear import LinearReLU as LinearReLU
from .norm import BatchNorm1d as BatchNorm1d
from .norm import BatchNorm2d as BatchNorm2d
from .norm import BatchNorm3d as BatchNorm3d
from .norm import BNReLU2d as BNReLU2d
from .norm import BNReLU3d as BNReLU3d
from .norm import Dropout as Dropout
from .norm import GroupNorm as GroupNorm
from .norm import InstanceNorm1d as InstanceNorm1d
from .norm import InstanceNorm2d as InstanceNorm2d
from .norm import InstanceNorm3d as InstanceNorm3d
from .norm import LayerNorm as LayerNorm
from .norm import PReLU as PReLU
from .norm import ReLU6 as ReLU6
from .norm import Softmax as Softmax
from .quantize import DeQuantize as DeQuantize
from .quantize import Quantize as Quantize
from .weight_only import Embedding as Embedding
from .weight_only import EmbeddingBag as EmbeddingBag
from .weight_only import WeightOnlyLinear as WeightOnlyLinear
