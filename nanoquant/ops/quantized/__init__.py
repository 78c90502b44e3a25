"""The quantized operators, with torch's names and argument order: what layers do, without a layer.

    packed = linear_prepack(weight, bias)              weight: a qint8 QTensor; read here: backends.quantized.engine
    y = linear(x, packed, scale, zero_point)           x: a quint8 or qint8 QTensor; y: like x, with this scale

Results have the dtype of their (first) input. What does not change a scale (max_pool2d, clamp, mean) keeps it.

Before: `nanoquant.nn`. After: `nanoquant.quantization`.
"""

from .activation import clamp as clamp
from .activation import elu as elu
from .activation import hardsigmoid as hardsigmoid
from .activation import hardswish as hardswish
from .activation import leaky_relu as leaky_relu
from .activation import relu6 as relu6
from .activation import sigmoid as sigmoid
from .activation import tanh as tanh
from .arithmetic import add as add
from .arithmetic import add_relu as add_relu
from .arithmetic import cat as cat
from .arithmetic import cat_relu as cat_relu
from .arithmetic import mul as mul
from .arithmetic import mul_relu as mul_relu
from .arithmetic import requantize as requantize
from .convolution import conv1d as conv1d
from .convolution import conv1d_prepack as conv1d_prepack
from .convolution import conv1d_relu as conv1d_relu
from .convolution import conv2d as conv2d
from .convolution import conv2d_prepack as conv2d_prepack
from .convolution import conv2d_relu as conv2d_relu
from .convolution import conv3d as conv3d
from .convolution import conv3d_prepack as conv3d_prepack
from .convolution import conv3d_relu as conv3d_relu
from .convolution import conv_transpose1d as conv_transpose1d
from .convolution import conv_transpose1d_prepack as conv_transpose1d_prepack
from .convolution import conv_transpose2d as conv_transpose2d
from .convolution import conv_transpose2d_prepack as conv_transpose2d_prepack
from .linear import linear as linear
from .linear import linear_dynamic as linear_dynamic
from .linear import linear_prepack as linear_prepack
from .linear import linear_relu as linear_relu
from .linear import linear_relu_dynamic as linear_relu_dynamic
from .normalization import batch_norm as batch_norm
from .normalization import batch_norm1d as batch_norm1d
from .normalization import batch_norm1d_relu as batch_norm1d_relu
from .normalization import batch_norm2d as batch_norm2d
from .normalization import batch_norm2d_relu as batch_norm2d_relu
from .normalization import batch_norm3d as batch_norm3d
from .normalization import batch_norm3d_relu as batch_norm3d_relu
from .normalization import batch_norm_relu as batch_norm_relu
from .normalization import layer_norm as layer_norm
from .normalization import softmax as softmax
from .pooling import adaptive_avg_pool2d as adaptive_avg_pool2d
from .pooling import avg_pool2d as avg_pool2d
from .pooling import max_pool1d as max_pool1d
from .pooling import max_pool2d as max_pool2d
from .pooling import mean as mean
