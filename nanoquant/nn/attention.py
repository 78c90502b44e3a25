"""Attention, and the layers of a Transformer encoder made of it.

Source: Vaswani et al., "Attention Is All You Need", 2017. Before: `recurrent`. After: `functional`.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from ..autograd.tensor import Tensor
from ..module import Module
from .activation import gelu, relu, softmax
from .container import ModuleList
from .init import xavier_uniform_
from .layer import as_tensor, take_float
from .linear import Linear, linear, uniform
from .norm import Dropout, LayerNorm, dropout


def _bias_of(mask: Any, dtype: Any) -> Any:
    """What a mask adds to the scores: -inf where a boolean one is True; a float one as it is. dtype: the scores'."""
    array = np.asarray(mask)
    floats = dtype if isinstance(dtype, np.dtype) else np.float32
    return np.where(array, -np.inf, 0).astype(floats) if array.dtype == bool else mask


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: list[Any], p: float, scale: float | None) -> tuple[Tensor, Tensor]:
    """(softmax(q k^T scale + bias) v, the softmax); dropout with probability p between the two."""
    scores = (q * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)) @ k.transpose(-2, -1)
    for term in bias:
        scores = scores + term
    weights = softmax(scores, -1)
    return dropout(weights, p) @ v, weights


def _causal(rows: int, columns: int) -> Any:
    """True above the diagonal: what lies in the future."""
    return ~np.tri(rows, columns, dtype=bool)


def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:  # fmt: skip
    """softmax(query key^T / sqrt(size) + mask) value. query: (..., rows, size). key, value: (..., columns, size).

    attn_mask: (..., rows, columns), added; or boolean, True where a row may look (in `MultiheadAttention` it is where it
    may not, as in torch). is_causal: row i looks at columns 0 ... i.
    """
    q, k, v = map(as_tensor, (query, key, value))
    masks = [] if attn_mask is None else [attn_mask if np.asarray(attn_mask).dtype != bool else ~np.asarray(attn_mask)]
    masks += [_causal(q.shape[-2], k.shape[-2])] if is_causal else []
    return _attend(q, k, v, [_bias_of(mask, q.dtype) for mask in masks], dropout_p, scale)[0]


class NonDynamicallyQuantizableLinear(Linear):
    """The projection behind the heads; quantize_dynamic leaves it alone, as torch does."""


