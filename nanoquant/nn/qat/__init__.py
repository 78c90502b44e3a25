"""Layers for quantization-aware training: the weights are fake-quantized in every forward pass.

A twin takes the parameters of its float layer and `qconfig.weight()`; what comes out of it is fake-quantized by the
observer that `prepare_qat` attaches, as for any layer.
"""

from . import dynamic as dynamic
from .conv import Conv1d as Conv1d, Conv2d as Conv2d, Conv3d as Conv3d, ConvBn1d as ConvBn1d, ConvBn2d as ConvBn2d
from .conv import ConvBn3d as ConvBn3d, ConvBnReLU1d as ConvBnReLU1d, ConvBnReLU2d as ConvBnReLU2d
from .conv import ConvBnReLU3d as ConvBnReLU3d, ConvReLU1d as ConvReLU1d, ConvReLU2d as ConvReLU2d
from .conv import ConvReLU3d as ConvReLU3d, freeze_bn_stats as freeze_bn_stats, update_bn_stats as update_bn_stats
from .embedding import Embedding as Embedding, EmbeddingBag as EmbeddingBag
from .linear import Linear as Linear, LinearBn1d as LinearBn1d, LinearBnReLU1d as LinearBnReLU1d
from .linear import LinearReLU as LinearReLU
