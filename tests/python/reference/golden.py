"""Factory models whose vectors the real sentence-transformers computed: one array a case.

The fixtures under tests/fixtures are plain models. These cases hold the reference to the real library in what those do
not use. `golden_factory.npz`, the families of BERT: other activations and poolings, Dense, prompts left out of the
pooling, tokenizer classes, prefixes, old names. `golden_rotary.npz`, the families with rotary positions: biases, kinds
of layers, windows, key-value heads, kinds of rope, the keys of transformers 4 and 5, prefixes and shards.
`golden_hub.npz`: models that only code of their own on the Hub reads.

To compute the arrays again, where sentence-transformers is installed, from tests/python: `python -m reference.golden`.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .factory import Family, make_model
from .layers import Array
from .postprocess import POOLING_MODES

FOLDER = Path(__file__).resolve().parent

# `<pad>` and `[PAD]` are the padding tokens, spelled out; the last text is longer than every max_seq_length below.
TEXTS = [
    "Hello, world!",
    "",
    "  Spaces around, CAPITALS and naïve ÀCCENTS  ",
    "before <pad> between [PAD] after [SEP] and </s> <mask>",
    "Java bytecode manipulation library 日本語 🙂",
    "a long text that goes on and on " * 40,
]


@dataclass(frozen=True)
class Case:
    """A factory model, and how its texts are encoded.

    `alone`: in the library, the longest text of a batch decides for all of it (longrope), so each goes by itself.
    """

    family: Family
    model: Mapping[str, Any] = field(default_factory=dict)
    prompt: str | None = None
    prompt_name: str | None = None
    alone: bool = False

    def make(self, folder: Path) -> Path:
        """Write the model."""
        return make_model(folder, self.family, **{"seed": 11, **self.model})


_EVERY_MODE = {"pooling": POOLING_MODES, "normalize": False}
_EVERY_MODE_FAMILIES: tuple[Family, ...] = ("bert", "distilbert", "mpnet")
_ACTIVATIONS = ("gelu_new", "gelu_fast", "quick_gelu", "relu", "silu", "tanh", "sigmoid", "gelu_10")

CASES: Mapping[str, Case] = {
    "bert": Case("bert"),
    "roberta": Case("roberta"),
    "xlm-roberta": Case("xlm-roberta"),
    "distilbert": Case("distilbert", {"hidden_act": "relu"}),
    "mpnet": Case("mpnet", {"max_seq_length": 256}),
    "mpnet_buckets": Case("mpnet", {"relative_attention_num_buckets": 48, "pad_token_id": 3}),
    "shape": Case(
        "bert", {"hidden_size": 72, "num_attention_heads": 6, "intermediate_size": 40, "num_hidden_layers": 3}
    ),
    "layer_norm_eps": Case("roberta", {"layer_norm_eps": 0.1, "type_vocab_size": 3}),
    "pad_token_id": Case("roberta", {"pad_token_id": 5}),
    "decoder": Case("bert", {"config": {"is_decoder": True}}),
    **{f"act_{name}": Case("bert", {"hidden_act": name, "num_hidden_layers": 1}) for name in _ACTIVATIONS},
    **{f"poolings_{family}": Case(family, _EVERY_MODE) for family in _EVERY_MODE_FAMILIES},
    "poolings_prompt": Case("bert", _EVERY_MODE, prompt="query: "),
    "poolings_no_prompt": Case("bert", {**_EVERY_MODE, "include_prompt": False}, prompt="query: "),
    "poolings_no_prompt_roberta": Case("roberta", {**_EVERY_MODE, "include_prompt": False}, prompt="query: "),
    "poolings_no_prompt_long": Case("bert", {**_EVERY_MODE, "include_prompt": False}, prompt="very long " * 50),
    "no_prompt_default": Case(
        "mpnet", {"include_prompt": False, "prompts": {"it": "Instruct: find\nQuery: "}, "default_prompt_name": "it"}
    ),
    "order": Case("bert", {"pooling": ["lasttoken", "mean", "cls"], "modules_form": "v6", "normalize": False}),
    "dense": Case(
        "bert",
        {"pooling": ["cls", "mean"], "dense": [(40, True, None), (32, False, "GELU"), (24, True, "Identity")]},
    ),
    "dense_v6": Case(
        "distilbert", {"dense": [(64, True, "ReLU"), (20, True, "SiLU")], "modules_form": "v6", "normalize": False}
    ),
    "dense_sigmoid": Case("roberta", {"dense": [(64, False, "Sigmoid"), (20, True, "Tanh")], "normalize": False}),
    "float16": Case("roberta", {"dtype": "float16", "prefix": "roberta."}),
    "bfloat16": Case("bert", {"dtype": "bfloat16", "prefix": "bert.", "tensorflow_names": True}),
    "shards": Case("mpnet", {"shards": 3, "prefix": "mpnet."}),
    "prompt_name": Case("xlm-roberta", {"prompts": {"passage": "passage: "}}, prompt_name="passage"),
    "no_length": Case("bert", {"max_seq_length": None, "max_position_embeddings": 40}),
    "v6_length": Case("mpnet", {"max_seq_length": 20, "max_position_embeddings": 66, "modules_form": "v6"}),
    "lower_case": Case("roberta", {"do_lower_case": True}),
    "bert_class_cased": Case(
        "bert", {"tokenizer_config": {"tokenizer_class": "BertTokenizer", "do_lower_case": False}}
    ),
    "bert_class_accents": Case(
        "bert", {"tokenizer_config": {"tokenizer_class": "BertTokenizerFast", "strip_accents": False}}
    ),
    "roberta_class_prefix_space": Case(
        "roberta", {"tokenizer_config": {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True}}
    ),
    "left_truncation": Case("bert", {"tokenizer_config": {"truncation_side": "left"}}),
}


_KINDS = ("full_attention", "sliding_attention")
_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0 + 0.1 * i for i in range(8)],
    "long_factor": [2.0 + 0.5 * i for i in range(8)],
    "original_max_position_embeddings": 32,
}
_EVERY_NEW_MODE = {"pooling": POOLING_MODES, "normalize": False, "modules_form": "v6"}


def _rope(**parameters: Any) -> dict[str, Any]:
    """A model of transformers 5 with such rope_parameters."""
    return {"modules_form": "v6", "config": {"rope_parameters": {"rope_theta": 10000.0, **parameters}}}


def _config(**config: Any) -> dict[str, Any]:
    """A model of transformers 4 with config.json changed."""
    return {"config": config}


_Models: TypeAlias = Mapping[str, Mapping[str, Any]]

_MODERNBERT: _Models = {
    "v4": {},
    "v5": {"modules_form": "v6"},
    "biases": _config(attention_bias=True, mlp_bias=True, norm_bias=True),
    "every_third_global": {"num_hidden_layers": 4, **_config(global_attn_every_n_layers=3)},
    "odd_window": {"num_attention_heads": 2, **_config(local_attention=5, local_rope_theta=100.0)},
    "local_only": {"modules_form": "v6", "config": {"layer_types": ["sliding_attention"] * 2}},
    "linear_rope": {
        "modules_form": "v6",
        "config": {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            }
        },
    },
    "yarn_v4": _config(rope_scaling=_YARN),
    "silu": {"hidden_act": "silu", "layer_norm_eps": 1e-2, "prefix": "model.", "dtype": "bfloat16", "shards": 2},
    "poolings": _EVERY_NEW_MODE,
}
_NOMIC_BERT: _Models = {
    "v5": {"modules_form": "v6"},
    "theta": _config(rope_theta=50.0),
    "gelu": {"hidden_act": "gelu_new", "layer_norm_eps": 1e-2, "type_vocab_size": 4},
    "head_dim": {"num_attention_heads": 3, **_config(head_dim=20)},
    "linear_v4": _config(rope_scaling={"type": "linear", "factor": 2.0}),
    "yarn": _rope(**_YARN),
    "float16": {"dtype": "float16", "prefix": "nomic_bert.", "shards": 3},
    "poolings": _EVERY_NEW_MODE,
}
_GTE: _Models = {
    "v5": {"modules_form": "v6"},
    "no_types": {"type_vocab_size": 0, "prefix": "new."},
    "types": {"type_vocab_size": 3, "hidden_act": "relu", "layer_norm_eps": 1e-2},
    "heads": {"num_attention_heads": 6, "hidden_size": 72, **_config(rope_theta=500.0)},
    "dynamic": _rope(rope_type="dynamic", factor=2.0),
    "bfloat16": {"dtype": "bfloat16", "prefix": "gte.", "shards": 2},
    "poolings": _EVERY_NEW_MODE,
}
_LLAMA: _Models = {
    "v4": {"pooling": "lasttoken"},
    "biases": _config(attention_bias=True, mlp_bias=True),
    "all_key_values": _config(num_key_value_heads=None, head_dim=None),
    "llama3": _rope(**_LLAMA3),
    "llama3_v4": _config(rope_scaling=_LLAMA3),
    "proportional": _rope(rope_type="proportional", partial_rotary_factor=0.5),
    "partial_is_ignored": _config(partial_rotary_factor=0.5),
    "eps": {"layer_norm_eps": 1e-2, "hidden_act": "gelu", "prefix": "model.", "shards": 3, "dtype": "bfloat16"},
    "bos": {"tokenizer": "gemma3-mean-dense", "pooling": "lasttoken", "modules_form": "v6"},
}
_MISTRAL: _Models = {
    "v4": {"pooling": "lasttoken"},
    "no_window": {"modules_form": "v6", "config": {"sliding_window": None}},
    "window_of_one": _config(sliding_window=1),
    "one_key_value_head": {"num_attention_heads": 6, **_config(num_key_value_heads=1, head_dim=20)},
    "linear_v4": _config(rope_scaling={"type": "linear", "factor": 3.0}),
    "yarn_untruncated": _rope(**_YARN, truncate=False, beta_fast=16, beta_slow=2),
    "prompt": {"tokenizer": "gemma3-mean-dense", "include_prompt": False, "pooling": "weightedmean"},
}
_QWEN2: _Models = {
    "v5": {"pooling": "lasttoken", "modules_form": "v6"},
    "three_key_value_heads": {"num_attention_heads": 6, **_config(num_key_value_heads=3)},
    "window": {"num_hidden_layers": 3, **_config(use_sliding_window=True, sliding_window=5)},
    "window_not_in_use": _config(use_sliding_window=False, sliding_window=3),
    "yarn_mscale": _rope(**_YARN, mscale=2.0, mscale_all_dim=0.5),
    "longrope": _rope(**_LONGROPE),
    "quotient_head": {"hidden_size": 64, **_config(head_dim=None)},
    "prefix": {"prefix": "model.", "dtype": "float16", "shards": 2},
}
_QWEN3: _Models = {
    "v5": {"pooling": "lasttoken", "modules_form": "v6"},
    "bias": _config(attention_bias=True),
    "one_key_value_head": {"num_attention_heads": 6, **_config(num_key_value_heads=1, head_dim=10)},
    "all_key_value_heads": {"num_attention_heads": 3, **_config(num_key_value_heads=3, head_dim=32)},
    "layer_types": {
        "modules_form": "v6",
        "config": {"use_sliding_window": True, "sliding_window": 3, "layer_types": _KINDS[::-1]},
    },
    "yarn_factor": _rope(**_YARN, attention_factor=1.5),
    "longrope_factor": _rope(**_LONGROPE, factor=3.0),
    "eps": {"layer_norm_eps": 1e-2, "hidden_act": "gelu_pytorch_tanh", "prefix": "model.", "shards": 2},
    "long": {"max_seq_length": 300, "dtype": "bfloat16"},
    "prompt": {"include_prompt": False, "pooling": "mean"},
    "poolings": _EVERY_NEW_MODE,
}
_GEMMA3: _Models = {
    "v4": {},
    "v5": {"modules_form": "v6"},
    "causal": {"pooling": "lasttoken", **_config(use_bidirectional_attention=False)},
    "odd_window": _config(sliding_window=9),
    "window_of_one": _config(sliding_window=1),
    "causal_window_of_one": {"pooling": "lasttoken", **_config(sliding_window=1, use_bidirectional_attention=False)},
    "softcap_is_ignored": _config(attn_logit_softcapping=0.5),
    "bias": _config(attention_bias=True),
    "query_scalar": _config(query_pre_attn_scalar=100, head_dim=20, num_key_value_heads=4),
    "pattern": {"num_hidden_layers": 3, **_config(sliding_window_pattern=3)},
    "linear_v4": _config(rope_scaling={"rope_type": "linear", "factor": 8.0}),
    "yarn": {
        "modules_form": "v6",
        "config": {
            "rope_parameters": {
                "full_attention": {**_YARN, "rope_theta": 1000.0, "truncate": False},
                "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            }
        },
    },
    "dense": {
        "dense": [(64, False, "Identity"), (48, False, "Identity")],
        "layer_norm_eps": 1e-2,
        "hidden_act": "gelu",
        "prefix": "model.",
        "shards": 3,
        "dtype": "bfloat16",
    },
    "poolings": _EVERY_NEW_MODE,
}
_ROTARY: Mapping[Family, _Models] = {
    "modernbert": _MODERNBERT,
    "nomic_bert": _NOMIC_BERT,
    "gte": _GTE,
    "llama": _LLAMA,
    "mistral": _MISTRAL,
    "qwen2": _QWEN2,
    "qwen3": _QWEN3,
    "gemma3_text": _GEMMA3,
}
ROTARY_CASES: Mapping[str, Case] = {
    f"{family}_{name}": Case(
        family,
        model,
        prompt="Instruct: find the text\nQuery: " if name == "prompt" else None,
        alone=name.startswith("longrope"),
    )
    for family, models in _ROTARY.items()
    for name, model in models.items()
}

_HUB = {"hub_keys": True, "intermediate_size": 256}  # nomic-ai's code rounds the width up to a multiple of 256
_NOMIC_HUB: _Models = {
    "plain": {},
    "biases": _config(qkv_proj_bias=True, mlp_fc1_bias=True, mlp_fc2_bias=True),
    "first_bias": _config(mlp_fc1_bias=True, rotary_emb_base=50),
    "no_types": {"type_vocab_size": 0, "layer_norm_eps": 1e-2},
    "within_the_trained_length": _config(rotary_scaling_factor=2),
    "geglu": _config(activation_function="geglu"),
    "glu": _config(activation_function="glu"),
    "gelu": _config(activation_function="gelu", mlp_fc2_bias=True),
    "gelu_new_is_gelu": _config(activation_function="gelu_new"),
    "part": _config(rotary_emb_fraction=0.5),
    "interleaved": _config(rotary_emb_interleaved=True),
    "positions": _config(rotary_emb_fraction=0.0),
}
_NEW: _Models = {
    "plain": {},
    "ntk": _config(rope_scaling={"type": "ntk", "factor": 2.0}),
    "ntk_8": _config(rope_scaling={"type": "ntk", "factor": 8.0}, rope_theta=20000),
    "ntk_1": _config(rope_scaling={"type": "ntk", "factor": 1}),
    "ntk_mixed": _config(rope_scaling={"type": "ntk", "factor": 4.0, "mixed_b": 0.6}),
    "no_types": {"type_vocab_size": 0, "prefix": "new.", "dtype": "float16"},
    "types": {"type_vocab_size": 2, "hidden_act": "silu", "layer_norm_eps": 1e-2},
    "unpacked": _config(pack_qkv=False),
    "rms_norm": _config(layer_norm_type="rms_norm"),
    "logn": _config(logn_attention_scale=True),
    "logn_clip": {"max_position_embeddings": 20, **_config(logn_attention_scale=True, logn_attention_clip1=True)},
    "positions": _config(position_embedding_type="absolute"),
}
# Folders that no class of transformers 5.23 reads as they are meant. Their vectors are those of the code beside them on
# the Hub, modeling_hf_nomic_bert.py of nomic-ai/contrastors and modeling.py of Alibaba-NLP/new-impl, run by torch in
# float64 on one text after the other, with the mean over the tokens at unit length.
HUB_CASES: Mapping[str, Case] = {
    **{f"nomic_{name}": Case("nomic_bert", {**_HUB, **model}) for name, model in _NOMIC_HUB.items()},
    **{f"new_{name}": Case("new", model) for name, model in _NEW.items()},
}

# What `compute` can make again.
FILES: Mapping[str, Mapping[str, Case]] = {"golden_factory.npz": CASES, "golden_rotary.npz": ROTARY_CASES}


def load(file: str = "golden_factory.npz") -> dict[str, Array]:
    """The arrays of one of `FILES`, or of golden_hub.npz."""
    with np.load(FOLDER / file) as stored:
        return {name: stored[name] for name in stored.files}


def compute(cases: Mapping[str, Case]) -> dict[str, Array]:
    """Every case by the installed sentence-transformers, in float64, all texts in one padded batch or each alone."""
    library = importlib.import_module("sentence_transformers")
    arrays = {}
    for name, case in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            path = case.make(Path(folder) / "model")
            model = library.SentenceTransformer(str(path), device="cpu", model_kwargs={"dtype": "float64"})
            size = 1 if case.alone else len(TEXTS)
            arrays[name] = model.encode(TEXTS, prompt=case.prompt, prompt_name=case.prompt_name, batch_size=size)
    return arrays


if __name__ == "__main__":
    for file, cases in FILES.items():
        np.savez_compressed(FOLDER / file, **compute(cases))  # type: ignore[arg-type]
