"""Classic scripts of `classics/` run as they stand under `python -m nanoquant.compat`, and what is missing says so."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import run_python

from nanoquant import compat
from nanoquant.compat.aliases import ALIASES, MISSING
from nanoquant.data import load_digits

CLASSICS = Path(__file__).parent / "classics"


def run(script: str | Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    given = "-W", "error", "-m", "nanoquant.compat", str(script), *arguments
    return run_python(*given, check=False, folder=folder, MPLCONFIGDIR=str(folder))


def run_text(text: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(text)
    return run("script.py", folder, *arguments)


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which data/MNIST holds the digits."""
    folder = tmp_path_factory.mktemp("compat")
    raw = folder / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for stem, (images, labels) in zip(("train", "t10k"), load_digits(), strict=True):
        pixels, classes = (255 * np.asarray(images).reshape(-1, 8, 8)).astype(np.uint8), np.asarray(labels, np.uint8)
        for what, array in (("images-idx3", pixels), ("labels-idx1", classes)):
            header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
            (raw / f"{stem}-{what}-ubyte").write_bytes(header + array.tobytes())
    return folder


SCRIPTS: dict[str, tuple[str, ...]] = {
    "static_quantization": ("(activation_post_process): MinMaxObserver(no data seen)", "QuantizedConvReLU2d(1, 6", "reloaded"),
    "quantization_aware_training": ("epoch 1", "QuantizedConvReLU2d(1, 8", "(10, 16)"),
    "dynamic_lstm": ("(rnn): DynamicQuantizedLSTM", "elapsed time (seconds)", "(3, 1, 5) True"),
    "graph_mode": ("class 'nanoquant.nn.linear.Linear'", "same True", "add_functional.add", "DynamicQuantizedLinear(3, 3"),
    "numeric_suite": ("'layer1.add_relu.stats', 'fc.stats'])", "layer1.stats tensor(", "'fc.stats': 4}"),
    "clipping_ranges": ("HistogramObserver", "per_tensor_symmetric"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_classic_script_runs_as_it_stands(name: str, mnist: Path) -> None:
    if name == "clipping_ranges":
        pytest.importorskip("matplotlib", reason="the script draws")
    done = run(CLASSICS / f"{name}.py", mnist)
    assert done.returncode == 0, done.stderr
    for text in SCRIPTS[name]:
        assert text in done.stdout


def accuracies(text: str) -> list[float]:
    return [float(line.split(": ")[1].split("%")[0]) for line in text.splitlines() if line.startswith("Accuracy")]


def test_the_quantized_network_is_as_good_and_smaller(mnist: Path) -> None:
    text = run(CLASSICS / "static_quantization.py", mnist).stdout
    before, after = accuracies(text)
    assert before > 80
    assert after > before - 2
    sizes = [float(line.split()[-1]) for line in text.splitlines() if line.startswith("Size (MB)")]
    assert sizes[-1] < 0.6 * sizes[0]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import torch.onnx", "ModuleNotFoundError: torch.onnx is not in nanoquant: nothing is exported"),
        ("import torch\ntorch.hub", "AttributeError: torch.hub is not in nanoquant: nothing is downloaded"),
        ("from torch.quantization import nonsense", "cannot import name 'nonsense' from 'torch.quantization'"),
        ("import torchvision\ntorchvision.datasets.CIFAR10('d')", "nothing is downloaded: put the file d/cifar-10-batches-bin/"),
        ("import torchvision.models as m\nm.resnet18(pretrained=True)", "put the file resnet18.pth there"),
        (
            "import torch\ntorch.quantization.MinMaxObserver.with_args(qscheme=torch.qint8)",
            "got the dtype nanoquant.qint8: did you mean dtype=?",
        ),
        ("import torch\ntorch.nn.Sequential(torch.nn.ReLU())[[0]]", "takes a number or a slice, m[1] or m[1:3]; got m[[0]]"),
        ("import torch\ntorch.zeros(2, device='cuda')", "'cuda'"),
        ("from torchvision.transforms import RandomCrop\nimport numpy\nRandomCrop(9)(numpy.zeros((8, 8)))", "does not fit"),
    ],
)
def test_what_is_missing_or_wrong_says_so(text: str, error: str, tmp_path: Path) -> None:
    done = run_text(text, tmp_path)
    assert done.returncode == 1
    assert error in done.stderr


def test_arguments_and_neighbours_are_the_scripts(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("from torch.utils.data import RandomSampler, SequentialSampler\n")
    text = """
import sys, beside, torch, torch.nn.intrinsic.qat as nniqat, torch.quantization.quantize_fx as fx
import torch.quantization.quantize
from torch.quantization.observer import *
from torch.ao.quantization.observer import MinMaxObserver
assert HistogramObserver() and torch.quantization.MinMaxObserver is MinMaxObserver and callable(torch.quantization.quantize)
torch.backends.cudnn.benchmark = True
torch.backends.quantized.engine = "qnnpack"
assert sorted(beside.RandomSampler(range(9))) == list(beside.SequentialSampler(range(9)))
assert torch.zeros(2, device=torch.device("cpu")).shape == (2,) and not torch.cuda.is_available()
for kind, mean in (("Normal", 0), ("Uniform", 1.5), ("Pareto", 10 / 9)):
    first, second = {"Normal": (0, 1), "Uniform": (1, 2), "Pareto": (1, 10)}[kind]
    drawn = getattr(torch.distributions, kind)(first, second).sample((9999,))
    assert abs(float(drawn.mean()) - mean) < 0.05, (kind, float(drawn.mean()))
print(sys.argv, nniqat.freeze_bn_stats.__name__, fx.prepare_fx.__name__, __name__)
"""
    done = run_text(text, tmp_path, "--epochs", "3")
    assert done.stdout == "['script.py', '--epochs', '3'] freeze_bn_stats prepare_fx __main__\n", done.stderr
    done = run_python("-m", "nanoquant.compat", check=False)
    assert "usage: python -m nanoquant.compat script.py" in done.stderr


def test_coverage_counts_names_and_lists_what_is_missing() -> None:
    text = compat.coverage()
    lines: dict[str, Any] = dict(line.split(None, 1) for line in text.splitlines())
    assert int(lines["torch.ao.quantization"].split()[0]) > 120
    assert lines["torch.onnx"] == f"not here: {MISSING['torch.onnx']}"
    assert {name for name, sources in ALIASES.items() if sources} | set(MISSING) == set(lines)


def test_images_become_tensors() -> None:
    from nanoquant.compat.vision import CenterCrop, Compose, Normalize, RandomHorizontalFlip, ToTensor, Transforms

    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    shown = Compose(
        [
            CenterCrop(4),
            RandomHorizontalFlip(1.0),
            ToTensor(),
            Normalize((0.5,) * 3, (0.25,) * 3),
            Transforms.Lambda(lambda x: x + 1),
        ]
    )
    wanted = (np.moveaxis(image[1:5, 2:6][:, ::-1], -1, 0) / 255 - 0.5) / 0.25 + 1
    np.testing.assert_allclose(shown(image).array, wanted, atol=1e-6)
    assert ToTensor()(image[:, :, 0]).shape == (1, 6, 8)
