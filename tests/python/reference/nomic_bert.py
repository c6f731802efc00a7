"""NomicBERT: models/nomic_bert/modeling_nomic_bert.py of transformers 5.23; nomic-ai's modeling_hf_nomic_bert.py.

BERT with rotary positions and a gated feed-forward, normed after each half of a layer. The two read other keys of
config.json. transformers writes hidden_size and so on; nomic-ai's repositories have the keys of GPT-2 (n_embd, ...),
which transformers does not read: it would take the sizes of nomic-embed-text-v1.5 for any model. Which file it is shows
in `n_embd`, and there nomic-ai's code is followed. What that code has and its models do not use is an error here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .layers import (
    Activation,
    Array,
    attention_by_head,
    gelu,
    hidden_activation,
    layer_norm,
    linear,
    sigmoid,
    silu,
    split_heads,
)
from .rope import Rope, parameters, plain_frequencies, rope
from .weights import Checkpoint

_UNUSED = {
    "prenorm": False,  # its encoder returns the last feed-forward alone, without what it is to be added to
    "parallel_block": False,
    "parallel_block_tied_norm": False,
    "use_rms_norm": False,  # taken up by nomic-ai's training code, ignored by the code on the Hub
    "causal": False,  # likewise
    "rotary_emb_scale_base": None,
    "rotary_head_dim": False,
    "norm_mlp": False,
    "num_heads_kv": None,
    "num_experts": 0,
}
_GATES: Mapping[str, Activation] = {"swiglu": silu, "geglu": gelu, "glu": sigmoid}
# Without a gate its code takes `F.gelu`, the exact one, whichever of these names stands there.
_GELUS = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh")


@dataclass(frozen=True)
class Config:
    """What of config.json changes the vectors."""

    layers: int
    heads: int
    activation: Activation
    gated: bool
    layer_norm_eps: float
    type_vocab_size: int
    attention_bias: bool
    feed_forward_bias: tuple[bool, bool]  # of the first and of the last projection
    rope: Rope | None  # None: a table of positions

    @staticmethod
    def from_json(config: Mapping[str, Any]) -> Config:
        """Read config.json's keys; the defaults are those of configuration_nomic_bert.py and of GPT2Config."""
        if "n_embd" in config:
            return _from_hub(config)
        hidden, heads = config.get("hidden_size", 768), config.get("num_attention_heads", 12)
        positions = config.get("max_position_embeddings", 2048)
        return Config(
            layers=config.get("num_hidden_layers", 12),
            heads=heads,
            activation=hidden_activation(config.get("hidden_act", "silu")),
            gated=True,
            layer_norm_eps=config.get("layer_norm_eps", 1e-12),
            type_vocab_size=config.get("type_vocab_size", 2),
            attention_bias=False,
            feed_forward_bias=(False, False),
            rope=rope(parameters(config, 1000.0), config.get("head_dim") or hidden // heads, positions),
        )


def _from_hub(config: Mapping[str, Any]) -> Config:
    for key, value in _UNUSED.items():
        if (config.get(key) or None) != (value or None):
            raise ValueError(f"{key} {config[key]!r} is not in the reference")
    name = config.get("activation_function", "gelu_new")
    if name not in _GATES and name not in _GELUS:
        raise ValueError(f"activation_function {name!r}: one of {', '.join([*_GATES, *_GELUS])}")
    heads = config.get("n_head", 12)
    turned = config["n_embd"] // heads * config.get("rotary_emb_fraction", 0.0)
    turn = None
    if turned > 0:
        turn = Rope(
            plain_frequencies(config.get("rotary_emb_base", 10000), turned),
            limit=config.get("max_trained_positions", 2048) if config.get("rotary_scaling_factor") else None,
            interleaved=config.get("rotary_emb_interleaved", False),
        )
    return Config(
        layers=config.get("n_layer", 12),
        heads=heads,
        activation=_GATES.get(name, gelu),
        gated=name in _GATES,
        layer_norm_eps=config.get("layer_norm_epsilon", 1e-5),
        type_vocab_size=config.get("type_vocab_size", 2),
        attention_bias=config.get("qkv_proj_bias", True),
        feed_forward_bias=(config.get("mlp_fc1_bias", True), config.get("mlp_fc2_bias", True)),
        rope=turn,
    )


def forward(config: Config, weights: Checkpoint, ids: Sequence[int], type_ids: Sequence[int]) -> Array:
    """`NomicBertModel`'s last_hidden_state, (tokens, hidden)."""
    hidden = weights.rows("embeddings.word_embeddings", np.asarray(ids, dtype=np.int64))
    if config.type_vocab_size > 0:
        hidden = hidden + weights.rows("embeddings.token_type_embeddings", np.asarray(type_ids, dtype=np.int64))
    if config.rope is None:
        hidden = hidden + weights.rows("embeddings.position_embeddings", np.arange(len(ids), dtype=np.int64))
    hidden = layer_norm(hidden, weights, "emb_ln", config.layer_norm_eps)
    for layer in range(config.layers):
        name = f"encoder.layers.{layer}"
        fused = linear(hidden, weights, f"{name}.attn.Wqkv", bias=config.attention_bias)
        query, key, value = (split_heads(x, config.heads) for x in np.split(fused, 3, axis=-1))
        if config.rope is not None:
            query, key = config.rope.rotate(query), config.rope.rotate(key)
        mixed = attention_by_head(query, key, value, scale=1.0 / math.sqrt(query.shape[2]))
        mixed = linear(mixed, weights, f"{name}.attn.out_proj", bias=config.attention_bias) + hidden
        hidden = layer_norm(mixed, weights, f"{name}.norm1", config.layer_norm_eps)
        wide = _feed_forward(config, weights, f"{name}.mlp", hidden) + hidden
        hidden = layer_norm(wide, weights, f"{name}.norm2", config.layer_norm_eps)
    return hidden


def _feed_forward(config: Config, weights: Checkpoint, name: str, hidden: Array) -> Array:
    into, out = config.feed_forward_bias
    if config.gated:
        wide = linear(hidden, weights, f"{name}.fc11", bias=into)
        wide = wide * config.activation(linear(hidden, weights, f"{name}.fc12", bias=into))
    else:
        wide = config.activation(linear(hidden, weights, f"{name}.fc1", bias=into))
    return linear(wide, weights, f"{name}.fc2", bias=out)
