"""GTE: models/gte/modeling_gte.py of transformers 5.23, and Alibaba-NLP/new-impl's modeling.py (model_type "new").

BERT with rotary positions and a gated feed-forward, normed after each half of a layer; one projection makes query, key
and value, one the two halves of the feed-forward. transformers reads neither the "new" type nor the keys that only that
has (`layer_norm_type`, `pack_qkv`, `position_embedding_type`, `logn_attention_scale`, rope scaling "ntk"): there the
code of new-impl is followed, also where a folder that has them calls itself "gte", as Snowflake's do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .layers import Array, attention_by_head, hidden_activation, layer_norm, linear, rms_norm, split_heads
from .rope import Rope, Singles, parameters, plain_frequencies, rope
from .weights import Checkpoint


@dataclass(frozen=True)
class Config:
    """What of config.json changes the vectors; the defaults are those of GteConfig and NewConfig."""

    layers: int
    heads: int
    hidden_act: str
    layer_norm_eps: float
    root_mean_square: bool  # the norms in the layers; that of the embeddings is a LayerNorm always
    type_vocab_size: int
    packed: bool
    rope: Rope | None  # None: a table of positions
    length_scale: tuple[int, bool] | None  # the length whose logarithm is the unit, and whether 1 is the least

    @staticmethod
    def from_json(config: Mapping[str, Any]) -> Config:
        """Read config.json's keys."""
        new = config["model_type"] == "new"
        heads = config.get("num_attention_heads", 12)
        size = config.get("head_dim") or config.get("hidden_size", 768) // heads
        limit = config.get("max_position_embeddings", 2048 if new else 8192)
        positions = config.get("position_embedding_type", "rope")
        norm = config.get("layer_norm_type", "layer_norm")
        if positions not in ("rope", "absolute") or norm not in ("layer_norm", "rms_norm"):
            raise ValueError(f"position_embedding_type {positions!r}, layer_norm_type {norm!r}: not in the reference")
        return Config(
            layers=config.get("num_hidden_layers", 12),
            heads=heads,
            hidden_act=config.get("hidden_act", "gelu"),
            layer_norm_eps=config.get("layer_norm_eps", 1e-12),
            root_mean_square=norm == "rms_norm",
            type_vocab_size=config.get("type_vocab_size", 1),
            packed=config.get("pack_qkv", True),
            rope=_rope(config, size, limit, 10000.0 if new else 160_000.0) if positions == "rope" else None,
            length_scale=(limit, config.get("logn_attention_clip1", False))
            if config.get("logn_attention_scale", False)
            else None,
        )


def _rope(config: Mapping[str, Any], size: int, limit: int, default_theta: float) -> Rope:
    scaling = config.get("rope_scaling") or {}
    if scaling.get("type", scaling.get("rope_type")) == "ntk":
        base, factor = config.get("rope_theta", default_theta), scaling["factor"]
        return Rope(ntk_frequencies(base, size, factor, scaling.get("mixed_b")))
    return rope(parameters(config, default_theta), size, limit)


def ntk_frequencies(base: float, size: int, factor: float, mixed: float | None) -> Singles:
    """new-impl's `NTKScalingRotaryEmbedding`, after kexue.fm/archives/9706, for texts of every length.

    It is built for `factor` times `max_position_embeddings` at once, so short texts get the same frequencies. A factor
    of at most 1 never gets that far and changes nothing.
    """
    if factor <= 1:
        return plain_frequencies(base, size)
    if mixed is None:
        return (plain_frequencies(base * factor, size) / np.float32(factor ** (2 / size))).astype(np.float32)
    unit = np.log(np.float32(factor)) / np.float32((size / 2) ** mixed)
    growth = np.exp(unit * np.arange(1, size // 2 + 1, dtype=np.float32) ** np.float32(mixed))
    mixture: Singles = (plain_frequencies(base, size) / growth).astype(np.float32)
    return mixture


def forward(config: Config, weights: Checkpoint, ids: Sequence[int], type_ids: Sequence[int]) -> Array:
    """`GteModel`'s and `NewModel`'s last_hidden_state, (tokens, hidden)."""
    activation = hidden_activation(config.hidden_act)
    hidden = weights.rows("embeddings.word_embeddings", np.asarray(ids, dtype=np.int64))
    if config.type_vocab_size > 0:
        hidden = hidden + weights.rows("embeddings.token_type_embeddings", np.asarray(type_ids, dtype=np.int64))
    if config.rope is None:
        hidden = hidden + weights.rows("embeddings.position_embeddings", np.arange(len(ids), dtype=np.int64))
    hidden = layer_norm(hidden, weights, "embeddings.LayerNorm", config.layer_norm_eps)
    for layer in range(config.layers):
        name = f"encoder.layer.{layer}"
        query, key, value = (split_heads(x, config.heads) for x in _projections(config, weights, name, hidden))
        if config.rope is not None:
            query, key = config.rope.rotate(query), config.rope.rotate(key)
        if config.length_scale is not None:
            query = query * query.dtype.type(_length_scale(len(ids), *config.length_scale))
        mixed = attention_by_head(query, key, value, scale=1.0 / math.sqrt(query.shape[2]))
        mixed = linear(mixed, weights, f"{name}.attention.o_proj") + hidden
        hidden = _norm(config, weights, f"{name}.attn_ln", mixed)
        wide, gate = np.split(linear(hidden, weights, f"{name}.mlp.up_gate_proj", bias=False), 2, axis=-1)
        wide = linear(activation(gate) * wide, weights, f"{name}.mlp.down_proj") + hidden
        hidden = _norm(config, weights, f"{name}.mlp_ln", wide)
    return hidden


def _projections(config: Config, weights: Checkpoint, name: str, hidden: Array) -> list[Array]:
    if config.packed:
        return np.split(linear(hidden, weights, f"{name}.attention.qkv_proj"), 3, axis=-1)
    return [linear(hidden, weights, f"{name}.attention.{part}_proj") for part in "qkv"]


def _norm(config: Config, weights: Checkpoint, name: str, x: Array) -> Array:
    if config.root_mean_square:
        return rms_norm(x, weights, name, config.layer_norm_eps)
    return layer_norm(x, weights, name, config.layer_norm_eps)


def _length_scale(tokens: int, unit: int, at_least_one: bool) -> np.float32:
    """`logn_attention_scale`, after kexue.fm/archives/8823."""
    scale = np.log(np.float32(tokens)) / np.log(np.float32(unit))
    return max(scale, np.float32(1)) if at_least_one else scale
