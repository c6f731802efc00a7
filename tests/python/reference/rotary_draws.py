"""Hypothesis strategies: models of the rotary families with settings drawn at random, as arguments of `make_model`.

Widths are such that no single rounding decides over a whole vector, and depths such that it does not grow.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from .factory import ROTARY_FAMILIES, Family
from .postprocess import POOLING_MODES

_PREFIXES = {
    "modernbert": "model.",
    "nomic_bert": "nomic_bert.",
    "gte": "gte.",
    "new": "new.",
}
_THETAS = st.sampled_from([50.0, 1000.0, 10000.0, 160000.0, 1e6])
_KINDS = ("full_attention", "sliding_attention")


@st.composite
def _scalings(draw: st.DrawFn) -> dict[str, Any]:
    """A kind of rope without its base; most models have the default."""
    factor = draw(st.sampled_from([1.5, 4.0, 8.0]))
    yarn: dict[str, Any] = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": 32}
    llama3: dict[str, Any] = {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": draw(st.sampled_from([2.0, 4.0])),
        "original_max_position_embeddings": draw(st.sampled_from([16, 64])),
    }
    kinds: list[dict[str, Any]] = [
        {"rope_type": "linear", "factor": factor},
        {"rope_type": "dynamic", "factor": factor},
        yarn,
        yarn | {"attention_factor": 1.5},
        yarn | {"beta_fast": 8, "beta_slow": 2},
        llama3,
    ]
    return draw(st.just({"rope_type": "default"}) | st.sampled_from(kinds))


@st.composite
def _rope(draw: st.DrawFn, family: Family, new_keys: bool) -> dict[str, Any]:
    """The keys of config.json about positions."""
    theta, scaling = draw(_THETAS), draw(_scalings())
    plain = scaling == {"rope_type": "default"}
    if family == "new":
        ntk = {"type": "ntk", "factor": draw(st.sampled_from([1, 2.0, 8.0]))}
        return {"rope_theta": theta, "rope_scaling": draw(st.none() | st.just(ntk))}
    if family in ("modernbert", "gemma3_text"):
        if new_keys:
            local = {"rope_type": "default", "rope_theta": draw(_THETAS)}
            return {"rope_parameters": dict(zip(_KINDS, ({**scaling, "rope_theta": theta}, local), strict=True))}
        keys = ("rope_theta", "rope_local_base_freq")
        keys = ("global_rope_theta", "local_rope_theta") if family == "modernbert" else keys
        return dict(zip(keys, (theta, draw(_THETAS)), strict=True)) | ({} if plain else {"rope_scaling": scaling})
    if new_keys:
        return {"rope_parameters": {**scaling, "rope_theta": theta}}
    renamed = {"type" if key == "rope_type" else key: value for key, value in scaling.items()}
    return {"rope_theta": theta, "rope_scaling": None if plain else draw(st.sampled_from([scaling, renamed]))}


@st.composite
def _layers(draw: st.DrawFn, family: Family, layers: int, new_keys: bool) -> dict[str, Any]:
    """The keys of config.json about windows and which layers have them."""
    size = draw(st.integers(1, 12))
    types = draw(st.lists(st.sampled_from(_KINDS), min_size=layers, max_size=layers))
    if family == "modernbert":
        own: dict[str, Any] = {"local_attention": size}
        return own | ({"layer_types": types} if new_keys else {"global_attn_every_n_layers": draw(st.integers(1, 3))})
    if family == "gemma3_text":
        own = {"sliding_window": size, "use_bidirectional_attention": draw(st.booleans())}
        return own | ({"layer_types": types} if new_keys else {"sliding_window_pattern": draw(st.integers(1, 3))})
    if family == "mistral":
        return {"sliding_window": draw(st.none() | st.just(size))}
    if family in ("qwen2", "qwen3"):
        used = draw(st.booleans())
        own = {"sliding_window": size, "use_sliding_window": used, "max_window_layers": draw(st.integers(0, layers))}
        return own | ({"layer_types": types} if new_keys and used else {})
    return {}


@st.composite
def _heads(draw: st.DrawFn, family: Family, heads: int) -> tuple[int, dict[str, Any]]:
    """The hidden size, and the keys of config.json about heads and biases."""
    hidden = heads * 2 * draw(st.integers(-(-16 // heads), 16))
    booleans = {
        "modernbert": ("attention_bias", "mlp_bias", "norm_bias"),
        "llama": ("attention_bias", "mlp_bias"),
        "qwen3": ("attention_bias",),
        "gemma3_text": ("attention_bias",),
    }
    own: dict[str, Any] = {key: draw(st.booleans()) for key in booleans.get(family, ())}
    if family in ("modernbert", "new"):
        return hidden, own
    size = 2 * draw(st.integers(4, 12))
    if family in ("nomic_bert", "gte"):
        return hidden, own | ({"head_dim": size} if draw(st.booleans()) else {})
    divisors = [number for number in range(1, heads + 1) if heads % number == 0]
    own |= {"num_key_value_heads": draw(st.sampled_from(divisors)), "head_dim": size}
    if family == "gemma3_text":
        own["query_pre_attn_scalar"] = draw(st.integers(8, 40))
    return hidden, own


@st.composite
def rotary_models(draw: st.DrawFn) -> tuple[Family, dict[str, Any]]:
    """A family and the arguments of `make_model`."""
    family = draw(st.sampled_from(ROTARY_FAMILIES))
    form = draw(st.sampled_from(["old", "v6"]))
    heads = draw(st.integers(1, 6))
    layers = draw(st.integers(1, 2 if family in ("nomic_bert", "gte", "new") else 3))
    hidden, config = draw(_heads(family, heads))
    config |= draw(_layers(family, layers, form == "v6")) | draw(_rope(family, form == "v6"))
    modes = draw(st.lists(st.sampled_from(POOLING_MODES), min_size=1, max_size=3, unique=True))
    model: dict[str, Any] = {
        "seed": draw(st.integers(0, 2**31)),
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "intermediate_size": draw(st.integers(32, 96)),
        "hidden_act": draw(st.sampled_from([None, "gelu", "gelu_new", "gelu_pytorch_tanh", "silu", "relu"])),
        "layer_norm_eps": draw(st.sampled_from([None, 1e-6, 1e-5, 1e-2])),
        "pooling": modes if form == "v6" else [mode for mode in POOLING_MODES if mode in modes],
        "include_prompt": draw(st.booleans()),
        "normalize": draw(st.booleans()),
        "dtype": draw(st.sampled_from(["float32", "float16", "bfloat16"])),
        "prefix": draw(st.sampled_from(["", _PREFIXES.get(family, "model.")])),
        "shards": draw(st.integers(1, 3)),
        "max_seq_length": draw(st.integers(3, 90)),
        "modules_form": form,
        "config": config,
    }
    if family in ("nomic_bert", "gte", "new"):
        model["type_vocab_size"] = draw(st.integers(1 if family == "nomic_bert" else 0, 3))
    if family == "nomic_bert" and draw(st.booleans()):
        hub = {"rotary_emb_base": draw(_THETAS)}
        hub |= {key: draw(st.booleans()) for key in ("qkv_proj_bias", "mlp_fc1_bias", "mlp_fc2_bias")}
        model |= {"hub_keys": True, "prefix": "", "hidden_act": None, "config": hub}
    return family, model
