"""ModernBERT: models/modernbert/modeling_modernbert.py of transformers 5.23.

LayerNorm before each half of a layer (none before the first attention: the embeddings are normed), rotary positions, a
gated feed-forward. Layers see the whole text or a window of it, each kind with a rotation of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .layers import Array, attention_by_head, hidden_activation, layer_norm, linear, split_heads, window
from .rope import Rope, parameters_by_layer_type, rope
from .weights import Checkpoint

_THETAS = {"full_attention": ("global_rope_theta", 160_000.0), "sliding_attention": ("local_rope_theta", 10_000.0)}


@dataclass(frozen=True)
class Config:
    """What of config.json changes the vectors; the defaults are those of configuration_modernbert.py."""

    layer_types: Sequence[str]
    heads: int
    activation: str
    norm_eps: float
    norm_bias: bool
    attention_bias: bool
    feed_forward_bias: bool
    reach: int  # how far a token of a sliding layer sees on either side
    ropes: Mapping[str, Rope]

    @staticmethod
    def from_json(config: Mapping[str, Any]) -> Config:
        """Read config.json's keys: `layer_types` and `rope_parameters` are transformers 5's, the rest of them 4's."""
        layers = config.get("num_hidden_layers", 22)
        every = config.get("global_attn_every_n_layers", 3)
        types = config.get("layer_types")
        if types is None:
            types = ["sliding_attention" if i % every else "full_attention" for i in range(layers)]
        heads = config.get("num_attention_heads", 12)
        hidden = config.get("hidden_size", 768)
        if hidden % heads:
            raise ValueError(f"hidden size {hidden} is not a multiple of {heads} attention heads")
        positions = config.get("max_position_embeddings", 8192)
        kinds = parameters_by_layer_type(config, _THETAS, scaled=("full_attention", "sliding_attention"))
        return Config(
            layer_types=types[:layers],
            heads=heads,
            activation=config.get("hidden_activation", "gelu"),
            norm_eps=config.get("norm_eps", 1e-5),
            norm_bias=config.get("norm_bias", False),
            attention_bias=config.get("attention_bias", False),
            feed_forward_bias=config.get("mlp_bias", False),
            reach=config.get("local_attention", 128) // 2,
            ropes={kind: rope(kinds[kind], hidden // heads, positions) for kind in set(types)},
        )


def forward(config: Config, weights: Checkpoint, ids: Sequence[int]) -> Array:
    """`ModernBertModel`'s last_hidden_state, (tokens, hidden)."""
    activation = hidden_activation(config.activation)

    def norm(x: Array, name: str) -> Array:
        return layer_norm(x, weights, name, config.norm_eps, bias=config.norm_bias)

    hidden = norm(weights.rows("embeddings.tok_embeddings", np.asarray(ids, dtype=np.int64)), "embeddings.norm")
    for layer, layer_type in enumerate(config.layer_types):
        name = f"layers.{layer}"
        normed = norm(hidden, f"{name}.attn_norm") if layer else hidden
        fused = linear(normed, weights, f"{name}.attn.Wqkv", bias=config.attention_bias)
        query, key, value = (split_heads(x, config.heads) for x in np.split(fused, 3, axis=-1))
        reach = config.reach if layer_type == "sliding_attention" else None
        mixed = attention_by_head(
            config.ropes[layer_type].rotate(query),
            config.ropes[layer_type].rotate(key),
            value,
            scale=1.0 / math.sqrt(query.shape[2]),
            visible=window(len(hidden), causal=False, left=reach, right=reach),
        )
        hidden = hidden + linear(mixed, weights, f"{name}.attn.Wo", bias=config.attention_bias)
        fused = linear(norm(hidden, f"{name}.mlp_norm"), weights, f"{name}.mlp.Wi", bias=config.feed_forward_bias)
        wide, gate = np.split(fused, 2, axis=-1)
        hidden = hidden + linear(activation(wide) * gate, weights, f"{name}.mlp.Wo", bias=config.feed_forward_bias)
    return norm(hidden, "final_norm")
