"""`nanoquant demo`: a network trained on real digits becomes int8 in three ways, and smaller in more.

    train in float -> dynamic
                   -> fuse, prepare, calibrate, convert                      static
                   -> fuse, prepare_qat, train a little more, convert        qat

Before: `nanoquant.models`. After: `nanoquant.cli`.
"""

from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from . import io, nn, optim, quantization
from .autograd.tape import no_grad
from .creation import manual_seed
from .data import batches, load_digits
from .data.digits import Split
from .metrics import sqnr
from .models import DigitsCNN
from .module import Module
from .progress import progress
from .quantization.analysis.profile import median_seconds

BATCH, LEARNING_RATE, QAT_FRACTION = 64, 0.05, 0.1  # QAT starts at a tenth of the float rate
CALIBRATION_IMAGES = 512


class Effort(NamedTuple):
    """How long to train and to measure."""

    epochs: int
    qat_epochs: int
    rounds: int


FULL, QUICK = Effort(15, 4, 60), Effort(3, 1, 10)


@dataclass
class Row:
    """One model of the table."""

    name: str
    model: Module
    accuracy: float = 0.0
    bytes: int = 0
    latency_ms: dict[str, float] | None = None
    sqnr_db: float | None = None

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {k: getattr(self, k) for k in ("name", "accuracy", "bytes", "latency_ms", "sqnr_db")}


def train(model: Module, data: Split, epochs: int, lr: float, what: str) -> Module:
    """Stochastic gradient descent with momentum and a cosine schedule; the model ends in evaluation mode."""
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    loss = nn.CrossEntropyLoss()
    model.train()
    for _ in progress(range(epochs), what, epochs):
        for images, labels in batches(*data, size=BATCH, shuffle=True):
            optimizer.zero_grad()
            loss(model(images), labels).backward()
            optimizer.step()
        schedule.step()
    return model.eval()


def quantize_static(model: Module, data: Split, qconfig: Any) -> Module:
    """Fuse, prepare, calibrate, convert."""
    fused = quantization.fuse_modules(model, DigitsCNN.FUSE)
    fused.qconfig = qconfig
    prepared = quantization.prepare(fused)
    with no_grad():
        for (images,) in batches(data.images[:CALIBRATION_IMAGES], size=BATCH):
            prepared(images)
    return quantization.convert(prepared)


def quantize_aware(model: Module, data: Split, qconfig: Any, epochs: int, what: str) -> Module:
    """Fuse, prepare_qat, train a little more, convert."""
    fused = quantization.fuse_modules_qat(copy.deepcopy(model).train(), DigitsCNN.FUSE, inplace=True)
    fused.qconfig = qconfig
    prepared = quantization.prepare_qat(fused, inplace=True)
    return quantization.convert(train(prepared, data, epochs, LEARNING_RATE * QAT_FRACTION, what))


def few_bits(bits: int, per_channel: bool) -> tuple[Any, Any]:
    """(PTQ qconfig, QAT qconfig) with weights of `bits` bits and activations of 8."""
    limits = {"quant_min": -(1 << (bits - 1)), "quant_max": (1 << (bits - 1)) - 1}
    q = quantization
    observer = q.default_per_channel_weight_observer if per_channel else q.default_weight_observer
    fake = q.default_per_channel_weight_fake_quant if per_channel else q.default_weight_fake_quant
    activation = q.HistogramObserver.with_args(reduce_range=False)
    fake_activation = q.FakeQuantize.with_args(observer=q.MovingAverageMinMaxObserver, quant_min=0, quant_max=255)
    return q.QConfig(activation, observer.with_args(**limits)), q.QConfig(fake_activation, fake.with_args(**limits))


