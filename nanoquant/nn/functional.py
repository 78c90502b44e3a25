"""The functions that layers are made of, under torch's names. Each stands beside its layer.

Functions of one image or matrix take a Tensor or a QTensor: what leaves a scale alone works on integers as it stands,
so that these layers need no quantized twin.

Before: `attention`. After: `intrinsic`.
"""

from .activation import elu, gelu, hardsigmoid, hardswish, hardtanh, leaky_relu, log_softmax, prelu, relu, relu6
from .activation import celu, logsigmoid, mish, selu, sigmoid, silu, softmax, softplus, softsign, tanh
from .attention import scaled_dot_product_attention
from .conv import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
from .embedding import embedding, embedding_bag, one_hot
from .linear import linear
from .loss import binary_cross_entropy, binary_cross_entropy_with_logits, cross_entropy, kl_div, l1_loss, mse_loss
from .loss import nll_loss, smooth_l1_loss
from .norm import batch_norm, dropout, dropout2d, group_norm, instance_norm, layer_norm, normalize
from .pool import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from .pool import adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d
from .pool import avg_pool1d, avg_pool2d, avg_pool3d, max_pool1d, max_pool2d, max_pool3d
from .shape import interpolate, pad, pixel_shuffle
