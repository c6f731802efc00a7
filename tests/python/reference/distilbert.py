"""DistilBERT: models/distilbert/modeling_distilbert.py of transformers 5.23.

BERT without token types. Its layer norms have eps 1e-12 whatever config.json says, and `sinusoidal_pos_embds` tells
only how a new table is filled: the stored table is used either way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .layers import Array, attention, hidden_activation, layer_norm, linear
from .weights import Checkpoint

LAYER_NORM_EPS = 1e-12


@dataclass(frozen=True)
class Config:
    """What of config.json changes the vectors; names and defaults are those of configuration_distilbert.py."""

    layers: int
    heads: int
    activation: str

    @staticmethod
    def from_json(config: Mapping[str, Any]) -> Config:
        """Read config.json's keys; `attribute_map` makes BERT's names mean the same."""
        return Config(
            layers=config.get("n_layers", config.get("num_hidden_layers", 6)),
            heads=config.get("n_heads", config.get("num_attention_heads", 12)),
            activation=config.get("activation", "gelu"),
        )


def forward(config: Config, weights: Checkpoint, ids: Sequence[int]) -> Array:
    """`DistilBertModel`'s last_hidden_state, (tokens, dim)."""
    activation = hidden_activation(config.activation)
    hidden = weights.rows("embeddings.word_embeddings", np.asarray(ids, dtype=np.int64))
    hidden = hidden + weights.rows("embeddings.position_embeddings", np.arange(len(ids), dtype=np.int64))
    hidden = layer_norm(hidden, weights, "embeddings.LayerNorm", LAYER_NORM_EPS)
    for layer in range(config.layers):
        name = f"transformer.layer.{layer}"
        query, key, value = (linear(hidden, weights, f"{name}.attention.{x}_lin") for x in ("q", "k", "v"))
        mixed = attention(query, key, value, config.heads)
        mixed = linear(mixed, weights, f"{name}.attention.out_lin") + hidden
        hidden = layer_norm(mixed, weights, f"{name}.sa_layer_norm", LAYER_NORM_EPS)
        wide = linear(activation(linear(hidden, weights, f"{name}.ffn.lin1")), weights, f"{name}.ffn.lin2") + hidden
        hidden = layer_norm(wide, weights, f"{name}.output_layer_norm", LAYER_NORM_EPS)
    return hidden
