"""Lower: observed layers become integer layers, by eager mode's own `convert`; then what is not needed goes.

    dequantize -> quantize to the grid that the integers have        nothing
    conv -> relu6                                                    conv, whose output ends at 0 and 6: the same integers

Before: `reference`. After: `custom_config`.
"""

from __future__ import annotations

from typing import Any

from ...affine import quantize_as
from ...nn import ReLU6
from ...nn.quantized.fused import at_most_six
from ...nn.quantized.quantize import DeQuantize, Quantize
from ...nn.quantized.weighted import Static
from ..eager.convert import convert, without_qconfigs
from .ir import Node, walk
from .module import GraphModule


def lower(gm: GraphModule, observed_to_quantized: dict[type[Any], type[Any]], remove_qconfig: bool) -> GraphModule:
    """A copy in integers."""
    custom = {"observed_to_quantized_custom_module_class": observed_to_quantized}
    lowered = convert(gm, remove_qconfig=False, convert_custom_config_dict=custom)
    for part in [m for m in lowered.modules() if isinstance(m, GraphModule)]:
        for back, forth in needless_pairs(part):
            part.graph.replace(forth, back.args[0])
            if not part.graph.users(back):
                part.graph.nodes.remove(back)
        _clip(part)
        part.prune()
        part.recompile()
    return without_qconfigs(lowered) if remove_qconfig else lowered  # type: ignore[return-value]


def _clip(gm: GraphModule) -> None:
    """Gives a layer with weights the limits of the ReLU6 that alone takes what it puts out, and removes that."""
    for node in [n for n in walk(gm.graph, "call_module") if type(gm.get_submodule(n.target)) is ReLU6]:
        source = node.inputs[0]
        layer = gm.get_submodule(source.target) if source.op == "call_module" else None
        if not isinstance(layer, Static) or gm.graph.users(source) != [node] or gm.calls(layer) != 1:
            continue
        if quantize_as(6.0, layer.output()) >= 0:  # QParams have no grid whose last integer is negative
            layer.relu = True
            layer.set_output(at_most_six(layer.output()))
            gm.graph.replace(node, source)


def needless_pairs(gm: GraphModule) -> list[tuple[Node, Node]]:
    """Every DeQuantize whose result is quantized again to the grid of a Quantize or layer that it came from."""
    pairs = []
    for node in walk(gm.graph, "call_module"):
        back = node.args[0] if node.args and isinstance(node.args[0], Node) else None
        layer = gm.get_submodule(node.target)
        if not isinstance(layer, Quantize) or back is None or back.op != "call_module":
            continue
        source = _grid(gm, back.args[0]) if isinstance(gm.get_submodule(back.target), DeQuantize) else None
        own = layer.output()
        if source is not None and all(getattr(source, n) == getattr(own, n) for n in ("scale", "zero_point", "dtype")):
            pairs.append((back, node))
    return pairs


def _grid(gm: GraphModule, node: Node) -> Any:
    """The qparams of what a layer puts out, if it has some of its own."""
    layer: Any = gm.get_submodule(node.target) if node.op == "call_module" else None
    return layer.output() if hasattr(layer, "output") else None
