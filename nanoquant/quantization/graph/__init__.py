"""Graph mode: the model is traced, and the tool places stubs, fuses and chooses. One file for each pass, in this order:
trace, functions, fuse, match, observe, reference, lower."""

from .custom_config import ConvertCustomConfig as ConvertCustomConfig
from .custom_config import FuseCustomConfig as FuseCustomConfig
from .custom_config import PrepareCustomConfig as PrepareCustomConfig
from .explain import explain as explain
from .ir import Graph as Graph
from .ir import GraphError as GraphError
from .ir import Node as Node
from .module import GraphModule as GraphModule
from .trace import TraceError as TraceError
from .trace import symbolic_trace as symbolic_trace
from .workflow import convert_fx as convert_fx
from .workflow import convert_to_reference_fx as convert_to_reference_fx
from .workflow import fuse_fx as fuse_fx
from .workflow import prepare_fx as prepare_fx
from .workflow import prepare_qat_fx as prepare_qat_fx
