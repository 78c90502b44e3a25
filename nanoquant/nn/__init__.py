"""Networks: float layers, their fused, quantization-aware and integer twins. Names and arguments are torch's.

In reading order: `windows`, `pooling`, `spatial` and `normalization`, the ops of image networks; `layer`, and the float
layers with their functions; `functional`, all functions under one name; `intrinsic` (fused), `qat`, `quantized`.
"""

from ..autograd.parameter import Parameter
from ..module import Module
from . import functional, init, intrinsic, qat, quantizable, quantized, utils
from .activation import ELU, GELU, Hardsigmoid, Hardswish, Hardtanh, LeakyReLU, LogSoftmax, PReLU, ReLU, ReLU6
from .activation import CELU, SELU, LogSigmoid, Mish, Sigmoid, SiLU, Softmax, Softplus, Softsign, Tanh
from .attention import MultiheadAttention, TransformerEncoder, TransformerEncoderLayer
from .attention import NonDynamicallyQuantizableLinear
from .container import ModuleDict, ModuleList, ParameterList, Sequential
from .conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .embedding import Embedding, EmbeddingBag
from .linear import Identity, Linear
from .loss import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, KLDivLoss, L1Loss, MSELoss, NLLLoss, SmoothL1Loss
from .norm import BatchNorm1d, BatchNorm2d, BatchNorm3d, Dropout, Dropout2d, GroupNorm, LayerNorm
from .norm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from .pool import AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d
from .pool import AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d
from .pool import AvgPool1d, AvgPool2d, AvgPool3d, MaxPool1d, MaxPool2d, MaxPool3d
from .recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from .shape import ConstantPad1d, ConstantPad2d, ConstantPad3d, Flatten, PixelShuffle, Unflatten, Upsample
from .shape import (
    ReflectionPad1d,
    ReflectionPad2d,
    ReflectionPad3d,
    ReplicationPad1d,
    ReplicationPad2d,
    ReplicationPad3d,
)
from .shape import ZeroPad1d, ZeroPad2d, ZeroPad3d
