"""Layers with int8 weights and float activations, which are quantized by the range they have at every call."""

from .conv import Conv1d as Conv1d, Conv2d as Conv2d, Conv3d as Conv3d, ConvTranspose1d as ConvTranspose1d
from .conv import ConvTranspose2d as ConvTranspose2d, ConvTranspose3d as ConvTranspose3d
from .linear import Float16Linear as Float16Linear, Linear as Linear, LinearReLU as LinearReLU
from .recurrent import GRU as GRU, LSTM as LSTM, RNN as RNN, GRUCell as GRUCell, LSTMCell as LSTMCell
from .recurrent import RNNCell as RNNCell
from .weighted import Dynamic as Dynamic, product as product
