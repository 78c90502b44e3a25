"""The quantized operators, with torch's names and argument order: what layers do, without a layer.

    packed = linear_prepack(weight, bias)              weight: a qint8 QTensor; read here: backends.quantized.engine
    y = linear(x, packed, scale, zero_point)           x: a quint8 or qint8 QTensor; y: like x, with this scale

Results have the dtype of their (first) input. What does not change a scale (max_pool2d, clamp, mean) keeps it.

Before: `nanoquant.nn`. After: `nanoquant.quantization`.
"""

from ...nn.quantized.activation import clamp as clamp, elu as elu, hardsigmoid as hardsigmoid, hardswish as hardswish
from ...nn.quantized.activation import leaky_relu as leaky_relu, relu6 as relu6, sigmoid as sigmoid, tanh as tanh
from ...nn.quantized.arithmetic import add as add, add_relu as add_relu, cat as cat, cat_relu as cat_relu, mul as mul
from ...nn.quantized.arithmetic import mul_relu as mul_relu, requantize as requantize
from ...nn.quantized.normalization import batch_norm as batch_norm, batch_norm1d as batch_norm1d
from ...nn.quantized.normalization import batch_norm1d_relu as batch_norm1d_relu, batch_norm2d as batch_norm2d
from ...nn.quantized.normalization import batch_norm2d_relu as batch_norm2d_relu, batch_norm3d as batch_norm3d
from ...nn.quantized.normalization import batch_norm3d_relu as batch_norm3d_relu, batch_norm_relu as batch_norm_relu
from ...nn.quantized.normalization import layer_norm as layer_norm, softmax as softmax
from ...nn.quantized.product import matmul as matmul
from .convolution import conv1d as conv1d, conv1d_prepack as conv1d_prepack, conv1d_relu as conv1d_relu
from .convolution import conv2d as conv2d, conv2d_prepack as conv2d_prepack, conv2d_relu as conv2d_relu
from .convolution import conv3d as conv3d, conv3d_prepack as conv3d_prepack, conv3d_relu as conv3d_relu
from .convolution import conv_transpose1d as conv_transpose1d, conv_transpose1d_prepack as conv_transpose1d_prepack
from .convolution import conv_transpose2d as conv_transpose2d, conv_transpose2d_prepack as conv_transpose2d_prepack
from .linear import linear as linear, linear_dynamic as linear_dynamic, linear_prepack as linear_prepack
from .linear import linear_relu as linear_relu, linear_relu_dynamic as linear_relu_dynamic
from .pooling import adaptive_avg_pool2d as adaptive_avg_pool2d, avg_pool2d as avg_pool2d, max_pool1d as max_pool1d
from .pooling import max_pool2d as max_pool2d, mean as mean
