"""BERT, RoBERTa and XLM-RoBERTa: modeling_bert.py and modeling_roberta.py of transformers 5.23.

The three share every layer (XLM-RoBERTa's file is RoBERTa's). They differ in the position of a token alone: BERT counts
from 0, the RoBERTas count the tokens that are not the padding token, from `pad_token_id` + 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .layers import Array, attention, hidden_activation, layer_norm, linear
from .weights import Checkpoint


@dataclass(frozen=True)
class Config:
    """What of config.json changes the vectors; the defaults are those of configuration_{bert,roberta}.py."""

    family: str
    layers: int
    heads: int
    hidden_act: str
    layer_norm_eps: float
    pad_token_id: int | None
    is_decoder: bool

    @staticmethod
    def from_json(config: Mapping[str, Any]) -> Config:
        """Read config.json's keys.

        `position_embedding_type` other than "absolute" is refused: transformers 4 had relative positions for these
        families, transformers 5 ignores the key and computes other vectors without a word.
        """
        family = config["model_type"]
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise ValueError(f"position_embedding_type {config['position_embedding_type']!r}: only absolute positions")
        return Config(
            family=family,
            layers=config.get("num_hidden_layers", 12),
            heads=config.get("num_attention_heads", 12),
            hidden_act=config.get("hidden_act", "gelu"),
            layer_norm_eps=config.get("layer_norm_eps", 1e-12),
            pad_token_id=config.get("pad_token_id", 0 if family == "bert" else 1),
            is_decoder=config.get("is_decoder", False),
        )


def position_ids(ids: npt.NDArray[np.int64], pad_token_id: int) -> npt.NDArray[np.int64]:
    """`RobertaEmbeddings.create_position_ids_from_input_ids` (MPNet has the same).

    Tokens that are not the padding token are numbered from `pad_token_id` + 1; padding tokens, also one spelled out in
    the text, all get position `pad_token_id` and are not counted.
    """
    counted = (ids != pad_token_id).astype(np.int64)
    numbers: npt.NDArray[np.int64] = np.cumsum(counted) * counted + pad_token_id
    return numbers


def embeddings(config: Config, weights: Checkpoint, ids: Sequence[int], type_ids: Sequence[int]) -> Array:
    """`BertEmbeddings` and `RobertaEmbeddings`: word + token type + position, then LayerNorm."""
    id_array = np.asarray(ids, dtype=np.int64)
    if config.family == "bert":
        positions = np.arange(len(ids), dtype=np.int64)
    elif config.pad_token_id is None:
        raise ValueError(f"{config.family} numbers positions from pad_token_id, which config.json sets to null")
    else:
        positions = position_ids(id_array, config.pad_token_id)
    total = (
        weights.rows("embeddings.word_embeddings", id_array)
        + weights.rows("embeddings.token_type_embeddings", np.asarray(type_ids, dtype=np.int64))
        + weights.rows("embeddings.position_embeddings", positions)
    )
    return layer_norm(total, weights, "embeddings.LayerNorm", config.layer_norm_eps)


def forward(config: Config, weights: Checkpoint, ids: Sequence[int], type_ids: Sequence[int]) -> Array:
    """`BertModel`'s last_hidden_state, (tokens, hidden); with `is_decoder` causal, by `_create_attention_masks`."""
    activation = hidden_activation(config.hidden_act)
    hidden = embeddings(config, weights, ids, type_ids)
    for layer in range(config.layers):
        name = f"encoder.layer.{layer}"
        query, key, value = (linear(hidden, weights, f"{name}.attention.self.{x}") for x in ("query", "key", "value"))
        mixed = attention(query, key, value, config.heads, causal=config.is_decoder)
        mixed = linear(mixed, weights, f"{name}.attention.output.dense") + hidden
        hidden = layer_norm(mixed, weights, f"{name}.attention.output.LayerNorm", config.layer_norm_eps)
        wide = activation(linear(hidden, weights, f"{name}.intermediate.dense"))
        wide = linear(wide, weights, f"{name}.output.dense") + hidden
        hidden = layer_norm(wide, weights, f"{name}.output.LayerNorm", config.layer_norm_eps)
    return hidden
