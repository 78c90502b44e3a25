"""Layers that compute in integers, in C.

Their state is plain: int8 weights, scales, zero points, the name of their numerics profile. Packed weights are made
from it when a layer first runs.
"""

from . import dynamic as dynamic, functional as functional
from .activations import ELU as ELU, Hardsigmoid as Hardsigmoid, Hardswish as Hardswish, LeakyReLU as LeakyReLU
from .activations import Sigmoid as Sigmoid, Tanh as Tanh
from .conv import Conv1d as Conv1d, Conv2d as Conv2d, Conv3d as Conv3d, ConvReLU1d as ConvReLU1d
from .conv import ConvReLU2d as ConvReLU2d, ConvReLU3d as ConvReLU3d, ConvTranspose1d as ConvTranspose1d
from .conv import ConvTranspose2d as ConvTranspose2d, ConvTranspose3d as ConvTranspose3d
from .functionals import FloatFunctional as FloatFunctional, FXFloatFunctional as FXFloatFunctional
from .functionals import QFunctional as QFunctional, QScalarFunctional as QScalarFunctional
from .fused import Conv2dHardswish as Conv2dHardswish, Conv2dReLU6 as Conv2dReLU6, ConvAdd2d as ConvAdd2d
from .fused import ConvAddReLU2d as ConvAddReLU2d, LinearLeakyReLU as LinearLeakyReLU, LinearTanh as LinearTanh
from .linear import Linear as Linear, LinearReLU as LinearReLU
from .norm import BatchNorm1d as BatchNorm1d, BatchNorm2d as BatchNorm2d, BatchNorm3d as BatchNorm3d
from .norm import BNReLU2d as BNReLU2d, BNReLU3d as BNReLU3d, Dropout as Dropout, GroupNorm as GroupNorm
from .norm import InstanceNorm1d as InstanceNorm1d, InstanceNorm2d as InstanceNorm2d, InstanceNorm3d as InstanceNorm3d
from .norm import LayerNorm as LayerNorm, PReLU as PReLU, ReLU6 as ReLU6, Softmax as Softmax
from .quantize import DeQuantize as DeQuantize, Quantize as Quantize
from .weight_only import Embedding as Embedding, EmbeddingBag as EmbeddingBag, WeightOnlyLinear as WeightOnlyLinear
