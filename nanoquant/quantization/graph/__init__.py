"""Graph mode: the model is traced, and the tool places stubs, fuses and chooses. One file for each pass, in this order:
trace, functions, fuse, match, observe, reference, lower."""

from .custom_config import ConvertCustomConfig as ConvertCustomConfig, FuseCustomConfig as FuseCustomConfig
from .custom_config import PrepareCustomConfig as PrepareCustomConfig
from .explain import explain as explain
from .ir import Graph as Graph, GraphError as GraphError, Node as Node
from .module import GraphModule as GraphModule
from .trace import TraceError as TraceError, symbolic_trace as symbolic_trace
from .workflow import convert_fx as convert_fx, convert_to_reference_fx as convert_to_reference_fx, fuse_fx as fuse_fx
from .workflow import prepare_fx as prepare_fx, prepare_qat_fx as prepare_qat_fx
