"""Explain: what became of every layer and function, and why.

Before: `lower`. After: `custom_config`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...module import Module
from ..qconfig_mapping import Kinds, QConfigMapping, occurrences
from .ir import PARTS, walk
from .match import Domain
from .module import GraphModule

_STYLES = ("module_name_object_type_order", "module_name", "module_name_regex", "object_type")


@dataclass(frozen=True)
class Row:
    """One layer: its path, its class, the rule that chose its qconfig, the pattern it was fused by, where it computes."""

    path: str
    kind: str
    rule: str
    pattern: str
    computes: str


class Explanation(Sequence[Row]):
    """Rows, which print as a table."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows

    def __getitem__(self, index: Any) -> Any:
        return next(row for row in self.rows if row.path == index) if isinstance(index, str) else self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        names = tuple(Row.__annotations__)
        table = [names, *(tuple(getattr(row, name) or "-" for name in names) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)

    __repr__ = __str__


def rules_of(model: Module, mapping: QConfigMapping) -> dict[str, str]:
    """Which rule chooses the qconfig of each module; to be asked before the qconfigs are handed out."""
    rules = {"": "global"}
    for path, module, kinds in occurrences(model):
        above = rules[path.rpartition(".")[0]] if path else "global"
        inherited = above if above.startswith("own qconfig") else "global"
        if "qconfig" in module.__dict__:
            rules[path] = f"own qconfig of {path or 'the model'}"
        else:
            rules[path] = rule_of(mapping, path, kinds, inherited)
    return rules


def rule_of(mapping: QConfigMapping, path: str, kinds: Kinds, inherited: str = "global") -> str:
    """The first style of the mapping, strongest first, that says something of a place."""
    nothing: Any = object()
    for style in _STYLES:
        table = f"{style}_qconfigs"
        alone = QConfigMapping(**{table: getattr(mapping, table)})
        if alone.resolve(path, kinds, nothing) is not nothing:
            return style
    return inherited


def explain(model: GraphModule) -> Explanation:
    """A row for each layer and each function that became one, of a model that prepare_fx or convert_fx returned.

    Raises TypeError for a model that did not go through graph mode.
    """
    if not isinstance(model, GraphModule) or "rules" not in model.notes:
        raise TypeError(f"explain takes what prepare_fx or convert_fx returned; got {type(model).__name__}")
    rows, notes = [], model.notes
    for node in model.graph.nodes:
        if node.op in ("placeholder", "get_attr", "output"):
            continue
        called = model.called(node)
        takes, gives = notes["ends"].get(node.name, ("", ""))
        kind = type(model.get_submodule(called)).__name__ if called else getattr(node.target, "__name__", node.target)
        rule = notes["rules"].get(called, "placed at a border" if called else "")
        rows.append(Row(called or node.name, kind, rule, notes.get("pattern", {}).get(called, ""), _place(takes, gives, rule)))
    return Explanation(rows)


def _place(takes: str, gives: str, rule: str) -> str:
    """'integers', or why not."""
    if rule == "placed at a border":
        return "border"
    if takes == Domain.ANY.value:
        return f"{gives}, as its input"
    if Domain.FLOAT.value not in (takes, gives):
        return gives
    return "float: no kernel for integers, or no static qconfig" if takes == gives else f"{takes} to {gives}"


def mark(gm: GraphModule, rules: dict[str, str]) -> None:
    """Notes the rules of the layers that the graph calls."""
    called = {node.target for op in PARTS for node in walk(gm.graph, op)}
    gm.notes["rules"] = {path: rule for path, rule in rules.items() if path in called}
