"""Linear layers and embeddings of which only the weights are quantized.

Before: `weighted`. After: `dynamic`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...autograd.tensor import Tensor
from ...errors import ModuleError
from ...kernels.embedding import Table, nibbles, whole
from ...kernels.weight_only import GroupedWeights
from ...module import Module
from ...qparams import QParams
from ...qtensor import QTensor, quantize, without_gradient
from ...scheme import QDType, quint8
from ..embedding import bags_of
from ..layer import take_float
from .weighted import observed_weights

Floats = NDArray[np.float32]


class WeightOnly(Module):
    """Weights of 8 or 4 bits, those of 4 two in a byte, and how they are quantized.

    Buffers: weight_values (uint8: the integers less their dtype's smallest), weight_scale, weight_zero_point.
    """

    weight_values: NDArray[np.uint8]
    weight_scale: Floats
    weight_zero_point: NDArray[Any]
    dtype: QDType
    axis: int | None
    group_size: int | None
    derived = frozenset({"_packed"})
    resizable_buffers = frozenset({"weight_values", "weight_scale", "weight_zero_point"})

    def __init__(self, rows: int, columns: int, dtype: QDType = quint8) -> None:
        super().__init__()
        self._columns = columns
        self._packed: Any = None
        for name in ("weight_values", "weight_scale", "weight_zero_point"):
            self.register_buffer(name, None)
        qparams = QParams(np.ones(rows, np.float32), np.zeros(rows, np.int64), dtype, 0)
        self.set_weight(QTensor(np.zeros((rows, columns), dtype.storage), qparams))

    def set_weight(self, weight: QTensor) -> None:
        """Replaces the weights, of which each row or run of a row has a scale."""
        qparams = weight.qparams
        self.dtype, self.axis, self.group_size = qparams.dtype, qparams.axis, qparams.group_size
        self.float_qparams = qparams.float_qparams
        values = (weight.values.astype(np.int16) - qparams.dtype.quant_min).astype(np.uint8)
        self.weight_values = values if qparams.dtype.bits == 8 else nibbles(values)
        self.weight_scale, self.weight_zero_point = qparams.scale, qparams.zero_point
        self._packed = None

    def adopt(self, module: Any) -> Any:
        """Takes over the weights of a float layer or QAT twin, as its qconfig says; returns its bias."""
        weight, bias, qparams = observed_weights(module)
        axes = (None, 0) if qparams.group_size is None else (1, -1)
        if qparams.dtype.bits not in (4, 8) or qparams.axis not in axes:
            raise ModuleError(
                module,
                "weights must have 4 or 8 bits, and a scale for all, for each row, or for each group in a row; its qconfig's "
                f"weight observer gives {qparams!r}",
            )
        if qparams.axis is None:
            rows = [np.full(len(weight), v) for v in (qparams.scale, qparams.zero_point)]
            qparams = QParams(rows[0], rows[1], qparams.dtype, 0, *qparams.limits)
        self.set_weight(quantize(weight, qparams))
        return bias

    def integers(self) -> NDArray[np.uint8]:
        """The weights as they are stored, one in each byte."""
        return self.weight_values if self.dtype.bits == 8 else whole(self.weight_values, self._columns)

    def weight(self) -> QTensor:
        """The weights, quantized."""
        grid: dict[str, Any] = {"group_size": self.group_size, "float_qparams": self.float_qparams}
        qparams = QParams(self.weight_scale, self.weight_zero_point, self.dtype, self.axis, **grid)
        values = (self.integers().astype(np.int16) + self.dtype.quant_min).astype(self.dtype.storage)
        return QTensor(values, qparams)

    def __getstate__(self) -> dict[str, Any]:
        """All but what C holds, which is made again."""
        return {**self.__dict__, "_packed": None}

    def state_changed(self) -> None:
        """Forgets what was packed."""
        self._packed = None

    def packed(self) -> Any:
        """The weights as the kernels want them; made at the first call."""
        if self._packed is None:
            self._packed = self.pack()
        return self._packed

    def pack(self) -> Any:
        """See `packed`."""
        raise NotImplementedError

    def weights_repr(self) -> str:
        """What the weights are."""
        each = "row" if self.group_size is None else f"group of {self.group_size}"
        return f"w={self.dtype.name} per {each}"


class WeightOnlyLinear(WeightOnly):
    """y = x W^T + b of floats, with weights of 8 or 4 bits, which have a scale for each output, or each run of inputs.

    x: (..., in_features); each row is rounded to 8 bits within runs of at most 128 inputs (`kernels.weight_only` has the
    formula), so that products are integers': a row's result is the same in any batch. weight: qint8, quint8, qint4 or quint4.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: QDType = quint8) -> None:
        super().__init__(out_features, in_features, dtype)
        self.in_features, self.out_features = in_features, out_features
        self.register_buffer("bias_values", np.zeros(out_features, np.float32) if bias else None)

    @classmethod
    def from_float(cls, module: Any) -> WeightOnlyLinear:
        """From a float Linear or its QAT twin, whose qconfig leaves activations in float."""
        twin = cls(module.in_features, module.out_features, module.bias is not None)
        bias = twin.adopt(module)
        twin.bias_values = None if bias is None else np.array(bias, np.float32)
        return twin

    def pack(self) -> GroupedWeights:
        """See `WeightOnly`."""
        scale, zero_point = (a.reshape(self.out_features, -1) for a in (self.weight_scale, self.weight_zero_point))
        steps = zero_point - self.dtype.quant_min
        group = self.group_size or self.in_features
        return GroupedWeights(self.integers(), scale, steps, group, self.dtype.bits, self.bias_values)

    def forward(self, x: Any) -> Tensor:
        """See the class."""
        value = take_float(self, x)
        if value.shape[-1] != self.in_features:
            raise ValueError(f"the layer has {self.in_features} input features; got an input of shape {value.shape}")
        rows = np.asarray(value.array, dtype=np.float32, order="C").reshape(-1, self.in_features)
        y = self.packed()(rows).reshape(*value.shape[:-1], self.out_features)
        return without_gradient(y, value if value.requires_grad else None)

    def extra_repr(self) -> str:
        """One line, true facts only."""
        return f"{self.in_features}, {self.out_features}, {self.weights_repr()}"


