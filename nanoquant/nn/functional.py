"""The functions that layers are made of, under torch's names. Each stands beside its layer.

Functions of one image or matrix take a Tensor or a QTensor: what leaves a scale alone works on integers as it stands,
so that these layers need no quantized twin.

Before: `attention`. After: `intrinsic`.
"""

from .activation import elu as elu, gelu as gelu, hardsigmoid as hardsigmoid, hardswish as hardswish
from .activation import hardtanh as hardtanh, leaky_relu as leaky_relu, log_softmax as log_softmax, prelu as prelu
from .activation import relu as relu, relu6 as relu6, celu as celu, logsigmoid as logsigmoid, mish as mish, selu as selu
from .activation import sigmoid as sigmoid, silu as silu, softmax as softmax, softplus as softplus, softsign as softsign
from .activation import tanh as tanh
from .attention import scaled_dot_product_attention as scaled_dot_product_attention
from .conv import conv1d as conv1d, conv2d as conv2d, conv3d as conv3d, conv_transpose1d as conv_transpose1d
from .conv import conv_transpose2d as conv_transpose2d, conv_transpose3d as conv_transpose3d
from .embedding import embedding as embedding, embedding_bag as embedding_bag, one_hot as one_hot
from .linear import linear as linear
from .loss import binary_cross_entropy as binary_cross_entropy
from .loss import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits, cross_entropy as cross_entropy
from .loss import kl_div as kl_div, l1_loss as l1_loss, mse_loss as mse_loss, nll_loss as nll_loss
from .loss import smooth_l1_loss as smooth_l1_loss
from .norm import batch_norm as batch_norm, dropout as dropout, dropout2d as dropout2d, group_norm as group_norm
from .norm import instance_norm as instance_norm, layer_norm as layer_norm, normalize as normalize
from .pool import adaptive_avg_pool1d as adaptive_avg_pool1d, adaptive_avg_pool2d as adaptive_avg_pool2d
from .pool import adaptive_avg_pool3d as adaptive_avg_pool3d, adaptive_max_pool1d as adaptive_max_pool1d
from .pool import adaptive_max_pool2d as adaptive_max_pool2d, adaptive_max_pool3d as adaptive_max_pool3d
from .pool import avg_pool1d as avg_pool1d, avg_pool2d as avg_pool2d, avg_pool3d as avg_pool3d, max_pool1d as max_pool1d
from .pool import max_pool2d as max_pool2d, max_pool3d as max_pool3d
from .shape import interpolate as interpolate, pad as pad, pixel_shuffle as pixel_shuffle
