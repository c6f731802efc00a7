"""Names and shapes of the tensors in a checkpoint, from its config.json."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Shape: TypeAlias = tuple[int, ...]
Shapes: TypeAlias = dict[str, Shape]
Config: TypeAlias = Mapping[str, Any]

# Tables of which a text uses a few rows.
TABLES = ("word_embeddings.weight", "tok_embeddings.weight", "embed_tokens.weight", "position_embeddings.weight")


def _linear(shapes: Shapes, name: str, inputs: int, outputs: int, *, bias: bool = True) -> None:
    shapes[f"{name}.weight"] = (outputs, inputs)
    if bias:
        shapes[f"{name}.bias"] = (outputs,)


def _layer_norm(shapes: Shapes, name: str, size: int) -> None:
    shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (size,)


def _bert(config: Config) -> Shapes:
    """BERT and XLM-RoBERTa, with the pooler that nothing uses and the buffer that transformers 4 saved."""
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    shapes: Shapes = {
        "embeddings.position_ids": (1, config["max_position_embeddings"]),
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
    }
    mpnet = config["model_type"] == "mpnet"
    if mpnet:
        buckets = (config["relative_attention_num_buckets"], config["num_attention_heads"])
        shapes["encoder.relative_attention_bias.weight"] = buckets
    else:
        shapes["embeddings.token_type_embeddings.weight"] = (config["type_vocab_size"], hidden)
    _layer_norm(shapes, "embeddings.LayerNorm", hidden)
    parts = (
        ("attn.q", "attn.k", "attn.v", "attn.o") if mpnet else ("self.query", "self.key", "self.value", "output.dense")
    )
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        for part in parts:
            _linear(shapes, f"{name}.attention.{part}", hidden, hidden)
        _layer_norm(shapes, f"{name}.attention.{'' if mpnet else 'output.'}LayerNorm", hidden)
        _linear(shapes, f"{name}.intermediate.dense", hidden, wide)
        _linear(shapes, f"{name}.output.dense", wide, hidden)
        _layer_norm(shapes, f"{name}.output.LayerNorm", hidden)
    _linear(shapes, "pooler.dense", hidden, hidden)
    return shapes


def _modernbert(config: Config) -> Shapes:
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    shapes: Shapes = {
        "embeddings.tok_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.norm.weight": (hidden,),
        "final_norm.weight": (hidden,),
    }
    for layer in range(config["num_hidden_layers"]):
        name = f"layers.{layer}"
        if layer:
            shapes[f"{name}.attn_norm.weight"] = (hidden,)
        _linear(shapes, f"{name}.attn.Wqkv", hidden, 3 * hidden, bias=False)
        _linear(shapes, f"{name}.attn.Wo", hidden, hidden, bias=False)
        shapes[f"{name}.mlp_norm.weight"] = (hidden,)
        _linear(shapes, f"{name}.mlp.Wi", hidden, 2 * wide, bias=False)
        _linear(shapes, f"{name}.mlp.Wo", wide, hidden, bias=False)
    return shapes


def _nomic_bert(config: Config) -> Shapes:
    hidden, wide = config["n_embd"], config["n_inner"]
    shapes: Shapes = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
    }
    _layer_norm(shapes, "emb_ln", hidden)
    for layer in range(config["n_layer"]):
        name = f"encoder.layers.{layer}"
        _linear(shapes, f"{name}.attn.Wqkv", hidden, 3 * hidden, bias=config["qkv_proj_bias"])
        _linear(shapes, f"{name}.attn.out_proj", hidden, hidden, bias=config["qkv_proj_bias"])
        for part in ("fc11", "fc12"):
            _linear(shapes, f"{name}.mlp.{part}", hidden, wide, bias=config["mlp_fc1_bias"])
        _linear(shapes, f"{name}.mlp.fc2", wide, hidden, bias=config["mlp_fc2_bias"])
        _layer_norm(shapes, f"{name}.norm1", hidden)
        _layer_norm(shapes, f"{name}.norm2", hidden)
    return shapes


def _gte(config: Config) -> Shapes:
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    shapes: Shapes = {"embeddings.word_embeddings.weight": (config["vocab_size"], hidden)}
    if config["type_vocab_size"]:
        shapes["embeddings.token_type_embeddings.weight"] = (config["type_vocab_size"], hidden)
    _layer_norm(shapes, "embeddings.LayerNorm", hidden)
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        _linear(shapes, f"{name}.attention.qkv_proj", hidden, 3 * hidden)
        _linear(shapes, f"{name}.attention.o_proj", hidden, hidden)
        _layer_norm(shapes, f"{name}.attn_ln", hidden)
        _linear(shapes, f"{name}.mlp.up_gate_proj", hidden, 2 * wide, bias=False)
        _linear(shapes, f"{name}.mlp.down_proj", wide, hidden)
        _layer_norm(shapes, f"{name}.mlp_ln", hidden)
    return shapes


def _decoder(config: Config) -> Shapes:
    """Qwen3 and Gemma 3, which has two more norms a layer."""
    hidden, wide, size = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    heads, shared = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    norms = ["input_layernorm", "post_attention_layernorm"]
    if config["model_type"] == "gemma3_text":
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    shapes: Shapes = {"embed_tokens.weight": (config["vocab_size"], hidden), "norm.weight": (hidden,)}
    for layer in range(config["num_hidden_layers"]):
        name = f"layers.{layer}"
        for norm in norms:
            shapes[f"{name}.{norm}.weight"] = (hidden,)
        for norm in ("q_norm", "k_norm"):
            shapes[f"{name}.self_attn.{norm}.weight"] = (size,)
        for part, outputs in (("q", heads), ("k", shared), ("v", shared)):
            _linear(shapes, f"{name}.self_attn.{part}_proj", hidden, outputs, bias=False)
        _linear(shapes, f"{name}.self_attn.o_proj", heads, hidden, bias=False)
        for part in ("gate", "up"):
            _linear(shapes, f"{name}.mlp.{part}_proj", hidden, wide, bias=False)
        _linear(shapes, f"{name}.mlp.down_proj", wide, hidden, bias=False)
    return shapes


_FAMILIES: Mapping[str, Callable[[Config], Shapes]] = {
    "bert": _bert,
    "xlm-roberta": _bert,
    "mpnet": _bert,
    "modernbert": _modernbert,
    "nomic_bert": _nomic_bert,
    "new": _gte,
    "gte": _gte,
    "qwen3": _decoder,
    "gemma3_text": _decoder,
}


def shapes_of(config: Config) -> Shapes:
    """The tensors that a checkpoint of this config.json holds."""
    return _FAMILIES[config["model_type"]](config)


def dense_shapes(config: Config) -> Shapes:
    """Those of a Dense module."""
    shapes: Shapes = {}
    _linear(shapes, "linear", config["in_features"], config["out_features"], bias=config["bias"])
    return shapes


def count(shapes: Shapes) -> int:
    """How many numbers are learned: all but the buffer of positions."""
    return sum(math.prod(shape) for name, shape in shapes.items() if not name.endswith("position_ids"))
