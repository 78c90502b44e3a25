"""Fusion: layers that will run as one become one module, before anything is observed.

    conv -> bn -> relu    becomes    ConvReLU2d, the batch normalization folded into the weights        (evaluation)
                                     ConvBnReLU2d, which trains with the batch's statistics             (training)

The fused module takes the first one's place; Identity takes the others', so that the model's code need not change.

Source of the folding: Jacob et al. 2018, section 3.2. Before: `mappings`. After: `backend_config`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from .. import nn
from ..autograd.tape import no_grad
from ..module import Module
from ..nn import intrinsic
from ..nn.intrinsic import fold_batch_norm

Fuser = Callable[..., Module]
Patterns = dict[tuple[type[Any], ...], tuple[Fuser, Fuser]]


def fuse_layer_bn(layer: Any, bn: Any) -> Any:
    """A copy of a linear layer or convolution with the batch normalization's running statistics folded in."""
    if layer.training or bn.training:
        raise RuntimeError(
            f"folding {type(bn).__name__} into {type(layer).__name__} needs evaluation mode: call model.eval() first, or use "
            "fuse_modules_qat to keep it for training"
        )
    transposed = "Transpose" in type(layer).__name__
    if transposed and layer.groups > 1:
        raise ValueError(f"{type(layer).__name__} with groups={layer.groups} has no axis of output channels to fold into")
    fused = copy.deepcopy(layer)
    with no_grad():
        weight, bias = fold_batch_norm(layer.weight, layer.bias, bn, axis=int(transposed))
    fused.weight, fused.bias = nn.Parameter(weight.array), nn.Parameter(bias.array)
    return fused


def _bn_relu(fused: type[Any], fold: Fuser = fuse_layer_bn) -> Fuser:
    return lambda layer, bn, relu: fused(fold(layer, bn), relu)


def _not_for_training(layer: Any, bn: Any) -> Any:
    raise ValueError(
        f"{type(layer).__name__} and {type(bn).__name__} have no twin for training, as in torch: leave them apart, or "
        "fuse in evaluation mode"
    )


def _convolution(axes: int, conv: type[Any], norm: type[Any]) -> Patterns:
    relu, bn, both = (getattr(intrinsic, f"Conv{what}{axes}d") for what in ("ReLU", "Bn", "BnReLU"))
    return {(conv, norm): (fuse_layer_bn, bn), (conv, norm, nn.ReLU): (_bn_relu(relu), both), (conv, nn.ReLU): (relu, relu)}


# The patterns, each with what it becomes for inference, and for training: torch's and one more ...
PATTERNS: Patterns = {
    (nn.Linear, nn.ReLU): (intrinsic.LinearReLU, intrinsic.LinearReLU),
    (nn.Linear, nn.BatchNorm1d): (fuse_layer_bn, intrinsic.LinearBn1d),
    (nn.Linear, nn.BatchNorm1d, nn.ReLU): (_bn_relu(intrinsic.LinearReLU), intrinsic.LinearBnReLU1d),
    (nn.ConvTranspose1d, nn.BatchNorm1d): (fuse_layer_bn, _not_for_training),
    (nn.ConvTranspose2d, nn.BatchNorm2d): (fuse_layer_bn, _not_for_training),
    (nn.ConvTranspose3d, nn.BatchNorm3d): (fuse_layer_bn, _not_for_training),
    (nn.BatchNorm2d, nn.ReLU): (intrinsic.BNReLU2d, intrinsic.BNReLU2d),
    (nn.BatchNorm3d, nn.ReLU): (intrinsic.BNReLU3d, intrinsic.BNReLU3d),
    **{key: value for n, (c, bn) in enumerate(intrinsic.CONVOLUTIONS, 1) for key, value in _convolution(n, c, bn).items()},
}

# ... and those that graph mode leaves apart, since torch observes between their parts
ON_REQUEST: Patterns = {}
for _act, _fused in ((nn.ReLU6, intrinsic.Conv2dReLU6), (nn.Hardswish, intrinsic.Conv2dHardswish)):
    ON_REQUEST[nn.Conv2d, _act] = _fused, _fused
    ON_REQUEST[nn.Conv2d, nn.BatchNorm2d, _act] = _bn_relu(_fused), _bn_relu(_fused, intrinsic.ConvBn2d)


def fuse_modules(model: Module, modules_to_fuse: Sequence[Any], inplace: bool = False) -> Module:
    """Fuses the named modules; batch normalization is folded into the weights, which needs evaluation mode.

    modules_to_fuse: a list of paths, or a list of such lists. Returns a new model, unless inplace. Raises ValueError
    for a sequence of types that is no pattern, with the list of patterns.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()).eval()
    >>> fuse_modules(model, ["0", "1", "2"])[1:]
    Sequential(
      (1): Identity()
      (2): Identity()
    )
    """
    return _fuse_all(model, modules_to_fuse, inplace, training=False)


def fuse_modules_qat(model: Module, modules_to_fuse: Sequence[Any], inplace: bool = False) -> Module:
    """Fuses the named modules for quantization-aware training: batch normalization keeps learning. Needs training mode."""
    if not model.training:
        raise RuntimeError("fuse_modules_qat needs training mode: call model.train() first, or use fuse_modules")
    return _fuse_all(model, modules_to_fuse, inplace, training=True)


def _fuse_all(model: Module, names: Sequence[Any], inplace: bool, training: bool) -> Module:
    fused = model if inplace else copy.deepcopy(model)
    for group in [names] if names and isinstance(names[0], str) else names:
        _fuse(fused, list(group), training)
    return fused


def _fuse(model: Module, paths: list[str], training: bool) -> None:
    modules = [model.get_submodule(path) for path in paths]
    key, patterns = tuple(type(module) for module in modules), PATTERNS | ON_REQUEST
    if key not in patterns:
        known = "; ".join(", ".join(kind.__name__ for kind in pattern) for pattern in patterns)
        got = ", ".join(kind.__name__ for kind in key)
        raise ValueError(f"cannot fuse {', '.join(paths)}: {got} is no pattern; the patterns are: {known}")
    fused = patterns[key][training](*modules)
    fused.training = modules[0].training
    _move_hooks(modules, fused)
    for path, module in zip(paths, [fused, *(nn.Identity() for _ in paths[1:])], strict=True):
        module.training = modules[0].training
        parent, _, name = path.rpartition(".")
        model.get_submodule(parent)._modules[name] = module


def _move_hooks(modules: list[Module], fused: Module) -> None:
    """Pre-hooks of the first module and hooks of the last become the fused module's."""
    fused._forward_pre_hooks = modules[0]._forward_pre_hooks.copy()
    fused._forward_hooks = modules[-1]._forward_hooks.copy()
    if fused is not modules[0] and len(fused._modules) > 0:
        modules[0]._forward_pre_hooks.clear()
        modules[-1]._forward_hooks.clear()