class Embedding(WeightOnly):
    """A table of quantized rows, each with a scale and a (float) zero point, from which integers pick: (...) to (..., dim).

    Result: s q - (s z), as float32 (`kernels.embedding`). weight: 8 bits, or 4, two in a byte; a scale for each row, or for
    each group in a row.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, dtype: QDType = quint8) -> None:
        super().__init__(num_embeddings, embedding_dim, dtype)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim

    @classmethod
    def from_float(cls, module: Any) -> Embedding:
        """From a float layer or its QAT twin, with a qconfig such as `float_qparams_weight_only_qconfig`."""
        twin = cls(module.num_embeddings, module.embedding_dim)
        twin.adopt(module)
        twin.take_arguments(module)
        return twin

    def take_arguments(self, module: Any) -> None:
        """Takes over what else the float layer was told: nothing."""

    def pack(self) -> Table:
        """See `WeightOnly`; a row with several scales is as many rows of the table."""
        scale, zero_point = (np.asarray(v, np.float32).reshape(-1) for v in (self.weight_scale, self.weight_zero_point))
        columns = self.group_size or self.embedding_dim
        values = self.integers().reshape(-1, columns) if self.group_size else self.weight_values
        values = nibbles(values) if self.group_size and self.dtype.bits == 4 else values
        return Table(values, scale, zero_point - np.float32(self.dtype.quant_min), columns, self.dtype.bits)

    def sums(self, starts: Any, index: Any, factor: Any = None, mean: bool = False) -> Floats:
        """`Table.sums`, of all groups of the rows."""
        table, groups = self.packed(), self.embedding_dim // (self.group_size or self.embedding_dim)
        parts = [table.sums(starts, index * groups + g, factor, mean) for g in range(groups)]
        return parts[0] if groups == 1 else np.concatenate(parts, axis=1)

    def forward(self, input: Any) -> Tensor:
        """See the class."""
        starts, index, _ = bags_of(np.asarray(input).reshape(-1, 1), self.num_embeddings)
        return Tensor(self.sums(starts, index).reshape(*np.shape(input), self.embedding_dim))

    def printed_name(self) -> str:
        """'QuantizedEmbedding', as torch prints it."""
        return f"Quantized{type(self).__name__}"

    def extra_repr(self) -> str:
        """One line, true facts only."""
        return f"{self.num_embeddings}, {self.embedding_dim}, {self.weights_repr()}"


class EmbeddingBag(Embedding):
    """The sum or mean of the quantized rows that a bag of integers picks; `nn.functional.embedding_bag` says of what shape."""

    mode, include_last_offset, padding_idx = "sum", False, None

    def take_arguments(self, module: Any) -> None:
        """Takes over mode, include_last_offset and padding_idx."""
        if module.mode == "max":
            raise ModuleError(
                module, "mode='max' has no quantized form: use 'sum' or 'mean', or keep it in float, qconfig = None"
            )
        self.mode, self.include_last_offset, self.padding_idx = (module.mode, module.include_last_offset, module.padding_idx)

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Tensor:
        """See the class."""
        if per_sample_weights is not None and self.mode != "sum":
            raise ValueError(f"per_sample_weights are for mode 'sum'; got {self.mode!r}")
        starts, index, kept = bags_of(input, self.num_embeddings, offsets, self.include_last_offset, self.padding_idx)
        factor = None if per_sample_weights is None else np.asarray(per_sample_weights, np.float32).reshape(-1)[kept]
        return Tensor(self.sums(starts, index, factor, self.mode == "mean"))
