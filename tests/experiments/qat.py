"""What training with fake quantization is worth, measured: python tests/experiments/qat.py [--seeds 5] [--fashion FOLDER]

    digits     a depthwise network in float; its weights at 8, 4 and 3 bits after training, and trained on (QATRecipe)
    torch      the same weights and calibration data through torch.ao: int8 accuracy side by side       (if torch is there)
    scratch    trained with fake quantization from the start, against fine-tuned from float, for as many epochs
    --fashion  all of it on Fashion-MNIST, too: the folder of its four IDX files (Debian: dataset-fashion-mnist)

Prints a line for each seed, then what was expected and whether it was found. Expectations are those of a study of small
networks: W3 per tensor below 40 % after training and at least 91 % with QAT, on digits; int8 never below torch's by more than
a few images; fine-tuning at least as good as training from scratch.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import nanoquant as nq
from nanoquant import nn, optim, quantization
from nanoquant.data import batches, load_digits
from nanoquant.data.idx import load_idx
from nanoquant.demo import few_bits
from nanoquant.errors import ModuleError

EPOCHS, RATE, BATCH, CALIBRATION = 40, 0.1, 64, 512


class Data(NamedTuple):
    """Images (n, 1, size, size) between 0 and 1, and their classes."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]


def digits() -> Data:
    """The digits of the package."""
    found = load_digits()
    return Data(*found.train, *found.test)


def fashion(folder: Path, train: int = 6000, test: int = 2000) -> Data:
    """The first images of Fashion-MNIST, halved in size by averages of 2 x 2."""
    arrays = []
    for name, count in (("train", train), ("t10k", test)):
        images, labels = (load_idx(next(folder.glob(f"{name}-{what}*")))[:count] for what in ("images", "labels"))
        arrays += [images.reshape(count, 1, 14, 2, 14, 2).mean((3, 5)).astype(np.float32) / 255, labels.astype(np.int64)]
    return Data(*arrays)


def _conv_bn(inputs: int, outputs: int, kernel: int, groups: int = 1) -> list[nn.Module]:
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]


def network(channels: int = 24, stride: bool = False) -> nn.Sequential:
    """A stem and three pairs of depthwise and 1 x 1 convolutions, each with BN and ReLU; pool, mean, linear."""
    layers = _conv_bn(1, channels, 3)
    if stride:
        layers.append(nn.MaxPool2d(2))
    for pair in range(3):
        layers += _conv_bn(channels, channels, 3, groups=channels) + _conv_bn(channels, channels, 1)
        if pair == 0:
            layers.append(nn.MaxPool2d(2))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]
    return nn.Sequential(quantization.QuantStub(), *layers, quantization.DeQuantStub())


def groups(model: nn.Sequential) -> list[list[str]]:
    """What fuses: each convolution with the two that follow it."""
    return [[str(i), str(i + 1), str(i + 2)] for i, layer in enumerate(model) if isinstance(layer, nn.Conv2d)]


def accuracy(model: Any, data: Data) -> float:
    """The share of test images that are recognized, in percent; NaN for None, a training that diverged."""
    if model is None:
        return float("nan")
    with nq.no_grad():
        logits = np.concatenate([np.asarray(model(x)) for (x,) in batches(data.test_images, size=500)])
    return 100 * float((logits.argmax(axis=1) == data.test_labels).mean())


def epoch(model: Any, optimizer: Any, data: Data) -> None:
    """Once through the data, in another order each time."""
    loss = nn.CrossEntropyLoss()
    for images, labels in batches(data.images, data.labels, size=BATCH, shuffle=True):
        optimizer.zero_grad()
        loss(model(images), labels).backward()
        optimizer.step()


def sgd(model: Any, rate: float) -> Any:
    """Stochastic gradient descent with momentum."""
    return optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)


def train(model: Any, data: Data, epochs: int, rate: float = RATE) -> Any:
    """A float training: cosine from `rate` to 0."""
    optimizer = sgd(model, rate)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        epoch(model.train(), optimizer, data)
        schedule.step()
    return model.eval()


def ptq(model: Any, data: Data, qconfig: Any) -> Any:
    """Fused, calibrated, converted."""
    fused = quantization.fuse_modules(model, groups(model))
    fused.qconfig = qconfig
    prepared = quantization.prepare(fused)
    with nq.no_grad():
        for (images,) in batches(data.images[:CALIBRATION], size=BATCH):
            prepared(images)
    return quantization.convert(prepared)


