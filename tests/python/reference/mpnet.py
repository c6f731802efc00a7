"""MPNet: models/mpnet/modeling_mpnet.py of transformers 5.23.

No token types; absolute positions as in RoBERTa; and a learned bias for every distance between two tokens, one table
for all layers. Three numbers are fixed in the code whatever config.json says: the padding id that positions are counted
from (1), the number of buckets that distances fall into (32) and the distance from which all are alike (128).
`relative_attention_num_buckets` sizes the table only: rows past 32 are never read, fewer than 32 are an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .bert import position_ids
from .layers import Array, attention, hidden_activation, layer_norm, linear
from .weights import Checkpoint

PADDING_ID = 1
BUCKETS = 32
MAX_DISTANCE = 128


@dataclass(frozen=True)
class Config:
    """What of config.json changes the vectors; the defaults are those of configuration_mpnet.py."""

    layers: int
    heads: int
    hidden_act: str
    layer_norm_eps: float

    @staticmethod
    def from_json(config: Mapping[str, Any]) -> Config:
        """Read config.json's keys."""
        if config.get("relative_attention_num_buckets", BUCKETS) < BUCKETS:
            raise ValueError(
                f"relative_attention_num_buckets is under {BUCKETS}: MPNet's buckets would leave the table"
            )
        return Config(
            layers=config.get("num_hidden_layers", 12),
            heads=config.get("num_attention_heads", 12),
            hidden_act=config.get("hidden_act", "gelu"),
            layer_norm_eps=config.get("layer_norm_eps", 1e-12),
        )


def relative_position_bucket(relative_position: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """`MPNetEncoder.relative_position_bucket` for key position - query position.

    Half of the buckets are for keys to the right. Of each half, the first 8 are one distance each, the last 8 grow by
    the logarithm up to `MAX_DISTANCE`. In float32 like there, though no distance is so near a border that it matters.
    """
    half = BUCKETS // 2
    exact = half // 2
    distance = np.abs(relative_position)
    scaled = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact))
    scaled = scaled / np.float32(math.log(MAX_DISTANCE / exact)) * np.float32(half - exact)
    far = np.minimum(exact + scaled.astype(np.int64), half - 1)
    bucket = np.where(distance < exact, distance, far)
    return np.where(relative_position > 0, bucket + half, bucket).astype(np.int64)


def position_bias(weights: Checkpoint, tokens: int) -> Array:
    """`MPNetEncoder.compute_position_bias`: (heads, tokens, tokens)."""
    order = np.arange(tokens, dtype=np.int64)
    buckets = relative_position_bucket(order[None, :] - order[:, None])
    return weights.rows("encoder.relative_attention_bias", buckets).transpose(2, 0, 1)


def forward(config: Config, weights: Checkpoint, ids: Sequence[int]) -> Array:
    """`MPNetModel`'s last_hidden_state, (tokens, hidden)."""
    activation = hidden_activation(config.hidden_act)
    id_array = np.asarray(ids, dtype=np.int64)
    hidden = weights.rows("embeddings.word_embeddings", id_array)
    hidden = hidden + weights.rows("embeddings.position_embeddings", position_ids(id_array, PADDING_ID))
    hidden = layer_norm(hidden, weights, "embeddings.LayerNorm", config.layer_norm_eps)
    bias = position_bias(weights, len(ids))
    for layer in range(config.layers):
        name = f"encoder.layer.{layer}"
        query, key, value = (linear(hidden, weights, f"{name}.attention.attn.{x}") for x in ("q", "k", "v"))
        mixed = attention(query, key, value, config.heads, bias=bias)
        mixed = linear(mixed, weights, f"{name}.attention.attn.o") + hidden
        hidden = layer_norm(mixed, weights, f"{name}.attention.LayerNorm", config.layer_norm_eps)
        wide = linear(
            activation(linear(hidden, weights, f"{name}.intermediate.dense")), weights, f"{name}.output.dense"
        )
        hidden = layer_norm(wide + hidden, weights, f"{name}.output.LayerNorm", config.layer_norm_eps)
    return hidden
