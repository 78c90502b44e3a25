"""module: the tree, its state, its hooks, and where an error is."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import nanoquant as nq
from nanoquant import nn
from nanoquant.errors import ModuleError
from nanoquant.module import Module


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        self.head = nn.Linear(3, 1, bias=False)
        self.register_buffer("count", np.zeros(1, np.float32))
        self.register_buffer("scratch", np.ones(2), persistent=False)
        self.note = "plain"

    def forward(self, x: Any) -> Any:
        return self.head(self.body(x))


def test_the_tree() -> None:
    net = Net()
    assert [name for name, _ in net.named_modules()] == ["", "body", "body.0", "body.1", "head"]
    assert [name for name, _ in net.named_parameters()] == ["body.0.weight", "body.0.bias", "head.weight"]
    assert [name for name, _ in net.named_buffers()] == ["count", "scratch"]
    assert list(net.state_dict()) == ["count", "body.0.weight", "body.0.bias", "head.weight"]
    assert net.get_submodule("body.0") is net.body[0]
    assert net.get_submodule("") is net
    assert {"body", "count", "note"} <= set(dir(net))


def test_the_tree_is_printed_as_torch_prints_it() -> None:
    assert repr(Net()) == (
        "Net(\n"
        "  (body): Sequential(\n"
        "    (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "    (1): ReLU()\n"
        "  )\n"
        "  (head): Linear(in_features=3, out_features=1, bias=False)\n"
        ")"
    )


def test_attributes_are_filed_by_what_they_are() -> None:
    net = Net()
    net.head = nn.Identity()
    assert isinstance(net.head, nn.Identity)
    net.note = nn.Linear(1, 1)
    assert "note" in dict(net.named_children())
    net.count = np.ones(1, np.float32)
    assert net.state_dict()["count"][0] == 1
    del net.note
    with pytest.raises(AttributeError, match="'Net' has no attribute 'note'"):
        _ = net.note
    net.body[0].bias = None
    assert "body.0.bias" not in net.state_dict()
    with pytest.raises(TypeError, match="head is a Identity; got int"):
        net.head = 3


def test_names_are_checked() -> None:
    net = Net()
    for name in ("", "a.b"):
        with pytest.raises(KeyError, match="without dots"):
            net.register_buffer(name, None)
    with pytest.raises(KeyError, match="already has an attribute 'forward'"):
        net.add_module("forward", nn.Identity())

    class Forgetful(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Identity()

    with pytest.raises(AttributeError, match=r"must call super\(\).__init__\(\) first"):
        Forgetful()


def test_state_travels() -> None:
    nq.manual_seed(0)
    net, other = Net(), Net()
    other.load_state_dict(net.state_dict())
    x = nq.randn(4, 2)
    assert np.array_equal(net(x).array, other(x).array)
    net.head.weight.array[:] = 0
    assert other.head.weight.array.any(), "values are copied"


def test_a_state_that_does_not_fit_is_listed_and_nothing_changes() -> None:
    net = Net()
    before = copy.deepcopy(net.state_dict())
    state = {k: np.asarray(v) + 1 for k, v in net.state_dict().items()}
    state["extra"] = state.pop("head.weight")
    state["body.0.weight"] = np.zeros((9, 9))
    with pytest.raises(RuntimeError, match=r"missing: head.weight; unexpected: extra; body.0.weight has shape \(3, 2\)"):
        net.load_state_dict(state)
    assert all(np.array_equal(np.asarray(before[k]), np.asarray(v)) for k, v in net.state_dict().items())
    del state["body.0.weight"]
    net.load_state_dict(state, strict=False)
    assert net.count[0] == 1


def test_copies_are_deep_and_shared_parts_stay_shared() -> None:
    net = Net()
    net.again = net.head
    twin = copy.deepcopy(net)
    assert twin.again is twin.head is not net.head
    twin.head.weight.array[:] = 7
    assert not (net.head.weight.array == 7).any()


def test_modes_and_gradients() -> None:
    net = Net().eval()
    assert not any(m.training for m in net.modules())
    net.train()
    net(nq.ones(1, 2)).backward()
    assert net.head.weight.grad is not None
    net.zero_grad()
    assert net.head.weight.grad is None
    net.requires_grad_(False)
    assert not net(nq.ones(1, 2)).requires_grad
    visited: list[str] = []
    net.apply(lambda m: visited.append(type(m).__name__))
    assert visited == ["Linear", "ReLU", "Sequential", "Linear", "Net"]


def test_hooks() -> None:
    layer = nn.Identity()
    seen = []
    before = layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
    after = layer.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)) or output * 10)
    assert layer(1) == 20
    assert seen == [(2, 2)]
    before.remove()
    assert layer(1) == 10
    after.remove()
    after.remove()
    assert layer(1) == 1


def test_an_error_knows_its_place() -> None:
    class Picky(nn.Module):
        def forward(self, *_: Any) -> Any:
            raise ModuleError(self, "no")

    model = nn.Sequential(nn.Identity(), nn.Sequential(Picky()))
    with pytest.raises(ModuleError, match=r"^1\.0 \(Picky\): no$"):
        model(1)
    with pytest.raises(ModuleError, match=r"^the model itself \(Picky\): no$"):
        Picky()(1)


def test_there_is_one_device() -> None:
    net = Net()
    assert net.to("cpu").to(np.float32) is net
    with pytest.raises(ValueError, match="computes on 'cpu' in float32; got 'cuda'"):
        net.to("cuda")


def test_a_module_without_forward() -> None:
    with pytest.raises(NotImplementedError, match="Module defines no forward"):
        Module()(1)


def test_paths_that_lead_nowhere() -> None:
    with pytest.raises(AttributeError, match="no module at 'body.7': Sequential has no child '7'; children: 0, 1"):
        Net().get_submodule("body.7")
