"""nanoquant: the classic PyTorch quantization workflow, from scratch in NumPy and a little C.

    float32 array --observe--> range --choose_qparams--> QParams --quantize--> int8 array --pack--> PackedWeights
    uint8 activations + PackedWeights --micro-kernel--> int32 accumulators --requantize--> uint8 --dequantize--> float32

The names below stand in the order in which the source is best read.
"""

from .scheme import QDType as QDType
from .scheme import QScheme as QScheme
from .scheme import per_channel_affine as per_channel_affine
from .scheme import per_channel_affine_float_qparams as per_channel_affine_float_qparams
from .scheme import per_channel_symmetric as per_channel_symmetric
from .scheme import per_group_affine as per_group_affine
from .scheme import per_group_symmetric as per_group_symmetric
from .scheme import per_tensor_affine as per_tensor_affine
from .scheme import per_tensor_symmetric as per_tensor_symmetric
from .scheme import per_token_affine as per_token_affine
from .scheme import per_token_symmetric as per_token_symmetric
from .scheme import qint4 as qint4
from .scheme import qint8 as qint8
from .scheme import qint16 as qint16
from .scheme import qint32 as qint32
from .scheme import quint4 as quint4
from .scheme import quint8 as quint8
from .qparams import QParams as QParams
from . import autograd as autograd
from .autograd.tape import is_grad_enabled as is_grad_enabled
from .autograd.tape import no_grad as no_grad
from .autograd.tape import set_grad_enabled as set_grad_enabled
from .autograd.tensor import Tensor as Tensor
from .methods import device as device

# fmt: off
from .creation import arange as arange, as_tensor as as_tensor, empty as empty, empty_like as empty_like, eye as eye
from .creation import from_numpy as from_numpy, full as full, full_like as full_like, linspace as linspace
from .creation import manual_seed as manual_seed, ones as ones, ones_like as ones_like, rand as rand
from .creation import rand_like as rand_like, randint as randint, randn as randn, randn_like as randn_like
from .creation import randperm as randperm, tensor as tensor, zeros as zeros, zeros_like as zeros_like
from .functions import abs as abs, add as add, all as all, allclose as allclose, amax as amax, amin as amin
from .functions import bincount as bincount, count_nonzero as count_nonzero, dot as dot, is_tensor as is_tensor
from .functions import is_floating_point as is_floating_point, lerp as lerp, log10 as log10, log2 as log2
from .functions import logical_and as logical_and, logical_not as logical_not, logical_or as logical_or
from .functions import logsumexp as logsumexp, median as median, numel as numel, reciprocal as reciprocal
from .functions import repeat_interleave as repeat_interleave, roll as roll, scatter as scatter, square as square
from .functions import tril as tril, triu as triu, trunc as trunc, unique as unique
from .functions import any as any, argmax as argmax, argmin as argmin, argsort as argsort, bmm as bmm, cat as cat
from .functions import ceil as ceil, chunk as chunk, clamp as clamp, clone as clone, cos as cos, cumsum as cumsum
from .functions import div as div, einsum as einsum, eq as eq, equal as equal, erf as erf, exp as exp
from .functions import fake_quantize_per_channel_affine as fake_quantize_per_channel_affine
from .functions import fake_quantize_per_tensor_affine as fake_quantize_per_tensor_affine
from .functions import flatten as flatten, flip as flip, floor as floor, floor_divide as floor_divide
from .functions import gather as gather, ge as ge, gt as gt, index_select as index_select, isfinite as isfinite
from .functions import isinf as isinf, isnan as isnan, le as le, log as log, log1p as log1p
from .functions import log_softmax as log_softmax, lt as lt, masked_fill as masked_fill
from .functions import masked_select as masked_select, matmul as matmul, max as max, maximum as maximum, mean as mean
from .functions import min as min, minimum as minimum, mm as mm, mul as mul, ne as ne, neg as neg, nonzero as nonzero
from .functions import norm as norm, outer as outer, permute as permute, pow as pow, prod as prod, relu as relu
from .functions import remainder as remainder, reshape as reshape, round as round, rsqrt as rsqrt, sigmoid as sigmoid
from .functions import sign as sign, sin as sin, softmax as softmax, sort as sort, split as split, sqrt as sqrt
from .functions import squeeze as squeeze, stack as stack, std as std, sub as sub, sum as sum, tanh as tanh
from .functions import topk as topk, transpose as transpose, unbind as unbind, unsqueeze as unsqueeze, var as var
from .functions import where as where
# fmt: on
from .qtensor import QTensor as QTensor
from .qtensor import quantize_per_channel as quantize_per_channel
from .qtensor import quantize_per_tensor as quantize_per_tensor
from .kernels.native import get_num_threads as get_num_threads
from .kernels.native import set_num_threads as set_num_threads
from . import nn as nn
from . import ops as ops
from . import backends as backends
from . import optim as optim
from . import quantization as quantization
from . import data as data
from .io import load as load
from .io import save as save

import numpy as _np

__version__ = "0.1.0"

inference_mode = no_grad
float16, float32, float64 = _np.dtype(_np.float16), _np.dtype(_np.float32), _np.dtype(_np.float64)
int8, int16, int32, int64 = _np.dtype(_np.int8), _np.dtype(_np.int16), _np.dtype(_np.int32), _np.dtype(_np.int64)
uint8, bool = _np.dtype(_np.uint8), _np.dtype(_np.bool_)
half, float, double, int, long = float16, float32, float64, int32, int64
