"""Training scripts of their time, in `classics/`: they run as they stand, and learn what they learn on torch."""

from __future__ import annotations

import itertools
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_vectors import cases

import nanoquant as nq
from nanoquant import autograd, nn, optim
from nanoquant.data import DataLoader, TensorDataset, load_digits
from nanoquant.nn import functional

FOLDER = Path(__file__).parent / "classics"
OURS = {
    "torch": nq, "torch.nn": nn, "torch.nn.functional": functional, "torch.optim": optim, "torch.autograd": autograd,
}  # fmt: skip
VARIANTS = list(itertools.product((False, True), repeat=2))  # symmetric, folded
EPOCHS, IMAGES = 6, 1348


def initial_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The weights that both sides start from: uniform in +-1/sqrt(size of one filter)."""
    g = np.random.default_rng(0)
    wanted = {name: shape for name, shape in shapes.items() if len(shape) > 1 and name.endswith("weight")}
    return {name: g.uniform(-1, 1, s).astype(np.float32) / np.sqrt(np.prod(s[1:])) for name, s in wanted.items()}


def learned(script: dict[str, Any], symmetric: bool, folded: bool, data: Any, tensor: Any) -> tuple[list[float], float]:
    """Losses of every step, and the accuracy on the test images. data: (train, test) loaders. tensor: of an array."""
    model = script["Net"](symmetric, folded)
    state = initial_state({name: tuple(value.shape) for name, value in model.state_dict().items()})
    model.load_state_dict({name: tensor(value) for name, value in state.items()}, strict=False)
    model.load_state_dict({"classifier.bias": tensor(np.zeros(10, np.float32))}, strict=False)
    for name, value in model.named_parameters():
        if name.endswith(("conv.bias", "bn.bias")):
            value.data.zero_()
        elif name.endswith("gamma"):
            value.data.fill_(0.75)
    return script["train"](model, data[0], EPOCHS), script["test"](model, data[1])


@pytest.mark.parametrize(("symmetric", "folded"), VARIANTS)
def test_the_quantizer_made_by_hand_learns_as_on_torch(symmetric: bool, folded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in OURS.items():
        monkeypatch.setitem(sys.modules, name, module)
    script = runpy.run_path(str(FOLDER / "handmade_quantizer.py"))
    digits = load_digits()
    train, test = (
        DataLoader(TensorDataset(nq.tensor(x), nq.tensor(y)), batch_size=32)
        for x, y in ((digits.train.images[:IMAGES], digits.train.labels[:IMAGES]), digits.test)
    )
    losses, accuracy = learned(script, symmetric, folded, (train, test), nq.tensor)
    recorded = next(
        arrays for options, arrays in cases("classics") if (options["symmetric"], options["folded"]) == (symmetric, folded)
    )
    # The two sum in another order, so that a value within float rounding of a tie may take the next step of 255: once the
    # first has, the paths part by about a step's share of the loss, and drift apart. Both reach the same place.
    np.testing.assert_allclose(losses[0], recorded["losses"][0], rtol=1e-5)
    np.testing.assert_allclose(losses[:5], recorded["losses"][:5], atol=2e-3)
    last = [float(np.mean(side[-10:])) for side in (losses, recorded["losses"])]
    assert abs(last[0] - last[1]) < 0.05
    assert accuracy > 0.9
    assert abs(accuracy - float(recorded["accuracy"])) < 0.05
