"""Function: an operation with a derivative of one's own; and `grad`, derivatives that leave no trace in `Tensor.grad`.

Before: `parameter`. After: `gradcheck`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .ops import Array, Op
from .tape import Node, freed, is_grad_enabled, no_grad, walk
from .tensor import Tensor


class Context:
    """What forward leaves for backward: tensors, any attribute. needs_input_grad: one bool for each argument."""

    needs_input_grad: tuple[bool, ...] = ()
    saved_tensors: tuple[Any, ...] = ()
    constants: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keeps tensors, to be found in `saved_tensors`."""
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *outputs: Any) -> None:
        """Says which outputs have no gradient."""
        self.constants = outputs


class Function:
    """Base class: `forward(ctx, ...)` computes, `backward(ctx, gradient of each output)` returns one for each argument.

    Called by `apply`. Nothing in forward or backward is recorded. A rounding whose gradient goes straight through:

    >>> class Round(nq.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x.round()
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return g
    >>> x = nq.tensor([0.4, 1.6], requires_grad=True)
    >>> (Round.apply(x) * 3).sum().backward()
    >>> x.grad
    tensor([3., 3.])
    """

    forward: Any
    backward: Any

    @classmethod
    def apply(cls, *inputs: Any) -> Any:
        """Runs forward, and records it if any input asks for a gradient."""
        context = Context()
        context.needs_input_grad = tuple(isinstance(x, Tensor) and x.requires_grad for x in inputs)
        with no_grad():
            made = cls.forward(context, *inputs)
        given = made if isinstance(made, tuple) else (made,)
        outputs = tuple(Tensor(y.array) for y in given)
        if is_grad_enabled() and any(context.needs_input_grad):
            # One node for the call and one for each output, which passes its gradient on in an array of objects.
            arrays = np.fromiter((y.array for y in outputs), object)
            asked = [x for x, needed in zip(inputs, context.needs_input_grad, strict=True) if needed]
            op = Op(cls.__name__, freed, partial(cls._vjp, context))
            node = Node(op, tuple(x.array for x in asked), tuple(x.source for x in asked), {}, arrays)
            for i, (y, before) in enumerate(zip(outputs, given, strict=True)):
                if not any(before is constant for constant in context.constants):
                    y.requires_grad, y.node = True, Node(OUTPUT, (arrays,), (node,), {"i": i}, y.array)
        return outputs if isinstance(made, tuple) else outputs[0]

    @classmethod
    def _vjp(cls, context: Context, g: Array, y: Array, *_: Array) -> tuple[Array | None, ...]:
        gradients = (Tensor(np.zeros_like(a) if isinstance(part, int) else part) for a, part in zip(y, g, strict=True))
        needed = context.needs_input_grad
        with no_grad():
            parts = cls.backward(context, *gradients)
        parts = parts if isinstance(parts, tuple) else (parts,)
        if len(parts) != len(needed):
            raise RuntimeError(f"{cls.__name__}.backward must return {len(needed)} gradients; got {len(parts)}")
        return tuple(None if p is None else np.asarray(p) for p, asked in zip(parts, needed, strict=True) if asked)


def _one_of(g: Array, y: Array, outputs: Array, i: int = 0) -> tuple[Array]:
    return (np.fromiter((g if j == i else 0 for j in range(len(outputs))), object),)


OUTPUT = Op("output", freed, _one_of)


def grad(
    output: Tensor, inputs: Any, grad_outputs: Any = None, retain_graph: bool = False, allow_unused: bool = False
) -> tuple[Tensor | None, ...]:
    """The gradients of output (times grad_outputs) with respect to each of inputs; no `grad` is touched.

    Raises RuntimeError for an input that output does not depend on, unless allow_unused gives None for it.

    >>> x = nq.tensor([3.0], requires_grad=True)
    >>> nq.autograd.grad(x * x, x)
    (tensor([6.]),)
    """
    sources = [x.source for x in ([inputs] if isinstance(inputs, Tensor) else inputs)]
    found = walk(*output.seed(grad_outputs), retain_graph, {id(source) for source in sources})
    if not allow_unused and any(id(source) not in found for source in sources):
        raise RuntimeError("the output does not depend on one of the inputs: allow_unused=True gives None for it")
    return tuple(Tensor(found[id(source)].copy()) if id(source) in found else None for source in sources)
