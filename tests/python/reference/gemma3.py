"""Gemma 3, the text model: models/gemma3/modeling_gemma3.py of transformers 5.23.

A decoder with four norms a layer, an RMSNorm over each head's query and key, embeddings times the root of their width,
and two kinds of layers, each with a rotation of its own. `attn_logit_softcapping` has no effect: `Gemma3Attention`
keeps it and hands it to no attention function (nor does its eager one get it), so neither does it here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .decoder import causal_window
from .layers import Array, Mask, attention_by_head, hidden_activation, linear, rms_norm, split_heads, window
from .rope import Rope, parameters_by_layer_type, rope
from .weights import Checkpoint

_THETAS = {"full_attention": ("rope_theta", 1_000_000.0), "sliding_attention": ("rope_local_base_freq", 10_000.0)}


@dataclass(frozen=True)
class Config:
    """What of config.json changes the vectors; the defaults are those of configuration_gemma3.py."""

    layer_types: Sequence[str]
    heads: int
    key_value_heads: int
    activation: str
    rms_norm_eps: float
    bias: bool
    scale: float
    window: int
    bidirectional: bool
    ropes: Mapping[str, Rope]

    @staticmethod
    def from_json(config: Mapping[str, Any]) -> Config:
        """Read config.json's keys, as transformers 4 and 5 write them.

        With `use_bidirectional_attention`, `sliding_window` counts both sides: it becomes `sliding_window // 2 + 1`,
        and a token sees those less than that many places away.
        """
        layers = config.get("num_hidden_layers", 26)
        pattern = config.get("sliding_window_pattern", 6)
        types = config.get("layer_types")
        if types is None:
            types = ["sliding_attention" if (i + 1) % pattern else "full_attention" for i in range(layers)]
        bidirectional = bool(config.get("use_bidirectional_attention", False))
        size = config.get("sliding_window", 4096)
        positions = config.get("max_position_embeddings", 131_072)
        kinds = parameters_by_layer_type(config, _THETAS, scaled=("full_attention",))
        head_size = config.get("head_dim", 256)
        return Config(
            layer_types=types[:layers],
            heads=config.get("num_attention_heads", 8),
            key_value_heads=config.get("num_key_value_heads", 4),
            activation=config.get("hidden_activation", "gelu_pytorch_tanh"),
            rms_norm_eps=config.get("rms_norm_eps", 1e-6),
            bias=config.get("attention_bias", False),
            scale=config.get("query_pre_attn_scalar", 256) ** -0.5,
            window=size // 2 + 1 if bidirectional else size,
            bidirectional=bidirectional,
            ropes={kind: rope(kinds[kind], head_size, positions) for kind in set(types)},
        )

    def visible(self, layer_type: str, tokens: int) -> Mask:
        """Which tokens each token sees in a layer of that type."""
        size = self.window if layer_type == "sliding_attention" else None
        if not self.bidirectional:
            return causal_window(tokens, size)
        reach = None if size is None else size - 1
        return window(tokens, causal=False, left=reach, right=reach)


def forward(config: Config, weights: Checkpoint, ids: Sequence[int]) -> Array:
    """`Gemma3TextModel`'s last_hidden_state, (tokens, hidden)."""
    activation = hidden_activation(config.activation)
    hidden = weights.rows("embed_tokens", np.asarray(ids, dtype=np.int64))
    hidden = hidden * hidden.dtype.type(np.float32(math.sqrt(hidden.shape[1])))  # a float32 buffer there

    def norm(x: Array, name: str) -> Array:
        return rms_norm(x, weights, name, config.rms_norm_eps, offset=1.0)

    for layer, layer_type in enumerate(config.layer_types):
        name = f"layers.{layer}"
        normed = norm(hidden, f"{name}.input_layernorm")
        query = split_heads(linear(normed, weights, f"{name}.self_attn.q_proj", bias=config.bias), config.heads)
        key, value = (
            split_heads(linear(normed, weights, f"{name}.self_attn.{x}_proj", bias=config.bias), config.key_value_heads)
            for x in "kv"
        )
        turn = config.ropes[layer_type].rotate
        mixed = attention_by_head(
            turn(norm(query, f"{name}.self_attn.q_norm")),
            turn(norm(key, f"{name}.self_attn.k_norm")),
            value,
            scale=config.scale,
            visible=config.visible(layer_type, len(hidden)),
        )
        mixed = linear(mixed, weights, f"{name}.self_attn.o_proj", bias=config.bias)
        hidden = hidden + norm(mixed, f"{name}.post_attention_layernorm")
        normed = norm(hidden, f"{name}.pre_feedforward_layernorm")
        wide = activation(linear(normed, weights, f"{name}.mlp.gate_proj", bias=False))
        wide = wide * linear(normed, weights, f"{name}.mlp.up_proj", bias=False)
        wide = linear(wide, weights, f"{name}.mlp.down_proj", bias=False)
        hidden = hidden + norm(wide, f"{name}.post_feedforward_layernorm")
    return norm(hidden, "norm")
