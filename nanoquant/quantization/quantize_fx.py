"""torch's module of this name: `from nanoquant.quantization.quantize_fx import prepare_fx, convert_fx`.

Before: `graph`. After: `nanoquant.io`.
"""

from .graph import GraphModule as GraphModule
from .graph import convert_fx as convert_fx
from .graph import convert_to_reference_fx as convert_to_reference_fx
from .graph import fuse_fx as fuse_fx
from .graph import prepare_fx as prepare_fx
from .graph import prepare_qat_fx as prepare_qat_fx