class MultiheadAttention(Module):
    """num_heads attentions side by side, each on its share of the embed_dim features.

        head_h = softmax(q_h k_h^T / sqrt(embed_dim / num_heads) + mask) v_h,    y = [head_1 ... head_H] W_out^T + b_out

    q, k, v are linear in query, key, value, by the three parts of in_proj_weight (3 embed_dim, embed_dim). query:
    (rows, batch, embed_dim), or batch first, or without a batch; key and value: (columns, batch, embed_dim).
    Returns (y, weights): the softmax's mean over heads, or (batch, heads, rows, columns) without average_attn_weights, or
    None without need_weights. attn_mask: (rows, columns) or (batch * heads, rows, columns); key_padding_mask: (batch,
    columns); both boolean, True where not to look, or added.

    >>> y, weights = MultiheadAttention(8, 2)(*[nq.ones(5, 1, 8)] * 3)
    >>> y.shape, weights.shape
    ((5, 1, 8), (1, 5, 5))
    """

    out_proj: Linear

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, *, batch_first: bool = False
    ) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim={embed_dim} must be divisible by num_heads={num_heads}")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.in_proj_weight = uniform((3 * embed_dim, embed_dim), embed_dim)
        self.register_parameter("in_proj_bias", uniform((3 * embed_dim,), embed_dim) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias)
        xavier_uniform_(self.in_proj_weight)
        for start in (self.in_proj_bias, self.out_proj.bias):
            if start is not None:
                start.array[...] = 0

    def take(self, x: Any) -> Any:
        """An input as a tensor."""
        return take_float(self, x)

    def project(self, x: Any, part: int) -> Tensor:
        """(length, batch, embed_dim) through its part of the projection: of queries, keys or values."""
        rows = slice(part * self.embed_dim, (part + 1) * self.embed_dim)
        return linear(x, self.in_proj_weight[rows], None if self.in_proj_bias is None else self.in_proj_bias[rows])

    def attend(self, q: Any, k: Any, v: Any, bias: list[Any]) -> tuple[Any, Tensor]:
        """(what all heads give, their weights), of (batch, heads, length, size)."""
        return _attend(q, k, v, bias, self.dropout if self.training else 0.0, None)

    def finish(self, y: Any) -> Tensor:
        """All heads, side by side, through the last projection."""
        return self.out_proj(y)  # type: ignore[no-any-return]

    def _heads(self, x: Any, part: int) -> Tensor:
        """`project`, as (batch, heads, length, size)."""
        y = self.project(x, part).reshape(*x.shape[:2], self.num_heads, self.embed_dim // self.num_heads)
        return y.permute(1, 2, 0, 3)

    def forward(
        self, query: Any, key: Any, value: Any, key_padding_mask: Any = None, need_weights: bool = True,
        attn_mask: Any = None, average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """See the class. is_causal says what attn_mask is, as in torch; without a mask it makes one."""
        inputs = [self.take(x) for x in (query, key, value)]
        alone = inputs[0].ndim == 2
        if alone:
            inputs = [x.reshape(x.shape[0], 1, x.shape[1]) for x in inputs]
        elif self.batch_first:
            inputs = [x.transpose(0, 1) for x in inputs]
        q, k, v = (self._heads(x, part) for part, x in enumerate(inputs))
        batch, heads, rows, columns = *q.shape[:3], k.shape[2]
        bias: list[Any] = []
        if attn_mask is not None:
            mask = as_tensor(_bias_of(attn_mask, q.dtype))
            bias.append(mask if mask.ndim == 2 else mask.reshape(batch, heads, rows, columns))
        elif is_causal:
            bias.append(_bias_of(_causal(rows, columns), q.dtype))
        if key_padding_mask is not None:
            bias.append(as_tensor(_bias_of(key_padding_mask, q.dtype)).reshape(batch, 1, 1, columns))
        y, weights = self.attend(q, k, v, bias)
        y = self.finish(y.permute(2, 0, 1, 3).reshape(rows, batch, self.embed_dim))
        seen = weights.mean(1) if average_attn_weights else weights
        if alone:
            return y.reshape(rows, -1), seen.reshape(*seen.shape[1:]) if need_weights else None
        return y.transpose(0, 1) if self.batch_first else y, seen if need_weights else None


ACTIVATIONS = {"relu": relu, "gelu": gelu}


class TransformerEncoderLayer(Module):
    """Attention, then two linear layers, each added to what it was given and normalized:

        x = norm1(x + attention(x)),    x = norm2(x + W_2 activation(W_1 x))            norm_first: x + f(norm(x)) instead

    x: (length, batch, d_model), or batch first. activation: 'relu' or 'gelu', or one of these functions.

    >>> TransformerEncoderLayer(8, 2, dim_feedforward=16)(nq.ones(5, 1, 8)).shape
    (5, 1, 8)
    """

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1, activation: Any = "relu",
        layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first)
        self.linear1, self.dropout = Linear(d_model, dim_feedforward, bias), Dropout(dropout)
        self.linear2, self.norm_first = Linear(dim_feedforward, d_model, bias), norm_first
        self.norm1, self.norm2 = (LayerNorm(d_model, layer_norm_eps, bias=bias) for _ in range(2))
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)
        self.activation = getattr(activation, "__name__", activation)
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}")

    def forward(self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Tensor:
        """See the class; the masks are those of `MultiheadAttention`."""
        x = take_float(self, src)
        masks = {"key_padding_mask": src_key_padding_mask, "attn_mask": src_mask, "is_causal": is_causal}

        def attend(x: Tensor) -> Any:
            return self.dropout1(self.self_attn(x, x, x, need_weights=False, **masks)[0])

        def feed(x: Tensor) -> Any:
            return self.dropout2(self.linear2(self.dropout(ACTIVATIONS[self.activation](self.linear1(x)))))

        if self.norm_first:
            x = x + attend(self.norm1(x))
            y: Tensor = x + feed(self.norm2(x))
        else:
            x = self.norm1(x + attend(x))
            y = self.norm2(x + feed(x))
        return y


class TransformerEncoder(Module):
    """num_layers copies of a layer, one after another, and a last normalization, if given.

    >>> encoder = TransformerEncoder(TransformerEncoderLayer(8, 2, 16), num_layers=3)
    >>> encoder(nq.ones(5, 1, 8)).shape
    (5, 1, 8)
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None, **options: bool) -> None:
        super().__init__()
        if options.keys() - {"enable_nested_tensor", "mask_check"}:  # torch's, which change no result
            raise TypeError(f"TransformerEncoder takes no {', '.join(options)}")
        self.layers = ModuleList(copy.deepcopy(encoder_layer) for _ in range(num_layers))
        self.num_layers, self.norm = num_layers, norm

    def forward(self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Any:
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, is_causal)
        return src if self.norm is None else self.norm(src)
