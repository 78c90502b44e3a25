"""Embeddings with fake-quantized rows.

Before: `twin`. After: `nanoquant.nn.quantized`.
"""

from __future__ import annotations

from typing import Any

from ...autograd.tensor import Tensor
from .. import embedding
from .twin import Twin


class _Rows(Twin):
    """Where a Twin has a product, an embedding looks rows up."""

    def copy_geometry(self, layer: Any) -> None:
        """Takes over another layer's arguments."""
        for name in ("num_embeddings", "embedding_dim", "padding_idx", "mode", "include_last_offset"):
            if hasattr(layer, name):
                setattr(self, name, getattr(layer, name))

    def table(self) -> Tensor:
        """The rows, fake-quantized."""
        return self.weight_fake_quant(self.weight)  # type: ignore[no-any-return]


class Embedding(_Rows, embedding.Embedding):
    """`nn.Embedding` with fake-quantized rows."""

    forward = embedding.Embedding.forward  # type: ignore[assignment]


class EmbeddingBag(_Rows, embedding.EmbeddingBag):
    """`nn.EmbeddingBag` with fake-quantized rows."""

    forward = embedding.EmbeddingBag.forward  # type: ignore[assignment]
