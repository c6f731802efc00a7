"""Llama, Mistral, Qwen2 and Qwen3: models/{llama,mistral,qwen2,qwen3}/modeling_*.py of transformers 5.23.

One decoder: RMSNorm before each half of a layer, rotary positions, grouped key-value heads, a gated feed-forward, and a
token sees only itself and those before it. They differ in what `Config.from_json` says, and Qwen3 in an RMSNorm over
each head's query and key.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .layers import Array, Mask, attention_by_head, hidden_activation, linear, rms_norm, split_heads, window
from .rope import Rope, parameters, rope
from .weights import Checkpoint

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
_POSITIONS = {"llama": 2048, "mistral": 4096 * 32, "qwen2": 32768, "qwen3": 32768}


@dataclass(frozen=True)
class Config:
    """What of config.json changes the vectors; the defaults are those of configuration_*.py."""

    layers: int
    heads: int
    key_value_heads: int
    hidden_act: str
    rms_norm_eps: float
    query_bias: bool  # of the three projections into the attention
    output_bias: bool
    feed_forward_bias: bool
    head_norm: bool
    windows: Sequence[int | None]  # for each layer, how many tokens one sees, itself among them
    rope: Rope

    @staticmethod
    def from_json(config: Mapping[str, Any]) -> Config:
        """Read config.json's keys, as transformers 4 and 5 write them.

        `attention_bias` is Llama's and Qwen3's, `mlp_bias` Llama's; Qwen2 has a bias on query, key and value always.
        Mistral's `sliding_window` holds in all layers; the Qwens' only where `use_sliding_window` is true, from layer
        `max_window_layers` on or where `layer_types` says.
        """
        family = config["model_type"]
        layers = config.get("num_hidden_layers", 32)
        heads = config.get("num_attention_heads", 32)
        hidden = config.get("hidden_size", 4096)
        size = config.get("head_dim") or (128 if family == "qwen3" else hidden // heads)
        if (
            family == "qwen2"
        ):  # its code has no key of that name, so the attribute is what the file says or the quotient
            size = config.get("head_dim", hidden // heads)
        own_bias = family in ("llama", "qwen3") and config.get("attention_bias", False)
        key_value_heads = config.get("num_key_value_heads", 8 if family == "mistral" else None)
        if family in ("qwen2", "qwen3"):
            key_value_heads = config.get("num_key_value_heads", 32)
        positions = config.get("max_position_embeddings", _POSITIONS[family])
        return Config(
            layers=layers,
            heads=heads,
            key_value_heads=key_value_heads or heads,
            hidden_act=config.get("hidden_act", "silu"),
            rms_norm_eps=config.get("rms_norm_eps", 1e-6),
            query_bias=own_bias or family == "qwen2",
            output_bias=own_bias,
            feed_forward_bias=family == "llama" and config.get("mlp_bias", False),
            head_norm=family == "qwen3",
            windows=_windows(family, config, layers),
            rope=rope(parameters(config, 10000.0), size, positions),
        )


def _windows(family: str, config: Mapping[str, Any], layers: int) -> list[int | None]:
    if family == "llama":
        return [None] * layers
    size: int | None = config.get("sliding_window", 4096)
    if family == "mistral":
        return [size] * layers
    if not config.get("use_sliding_window", False):
        size = None
    first = config.get("max_window_layers", 28)
    types = config.get("layer_types")
    if types is None:
        types = ["sliding_attention" if size is not None and i >= first else "full_attention" for i in range(layers)]
    if size is None and "sliding_attention" in types:
        raise ValueError("layer_types has sliding_attention, and there is no sliding_window in use")
    return [size if kind == "sliding_attention" else None for kind in types[:layers]]


def causal_window(tokens: int, size: int | None) -> Mask:
    """`sliding_window_overlay`: a token sees `size` tokens, itself among them, or all before it."""
    return window(tokens, causal=True, left=None if size is None else size - 1)


def forward(config: Config, weights: Checkpoint, ids: Sequence[int]) -> Array:
    """The model's last_hidden_state, (tokens, hidden)."""
    activation = hidden_activation(config.hidden_act)
    hidden = weights.rows("embed_tokens", np.asarray(ids, dtype=np.int64))
    for layer in range(config.layers):
        name = f"layers.{layer}"
        normed = rms_norm(hidden, weights, f"{name}.input_layernorm", config.rms_norm_eps)
        hidden = hidden + _attention(config, weights, f"{name}.self_attn", normed, config.windows[layer])
        normed = rms_norm(hidden, weights, f"{name}.post_attention_layernorm", config.rms_norm_eps)
        bias = config.feed_forward_bias
        wide = activation(linear(normed, weights, f"{name}.mlp.gate_proj", bias=bias))
        wide = wide * linear(normed, weights, f"{name}.mlp.up_proj", bias=bias)
        hidden = hidden + linear(wide, weights, f"{name}.mlp.down_proj", bias=bias)
    return rms_norm(hidden, weights, "norm", config.rms_norm_eps)


def _attention(config: Config, weights: Checkpoint, name: str, hidden: Array, size: int | None) -> Array:
    query = split_heads(linear(hidden, weights, f"{name}.q_proj", bias=config.query_bias), config.heads)
    key, value = (
        split_heads(linear(hidden, weights, f"{name}.{part}_proj", bias=config.query_bias), config.key_value_heads)
        for part in "kv"
    )
    if config.head_norm:
        query = rms_norm(query, weights, f"{name}.q_norm", config.rms_norm_eps)
        key = rms_norm(key, weights, f"{name}.k_norm", config.rms_norm_eps)
    mixed = attention_by_head(
        config.rope.rotate(query),
        config.rope.rotate(key),
        value,
        scale=1.0 / math.sqrt(query.shape[2]),
        visible=causal_window(len(hidden), size),
    )
    return linear(mixed, weights, f"{name}.o_proj", bias=config.output_bias)
