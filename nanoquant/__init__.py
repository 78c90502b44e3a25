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
from .autograd.tape import no_grad as no_grad
from .autograd.tensor import Tensor as Tensor
from .creation import cat as cat
from .creation import manual_seed as manual_seed
from .creation import ones as ones
from .creation import rand as rand
from .creation import randn as randn
from .creation import tensor as tensor
from .creation import zeros as zeros
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
from .io import load as load
from .io import save as save

import numpy as _np

__version__ = "0.1.0"

inference_mode = no_grad
float16 = _np.dtype(_np.float16)
float32 = _np.dtype(_np.float32)
int64 = _np.dtype(_np.int64)
