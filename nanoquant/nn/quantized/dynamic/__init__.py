"""Layers with int8 weights and float activations, which are quantized by the range they have at every call."""

from .linear import Linear as Linear
from .linear import linear_dynamic as linear_dynamic
from .recurrent import GRU as GRU
from .recurrent import LSTM as LSTM
from .recurrent import RNN as RNN
from .recurrent import GRUCell as GRUCell
from .recurrent import LSTMCell as LSTMCell
from .recurrent import RNNCell as RNNCell
