"""Networks: float layers, their fused, quantization-aware and integer twins. Names and arguments are torch's.

In reading order: `windows`, `pooling`, `spatial` and `normalization`, the ops of image networks; `layer`, and the float
layers with their functions; `functional`, all functions under one name; `intrinsic` (fused), `qat`, `quantized`.
"""

from ..autograd.parameter import Parameter as Parameter
from ..module import Module as Module
from . import functional as functional, init as init, intrinsic as intrinsic, qat as qat, quantizable as quantizable
from . import quantized as quantized, utils as utils
from .activation import ELU as ELU, GELU as GELU, Hardsigmoid as Hardsigmoid, Hardswish as Hardswish
from .activation import Hardtanh as Hardtanh, LeakyReLU as LeakyReLU, LogSoftmax as LogSoftmax, PReLU as PReLU
from .activation import ReLU as ReLU, ReLU6 as ReLU6, CELU as CELU, SELU as SELU, LogSigmoid as LogSigmoid, Mish as Mish
from .activation import Sigmoid as Sigmoid, SiLU as SiLU, Softmax as Softmax, Softplus as Softplus, Softsign as Softsign
from .activation import Tanh as Tanh
from .attention import MultiheadAttention as MultiheadAttention, TransformerEncoder as TransformerEncoder
from .attention import TransformerEncoderLayer as TransformerEncoderLayer
from .attention import NonDynamicallyQuantizableLinear as NonDynamicallyQuantizableLinear
from .container import ModuleDict as ModuleDict, ModuleList as ModuleList, ParameterList as ParameterList
from .container import Sequential as Sequential
from .conv import Conv1d as Conv1d, Conv2d as Conv2d, Conv3d as Conv3d, ConvTranspose1d as ConvTranspose1d
from .conv import ConvTranspose2d as ConvTranspose2d, ConvTranspose3d as ConvTranspose3d
from .embedding import Embedding as Embedding, EmbeddingBag as EmbeddingBag
from .linear import Identity as Identity, Linear as Linear
from .loss import BCELoss as BCELoss, BCEWithLogitsLoss as BCEWithLogitsLoss, CrossEntropyLoss as CrossEntropyLoss
from .loss import KLDivLoss as KLDivLoss, L1Loss as L1Loss, MSELoss as MSELoss, NLLLoss as NLLLoss
from .loss import SmoothL1Loss as SmoothL1Loss
from .norm import BatchNorm1d as BatchNorm1d, BatchNorm2d as BatchNorm2d, BatchNorm3d as BatchNorm3d, Dropout as Dropout
from .norm import Dropout2d as Dropout2d, GroupNorm as GroupNorm, LayerNorm as LayerNorm
from .norm import InstanceNorm1d as InstanceNorm1d, InstanceNorm2d as InstanceNorm2d, InstanceNorm3d as InstanceNorm3d
from .pool import AdaptiveAvgPool1d as AdaptiveAvgPool1d, AdaptiveAvgPool2d as AdaptiveAvgPool2d
from .pool import AdaptiveAvgPool3d as AdaptiveAvgPool3d, AdaptiveMaxPool1d as AdaptiveMaxPool1d
from .pool import AdaptiveMaxPool2d as AdaptiveMaxPool2d, AdaptiveMaxPool3d as AdaptiveMaxPool3d, AvgPool1d as AvgPool1d
from .pool import AvgPool2d as AvgPool2d, AvgPool3d as AvgPool3d, MaxPool1d as MaxPool1d, MaxPool2d as MaxPool2d
from .pool import MaxPool3d as MaxPool3d
from .recurrent import GRU as GRU, LSTM as LSTM, RNN as RNN, GRUCell as GRUCell, LSTMCell as LSTMCell
from .recurrent import RNNCell as RNNCell
from .shape import ConstantPad1d as ConstantPad1d, ConstantPad2d as ConstantPad2d, ConstantPad3d as ConstantPad3d
from .shape import Flatten as Flatten, PixelShuffle as PixelShuffle, Unflatten as Unflatten, Upsample as Upsample
from .shape import ReflectionPad1d as ReflectionPad1d, ReflectionPad2d as ReflectionPad2d
from .shape import ReflectionPad3d as ReflectionPad3d, ReplicationPad1d as ReplicationPad1d
from .shape import ReplicationPad2d as ReplicationPad2d, ReplicationPad3d as ReplicationPad3d, ZeroPad1d as ZeroPad1d
from .shape import ZeroPad2d as ZeroPad2d, ZeroPad3d as ZeroPad3d