def prepared_for_training(model: Any, qconfig: Any) -> Any:
    """A copy, fused for training, with fake-quantizers."""
    fused = quantization.fuse_modules_qat(copy.deepcopy(model).train(), groups(model))
    fused.qconfig = qconfig
    return quantization.prepare_qat(fused)


def qat(model: Any, data: Data, qconfig: Any, epochs: int, share: float = 0.5) -> Any:
    """Trained on by the recipe, converted. Few bits need longer than a tenth of the epochs."""
    prepared = prepared_for_training(model, qconfig)
    optimizer = sgd(prepared, RATE)
    try:
        for _ in quantization.QATRecipe(prepared, optimizer, epochs, RATE, share=share):
            epoch(prepared.train(), optimizer, data)
    except ModuleError:  # an observer met infinity
        return None
    return quantization.convert(prepared.eval())


def scratch(data: Data, epochs: int, stride: bool) -> Any:
    """Int8 from the first step: the float schedule, with fake-quantizers; observers and BN frozen for the last quarter."""
    prepared = prepared_for_training(network(stride=stride), quantization.get_default_qat_qconfig("x86"))
    optimizer = sgd(prepared, RATE)
    recipe = quantization.QATRecipe(prepared, optimizer, epochs, RATE, share=1, rate=1, freeze_observers=0.75, freeze_bn=0.75)
    for _ in recipe:
        epoch(prepared.train(), optimizer, data)
    return quantization.convert(prepared.eval())


def imbalanced(model: Any, widest: float, seed: int) -> Any:
    """The same function: each channel between two convolutions times exp(U(-1/2, 1/2) ln widest), and divided after."""
    twin, g = copy.deepcopy(model), np.random.default_rng(seed)
    layers = [layer for layer in twin if isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
    factor = np.ones((1, 1, 1, 1), np.float32)
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            factor = np.exp(g.uniform(-0.5, 0.5, layer.num_features) * np.log(widest)).astype(np.float32)
            layer.weight.array[:] *= factor
            layer.bias.array[:] *= factor
        elif isinstance(layer, nn.Linear):
            layer.weight.array[:] /= factor.reshape(1, -1)
        else:  # depthwise filters have one input each, which is their output's number
            shape = (-1, 1, 1, 1) if layer.groups > 1 else (1, -1, 1, 1)
            layer.weight.array[:] /= factor.reshape(shape)
    return twin


def narrow(qconfig: Any) -> Any:
    """The same with 3-bit weights of -3 .. 3: as many steps on both sides, max |w| in the last."""
    return quantization.QConfig(qconfig.activation, qconfig.weight.with_args(quant_min=-3, quant_max=3))


def torch_int8(model: Any, data: Data, stride: bool) -> float:
    """The accuracy of torch.ao's default PTQ of the same weights, in percent."""
    import torch  # type: ignore[import-not-found,unused-ignore]

    warnings.simplefilter("ignore")
    ao, made = torch.ao.quantization, []
    for layer in network(stride=stride):
        kind = getattr(ao if "Stub" in type(layer).__name__ else torch.nn, type(layer).__name__)
        if isinstance(layer, nn.Conv2d):
            made.append(
                kind(
                    layer.in_channels,
                    layer.out_channels,
                    layer.kernel_size,
                    padding=layer.padding,
                    groups=layer.groups,
                    bias=False,
                )
            )
        elif isinstance(layer, nn.BatchNorm2d):
            made.append(kind(layer.num_features))
        elif isinstance(layer, nn.Linear):
            made.append(kind(layer.in_features, layer.out_features))
        else:
            made.append(
                kind(
                    *(
                        [layer.kernel_size]
                        if isinstance(layer, nn.MaxPool2d)
                        else [1]
                        if isinstance(layer, nn.AdaptiveAvgPool2d)
                        else []
                    )
                )
            )
    twin = torch.nn.Sequential(*made).eval()
    twin.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in model.state_dict().items()})
    torch.backends.quantized.engine = "fbgemm"
    fused = ao.fuse_modules(twin, groups(model))
    fused.qconfig = ao.get_default_qconfig("fbgemm")
    prepared = ao.prepare(fused)
    with torch.no_grad():
        for (images,) in batches(data.images[:CALIBRATION], size=BATCH):
            prepared(torch.from_numpy(images))
        logits = ao.convert(prepared)(torch.from_numpy(data.test_images)).numpy()
    return 100 * float((logits.argmax(axis=1) == data.test_labels).mean())


