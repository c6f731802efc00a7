"""config.json and weights of the factory's models with rotary positions, in the keys of transformers 4 or 5.

Two families have repositories of their own making on the Hub. "new" is GTE as Alibaba wrote it; NomicBERT can have
nomic-ai's keys, which are those of GPT-2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .random_weights import RandomWeights, Tensors

_DECODERS = ("llama", "mistral", "qwen2", "qwen3", "gemma3_text")
# The base of the rotation, as the first models of each family have it.
_THETAS = {"nomic_bert": 1000.0, "gte": 160000.0, "new": 160000.0, "qwen2": 1e6, "qwen3": 1e6}
_EPS_KEYS = {"modernbert": "norm_eps", "nomic_bert": "layer_norm_eps", "gte": "layer_norm_eps", "new": "layer_norm_eps"}
_EPS = {"modernbert": 1e-5, "nomic_bert": 1e-12, "gte": 1e-12, "new": 1e-12}
_ACTIVATION_KEYS = {"modernbert": "hidden_activation", "gemma3_text": "hidden_activation"}
_ACTIVATIONS = {"modernbert": "gelu", "gte": "gelu", "new": "gelu", "gemma3_text": "gelu_pytorch_tanh"}
# The window counts so few tokens that the texts of the tests reach out of it.
_OWN: Mapping[str, Mapping[str, Any]] = {
    "modernbert": {"local_attention": 8, "attention_bias": False, "mlp_bias": False, "norm_bias": False},
    "nomic_bert": {},
    "gte": {},
    "new": {
        "layer_norm_type": "layer_norm",
        "position_embedding_type": "rope",
        "pack_qkv": True,
        "rope_scaling": None,
        "logn_attention_scale": False,
        "logn_attention_clip1": False,
        "unpad_inputs": False,
        "use_memory_efficient_attention": False,
    },
    "llama": {"attention_bias": False, "mlp_bias": False},
    "mistral": {"sliding_window": 6},
    "qwen2": {"use_sliding_window": False, "sliding_window": None, "max_window_layers": 1},
    "qwen3": {"use_sliding_window": False, "sliding_window": None, "max_window_layers": 1, "attention_bias": False},
    "gemma3_text": {
        "sliding_window": 6,
        "query_pre_attn_scalar": 16,
        "use_bidirectional_attention": True,
        "attention_bias": False,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
    },
}


def settings(
    shape: Mapping[str, Any], given: Mapping[str, Any], *, new_keys: bool, hub_keys: bool = False
) -> dict[str, Any]:
    """config.json of a family (`shape["model_type"]`), with transformers 5's `new_keys` or 4's, or nomic-ai's.

    `given` may have hidden_act, eps and type_vocab_size; the rest is the family's own, to lay others over.
    """
    family = shape["model_type"]
    result = {**shape, **_OWN[family]}
    result["pad_token_id"] = shape["pad_token_id"] or 0
    result[_ACTIVATION_KEYS.get(family, "hidden_act")] = given.get("hidden_act", _ACTIVATIONS.get(family, "silu"))
    result[_EPS_KEYS.get(family, "rms_norm_eps")] = given.get("eps", _EPS.get(family, 1e-6))
    if family in ("nomic_bert", "gte", "new"):
        result["type_vocab_size"] = given.get("type_vocab_size", 2 if family == "nomic_bert" else 1)
    if family in _DECODERS:
        result |= {"num_key_value_heads": shape["num_attention_heads"] // 2 or 1, "head_dim": 16}
    if family == "modernbert":
        result |= _layered("global_rope_theta", 160000.0, "local_rope_theta", new_keys)
        result |= {} if new_keys else {"global_attn_every_n_layers": 2}
    elif family == "gemma3_text":
        result |= _layered("rope_theta", 1e6, "rope_local_base_freq", new_keys)
        result |= {} if new_keys else {"sliding_window_pattern": 2}
    elif new_keys and family != "new":
        result["rope_parameters"] = {"rope_type": "default", "rope_theta": _THETAS.get(family, 10000.0)}
    else:
        result["rope_theta"] = _THETAS.get(family, 10000.0)
    if family in ("modernbert", "gemma3_text") and new_keys:
        kinds = ("full_attention", "sliding_attention")
        result["layer_types"] = [kinds[(i + 1) % 2] for i in range(shape["num_hidden_layers"])]
    return _nomic_keys(result) if hub_keys else result


# As in the config.json of nomic-ai/nomic-embed-text-v1.5.
_NOMIC_OWN: Mapping[str, Any] = {
    "activation_function": "swiglu",
    "causal": False,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "pad_vocab_size_multiple": 64,
    "parallel_block": False,
    "parallel_block_tied_norm": False,
    "prenorm": False,
    "qkv_proj_bias": False,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "use_flash_attn": True,
    "use_rms_norm": False,
}


def _nomic_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same model in nomic-ai's keys, the vocabulary already padded to the multiple that they ask for."""
    names = {
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "intermediate_size": "n_inner",
        "max_position_embeddings": "n_positions",
        "layer_norm_eps": "layer_norm_epsilon",
    }
    kept = {key: value for key, value in config.items() if key not in ("hidden_act", "rope_parameters", "rope_theta")}
    padded = {"vocab_size": -(-config["vocab_size"] // 64) * 64}
    return {**{names.get(key, key): value for key, value in kept.items()}, **_NOMIC_OWN, **padded}


def _layered(global_key: str, global_theta: float, local_key: str, new_keys: bool) -> dict[str, Any]:
    if not new_keys:
        return {global_key: global_theta, local_key: 10000.0}
    kinds = {"full_attention": global_theta, "sliding_attention": 10000.0}
    return {"rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in kinds.items()}}


def tensors(config: Mapping[str, Any], seed: int) -> Tensors:
    """The encoder's tensors under the names that the family's repositories have."""
    family = config["model_type"]
    random = RandomWeights(seed)
    if family == "modernbert":
        _modernbert(random, config)
    elif family == "nomic_bert":
        _nomic_bert(random, config)
    elif family in ("gte", "new"):
        _gte(random, config)
    else:
        _decoder(random, config)
    return random.tensors


def _modernbert(random: RandomWeights, config: Mapping[str, Any]) -> None:
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    inside, outside, norms = config["attention_bias"], config["mlp_bias"], config["norm_bias"]
    random.normal("embeddings.tok_embeddings.weight", (config["vocab_size"], hidden), 1.0)
    random.layer_norm("embeddings.norm", hidden, bias=norms)
    for layer in range(config["num_hidden_layers"]):
        name = f"layers.{layer}"
        if layer:
            random.layer_norm(f"{name}.attn_norm", hidden, bias=norms)
        random.linear(f"{name}.attn.Wqkv", hidden, 3 * hidden, bias=inside)
        random.linear(f"{name}.attn.Wo", hidden, hidden, bias=inside)
        random.layer_norm(f"{name}.mlp_norm", hidden, bias=norms)
        random.linear(f"{name}.mlp.Wi", hidden, 2 * wide, bias=outside)
        random.linear(f"{name}.mlp.Wo", wide, hidden, bias=outside)
    random.layer_norm("final_norm", hidden, bias=norms)


def _nomic_bert(random: RandomWeights, config: Mapping[str, Any]) -> None:
    hub = "n_embd" in config
    hidden = config["n_embd" if hub else "hidden_size"]
    wide = config["n_inner" if hub else "intermediate_size"]
    heads = config["n_head" if hub else "num_attention_heads"]
    inner = (config.get("head_dim") or hidden // heads) * heads
    gated = not hub or config["activation_function"] in ("swiglu", "geglu", "glu")
    inside = hub and config["qkv_proj_bias"]
    into, out = hub and config["mlp_fc1_bias"], hub and config["mlp_fc2_bias"]
    random.normal("embeddings.word_embeddings.weight", (config["vocab_size"], hidden), 1.0)
    if config["type_vocab_size"]:
        random.normal("embeddings.token_type_embeddings.weight", (config["type_vocab_size"], hidden), 0.5)
    if hub and config["rotary_emb_fraction"] == 0:
        random.normal("embeddings.position_embeddings.weight", (config["n_positions"], hidden), 0.5)
    random.layer_norm("emb_ln", hidden)
    for layer in range(config["n_layer" if hub else "num_hidden_layers"]):
        name = f"encoder.layers.{layer}"
        random.linear(f"{name}.attn.Wqkv", hidden, 3 * inner, bias=inside)
        random.linear(f"{name}.attn.out_proj", inner, hidden, bias=inside)
        for part in ("fc11", "fc12") if gated else ("fc1",):
            random.linear(f"{name}.mlp.{part}", hidden, wide, bias=into)
        random.linear(f"{name}.mlp.fc2", wide, hidden, bias=out)
        random.layer_norm(f"{name}.norm1", hidden)
        random.layer_norm(f"{name}.norm2", hidden)


def _gte(random: RandomWeights, config: Mapping[str, Any]) -> None:
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    inner = (config.get("head_dim") or hidden // config["num_attention_heads"]) * config["num_attention_heads"]
    norm = random.rms_norm if config.get("layer_norm_type") == "rms_norm" else random.layer_norm
    random.normal("embeddings.word_embeddings.weight", (config["vocab_size"], hidden), 1.0)
    if config["type_vocab_size"]:
        random.normal("embeddings.token_type_embeddings.weight", (config["type_vocab_size"], hidden), 0.5)
    if config.get("position_embedding_type") == "absolute":
        random.normal("embeddings.position_embeddings.weight", (config["max_position_embeddings"], hidden), 0.5)
    random.layer_norm("embeddings.LayerNorm", hidden)
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        if config.get("pack_qkv", True):
            random.linear(f"{name}.attention.qkv_proj", hidden, 3 * inner)
        else:
            for part in "qkv":
                random.linear(f"{name}.attention.{part}_proj", hidden, inner)
        random.linear(f"{name}.attention.o_proj", inner, hidden)
        random.linear(f"{name}.mlp.up_gate_proj", hidden, 2 * wide, bias=False)
        random.linear(f"{name}.mlp.down_proj", wide, hidden)
        norm(f"{name}.attn_ln", hidden)
        norm(f"{name}.mlp_ln", hidden)


def _decoder(random: RandomWeights, config: Mapping[str, Any]) -> None:
    family = config["model_type"]
    hidden, wide, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    size = config.get("head_dim") or hidden // heads
    key_value = size * (config.get("num_key_value_heads") or heads)
    own_bias = bool(config.get("attention_bias", False)) and family != "qwen2"
    feed_forward_bias = bool(config.get("mlp_bias", False)) and family == "llama"
    gemma = family == "gemma3_text"
    mean = 0.0 if gemma else 1.0
    norms = ["input_layernorm", "post_attention_layernorm"]
    norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"] if gemma else []
    random.normal("embed_tokens.weight", (config["vocab_size"], hidden), 0.3 if gemma else 1.0)
    for layer in range(config["num_hidden_layers"]):
        name = f"layers.{layer}"
        for part, outputs in (("q", size * heads), ("k", key_value), ("v", key_value)):
            random.linear(f"{name}.self_attn.{part}_proj", hidden, outputs, bias=own_bias or family == "qwen2")
        random.linear(f"{name}.self_attn.o_proj", size * heads, hidden, bias=own_bias)
        if family in ("qwen3", "gemma3_text"):
            random.rms_norm(f"{name}.self_attn.q_norm", size, mean=mean)
            random.rms_norm(f"{name}.self_attn.k_norm", size, mean=mean)
        random.linear(f"{name}.mlp.gate_proj", hidden, wide, bias=feed_forward_bias)
        random.linear(f"{name}.mlp.up_proj", hidden, wide, bias=feed_forward_bias)
        random.linear(f"{name}.mlp.down_proj", wide, hidden, bias=feed_forward_bias)
        for norm in norms:
            random.rms_norm(f"{name}.{norm}", hidden, mean=mean)
    random.rms_norm("norm", hidden, mean=mean)
