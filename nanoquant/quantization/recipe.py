"""How long to train with fake quantization, how fast, and what to hold still when.

    learning rate                                      observers watch                       batch statistics
    1 % |*                                            |==============|                      |=====================|
        |  *  cosine                                                  frozen: scales rest                          frozen
        |     *  *
      0 +-----------*--- 10 % of the float epochs      0            1/2           1          0                  3/4  1

Before: `fake_quantize`. After: `nanoquant.quantization.eager`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ..module import Module
from ..nn.qat import freeze_bn_stats
from .fake_quantize import disable_observer


class QATRecipe:
    """The epochs of a fine-tuning with fake quantization, as the literature advises.

        epochs = ceil(0.1 float_epochs),      lr(e) = 0.01 lr (1 + cos(pi e / epochs)) / 2

    From half of them on, observers are frozen, so that scales rest while weights settle; from three quarters on, batch
    normalizations use their running statistics, as the converted network will.

    model: what `prepare_qat` gave, in training mode. lr: the float training's initial rate. Iterating gives the epochs'
    numbers, and sets rates and freezes before each.

    Source: Wu et al., "Integer Quantization for Deep Learning Inference", 2020, section 5 (10 % of the schedule at 1 % of the
    rate, cosine); Krishnamoorthi 2018, section 3.2.2 (batch statistics frozen towards the end).

    >>> from nanoquant import nn, optim, quantization
    >>> model = nn.Sequential(nn.Linear(2, 2)).train()
    >>> model.qconfig = quantization.get_default_qat_qconfig()
    >>> prepared = quantization.prepare_qat(model)
    >>> optimizer = optim.SGD(prepared.parameters(), lr=1.0)
    >>> recipe = QATRecipe(prepared, optimizer, float_epochs=40, lr=0.1)
    >>> [(epoch, round(optimizer.param_groups[0]["lr"], 6)) for epoch in recipe]
    [(0, 0.001), (1, 0.000854), (2, 0.0005), (3, 0.000146)]
    """

    def __init__(
        self, model: Module, optimizer: Any, float_epochs: int, lr: float, *, share: float = 0.1, rate: float = 0.01,
        freeze_observers: float = 0.5, freeze_bn: float = 0.75,
    ) -> None:  # fmt: skip
        if float_epochs < 1 or not 0 < share <= 1 or not 0 < rate <= 1 or lr <= 0:
            raise ValueError(
                f"a recipe needs epochs, a rate and shares of both in (0, 1]; got {float_epochs=}, {lr=}, {share=}, {rate=}"
            )
        self.model, self.optimizer, self.start = model, optimizer, rate * lr
        self.epochs = math.ceil(round(share * float_epochs, 9))
        self.freeze_observers, self.freeze_bn = freeze_observers, freeze_bn

    def __len__(self) -> int:
        return self.epochs

    def __iter__(self) -> Iterator[int]:
        """Each epoch's number, after what it begins with."""
        for epoch in range(self.epochs):
            for group in self.optimizer.param_groups:
                group["lr"] = self.start * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
            if epoch >= self.freeze_observers * self.epochs:
                self.model.apply(disable_observer)
            if epoch >= self.freeze_bn * self.epochs:
                self.model.apply(freeze_bn_stats)
            yield epoch
