"""Layers with int8 weights and float activations, which are quantized by the range they have at every call."""

from .conv import Conv1d as Conv1d
from .conv import Conv2d as Conv2d
from .conv import Conv3d as Conv3d
from .conv import ConvTranspose1d as ConvTranspose1d
from .conv import ConvTranspose2d as ConvTranspose2d
from .conv import ConvTranspose3d as ConvTranspose3d
from .linear import Float16Linear as Float16Linear
from .linear import Linear as Linear
from .linear import LinearReLU as LinearReLU
from .recurrent import GRU as GRU
from .recurrent import LSTM as LSTM
from .recurrent import RNN as RNN
from .recurrent import GRUCell as GRUCell
from .recurrent import LSTMCell as LSTMCell
from .recurrent import RNNCell as RNNCell
from .weighted import Dynamic as Dynamic
from .weighted import product as product