def measure(data: Data, seed: int, epochs: int, stride: bool) -> dict[str, float]:
    """One seed's row."""
    nq.manual_seed(seed)
    model = train(network(stride=stride), data, epochs)
    int8 = quantization.get_default_qconfig("x86")
    row = {"float": accuracy(model, data), "int8": accuracy(ptq(model, data, int8), data)}
    if importlib.util.find_spec("torch"):
        row["torch int8"] = torch_int8(model, data, stride)
    for bits in (8, 4, 3):
        for per_channel in (False, True):
            row[f"W{bits}{'pc' if per_channel else 'pt'}"] = accuracy(ptq(model, data, few_bits(bits, per_channel)[0]), data)
    row["W3n"] = accuracy(ptq(model, data, narrow(few_bits(3, False)[0])), data)
    row["QAT W3n"] = accuracy(qat(model, data, narrow(few_bits(3, False)[1]), epochs), data)
    row["QAT W3pt"] = accuracy(qat(model, data, few_bits(3, False)[1], epochs), data)
    for widest in (16, 256):
        twin = imbalanced(model, widest, seed)
        for per_channel in (False, True):
            qconfig = few_bits(8, per_channel)[0]
            row[f"W8{'pc' if per_channel else 'pt'} x{widest}"] = accuracy(ptq(twin, data, qconfig), data)
    row["QAT int8"] = accuracy(qat(model, data, quantization.get_default_qat_qconfig("x86"), epochs, share=0.1), data)
    row["scratch int8"] = accuracy(scratch(data, epochs, stride), data)
    return row


def claims(rows: list[dict[str, float]], on_digits: bool, images: int) -> list[tuple[str, bool]]:
    """What was expected, and whether every seed (or the mean, where a claim is of the mean) shows it."""
    each = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    few = 100 * 4 / images  # four images
    no_worse = (each["W4pc"] >= each["W4pt"] - few) & (each["W3pc"] >= each["W3pt"] - few)
    falling = (each["W8pt"] >= each["W4pt"]) & (each["W4pt"] > each["W3pt"])
    tuned = each["QAT int8"].mean() - each["scratch int8"].mean()
    found = [
        ("per channel is no worse than per tensor at 4 and 3 bits", bool(no_worse.all())),
        ("8 bits cost at most a point", bool((each["int8"] >= each["float"] - 1).all())),
        ("fewer bits cost more, per tensor", bool(falling.all())),
        ("channels x256 apart: per tensor is lost", bool((each["W8pt x256"] < each["W8pt"] - 40).all())),
        ("channels x256 apart: per channel is far ahead", bool((each["W8pc x256"] > each["W8pt x256"] + 20).all())),
        ("QAT at 3 bits is ahead of PTQ", bool((each["QAT W3pt"] > each["W3pt"]).all())),
        ("int8, fine-tuned, is on average as good as int8 from scratch", bool(tuned >= -few)),
    ]
    if on_digits:
        lowest, rescued = np.minimum(each["W3pt"], each["W3n"]), np.maximum(each["QAT W3pt"], each["QAT W3n"])
        fallen = lowest < 40
        found.append((f"PTQ of W3 per tensor falls below 40 % ({fallen.sum()} of {len(rows)} seeds)", bool(fallen.any())))
        found.append(("QAT of W3 per tensor reaches 91 % there, and everywhere", bool((rescued >= 91).all())))
    if "torch int8" in each:
        level = each["int8"] >= each["torch int8"] - few
        found.append(("int8 is never below torch.ao's by more than four images", bool(level.all())))
    return found


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--fashion", type=Path)
    options = parser.parse_args()
    sets = {"digits": (digits(), False)} | ({"Fashion-MNIST": (fashion(options.fashion), True)} if options.fashion else {})
    for name, (data, stride) in sets.items():
        epochs = options.epochs if name == "digits" else max(1, options.epochs // 4)
        rows = []
        for seed in range(options.seeds):
            rows.append(measure(data, seed, epochs, stride))
            if seed == 0:
                print(f"\n{name}, {epochs} epochs; accuracy in percent\nseed  " + "  ".join(rows[0]))
            print(f"{seed:4}  " + "  ".join(f"{value:{len(key)}.1f}" for key, value in rows[-1].items()), flush=True)
        for claim, holds in claims(rows, name == "digits", len(data.test_labels)):
            print(f"{'found    ' if holds else 'NOT found'}  {claim}")


if __name__ == "__main__":
    main()