def build(seed: int, effort: Effort) -> list[Row]:
    """Trains and quantizes: every row of the table, not yet measured."""
    manual_seed(seed)
    data = load_digits().train
    model = train(DigitsCNN(), data, effort.epochs, LEARNING_RATE, "training in float")
    engine = "x86"
    rows = [
        Row("float32", model),
        Row("dynamic", quantization.quantize_dynamic(model)),
        Row("static", quantize_static(model, data, quantization.get_default_qconfig(engine))),
        Row("qat", quantize_aware(model, data, quantization.get_default_qat_qconfig(engine), effort.qat_epochs, "qat")),
    ]
    for bits in (4, 3):
        for per_channel in (False, True):
            name = f"static, {bits}-bit weights per {'channel' if per_channel else 'tensor'} (simulated)"
            rows.append(Row(name, quantize_static(model, data, few_bits(bits, per_channel)[0])))
        name = f"qat, {bits}-bit weights per tensor (simulated)"
        rows.append(Row(name, quantize_aware(model, data, few_bits(bits, False)[1], effort.qat_epochs, f"qat, {bits} bits")))
    return rows


def measure(rows: list[Row], effort: Effort) -> None:
    """Fills in accuracy, file size, latency and SQNR; latencies interleaved, as medians over many rounds."""
    test = load_digits().test
    with no_grad(), tempfile.TemporaryDirectory() as folder:
        logits = [row.model(test.images).numpy() for row in rows]
        for row, y in zip(rows, logits, strict=True):
            path = Path(folder) / "model.nq"
            io.save(row.model, path)
            row.bytes = path.stat().st_size
            row.accuracy = float((y.argmax(axis=1) == test.labels).mean())
            row.sqnr_db = sqnr(logits[0], y) if (y != logits[0]).any() else None
        for size in (1, 64):
            for row, seconds in zip(
                rows, median_seconds([r.model for r in rows], test.images[:size], effort.rounds), strict=True
            ):
                row.latency_ms = {**(row.latency_ms or {}), str(size): 1e3 * seconds}


def table(rows: list[Row]) -> str:
    """The table, and a line for each case in which int8 is not faster."""
    base = rows[0]
    assert base.latency_ms is not None
    width = max(len(row.name) for row in rows)
    lines = [f"{'':{width}}  accuracy     bytes  smaller  batch 1, ms  faster  batch 64, ms  faster   SQNR"]
    for row in rows:
        assert row.latency_ms is not None
        one, many = row.latency_ms["1"], row.latency_ms["64"]
        lines.append(
            f"{row.name:{width}}  {row.accuracy:8.2%} {row.bytes:9,} {base.bytes / row.bytes:7.2f}x {one:12.3f} "
            f"{base.latency_ms['1'] / one:6.2f}x {many:13.3f} {base.latency_ms['64'] / many:6.2f}x"
            + ("       -" if row.sqnr_db is None else f" {row.sqnr_db:4.1f} dB")
        )
    return "\n".join([*lines, "", *notes(rows)])


def notes(rows: list[Row]) -> list[str]:
    """What a reader of the table should know."""
    float_ms = rows[0].latency_ms or {}
    lines = [
        "bytes: of the saved file. SQNR: of the logits, against float32 (qat trained its weights further, so that its logits "
        "differ by more than noise). simulated: the weights take on 2^bits values, but are stored and multiplied as int8."
    ]
    for row in rows[1:4]:
        slow = [size for size, ms in (row.latency_ms or {}).items() if ms > float_ms[size]]
        if slow and row.name == "dynamic":
            lines.append(
                f"dynamic is not faster at batch {' and '.join(slow)}: only the last layer, {share_of_linear():.1%} of the "
                "multiplications, is int8, and finding the range of its input costs more than that saves."
            )
        elif slow:
            lines.append(
                f"{row.name} is not faster at batch {' and '.join(slow)}: the network is so small that the fixed cost of calling "
                "its layers from Python outweighs the arithmetic that int8 saves."
            )
    return lines


def share_of_linear() -> float:
    """The part of the network's multiplications that its linear layer does."""
    model = DigitsCNN()
    convolutions = sum(
        layer.weight.numel() * pixels for layer, pixels in ((model.conv1, 64), (model.conv2, 64), (model.conv3, 16))
    )
    return float(model.fc.weight.numel() / (model.fc.weight.numel() + convolutions))
