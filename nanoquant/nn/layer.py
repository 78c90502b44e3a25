"""Layer: a function whose other arguments are attributes; and what every layer does with its input and its sizes.

Before: `normalization`. After: `linear`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import numpy as np

from ..autograd.tensor import Tensor
from ..errors import ModuleError
from ..module import Module
from ..qtensor import QTensor
from .windows import Sizes


def as_tensor(x: Any) -> Any:
    """A tensor, quantized or not, as it is; anything else as a tensor, its float64 as float32."""
    if isinstance(x, Tensor | QTensor):
        return x
    array = np.asarray(x)
    return Tensor(array.astype(np.float32) if array.dtype == np.float64 else array)


def take_float(module: Module, x: Any) -> Any:
    """x as a tensor, for a float layer; a quantized x is an error that says what is missing."""
    if isinstance(x, QTensor):
        raise ModuleError(
            module,
            "a float layer received a quantized tensor. It was not converted (no qconfig, or qconfig=None): put a DeQuantStub "
            "before it and a QuantStub behind it, or give it a qconfig",
        )
    return as_tensor(x)


def sizes(value: Any, name: str, axes: int) -> Sizes:
    """A number for each of `axes` axes: one for all of them, or as many.

    >>> sizes(3, "stride", 2), sizes([1, 2], "stride", 2)
    ((3, 3), (1, 2))
    """
    if type(value) is int:
        return (value,) * axes
    values = (value,) * axes if isinstance(value, np.integer) else tuple(value)
    if len(values) != axes or not all(isinstance(v, int | np.integer) for v in values):
        raise ValueError(f"{name} must be an integer or {axes} of them; got {value!r}")
    return tuple(map(int, values))


class Layer(Module):
    """A layer that computes `function`: its arguments behind the inputs are the layer's attributes of the same names.

    inputs: how many arguments each call gives. integers: whether quantized tensors may pass. shown: the attributes that
    are printed: `*name` without its name, `name?` only where it differs from its default. A layer without a constructor
    of its own takes the function's arguments.

    >>> class Clip(Layer):
    ...     function = staticmethod(lambda x, low=0.0, high=1.0: x.clamp(low, high))
    ...     shown = "low high?"
    >>> Clip(high=2.0), Clip(-1.0), Clip()([3.0])
    (Clip(low=0.0, high=2.0), Clip(low=-1.0), tensor([1.]))
    """

    function: Callable[..., Any]
    inputs = 1
    shown = ""
    integers = False
    _own = inspect.Signature()
    _usual: dict[str, Any]
    __signature__: inspect.Signature

    def __init_subclass__(cls) -> None:
        if "function" in vars(cls):
            parameters = list(inspect.signature(cls.function).parameters.values())
            cls._own = inspect.Signature(parameters[cls.inputs :])
        made_with = list(inspect.signature(cls.__init__).parameters.values())[1:]
        cls.__signature__ = cls._own if made_with[0].name == "args" else inspect.Signature(made_with)
        if "shown" in vars(cls):
            cls._usual = {name: parameter.default for name, parameter in cls.__signature__.parameters.items()}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__()
        given = self._own.bind(*args, **options)
        given.apply_defaults()
        for name, value in given.arguments.items():
            setattr(self, name, value)

    def forward(self, *inputs: Any) -> Any:
        """The function of the inputs and the attributes."""
        x = as_tensor(inputs[0]) if self.integers else take_float(self, inputs[0])
        return type(self).function(x, *inputs[1:], **{name: getattr(self, name) for name in self._own.parameters})

    def extra_repr(self) -> str:
        """The attributes that `shown` names."""
        parts = []
        for word in self.shown.split():
            name = word.strip("*?")
            value = getattr(self, name)
            value = value is not None if name == "bias" and not isinstance(value, bool) else value
            if word[-1] != "?":
                parts.append(str(value) if word[0] == "*" else f"{name}={value!r}")
            elif value != self._usual[name]:
                parts.append(f"{name}={value}")
        return ", ".join(parts)


def layer(name: str, function: Callable[..., Any], doc: str, base: type[Layer] = Layer, **attributes: Any) -> type[Any]:
    """The Layer of a function: a row of a table. doc: its docstring. attributes: of the class."""
    body = {"__doc__": doc, "__module__": function.__module__, "function": staticmethod(function)}
    return type(name, (base,), body | attributes)


def per_axes(function: Callable[..., Any]) -> tuple[Callable[..., Any], ...]:
    """The forms of function(axes, input, ...) for 1, 2 and 3 axes, named as torch names them: conv1d, conv2d, conv3d. An
    input without a batch is a batch of one."""

    @wraps(function)
    def batched(axes: int, input: Any, *args: Any, **options: Any) -> Any:
        x = as_tensor(input)
        if x.ndim != 1 + axes:
            return function(axes, x, *args, **options)
        return function(axes, x.unsqueeze(0), *args, **options).squeeze(0)

    forms = tuple(partial(batched, axes) for axes in (1, 2, 3))
    for axes, form in enumerate(forms, 1):
        name, doc, module = f"{function.__name__.strip('_')}{axes}d", function.__doc__, function.__module__
        vars(form).update(__name__=name, __doc__=doc, __module__=module)
    return forms
