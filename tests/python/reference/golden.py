"""Factory models whose vectors the real sentence-transformers computed: `golden_factory.npz`, one array a case.

The fixtures under tests/fixtures are plain models. These cases hold the reference to the real library in what those do
not use: other activations and poolings, Dense, prompts left out of the pooling, tokenizer classes, prefixes, old names.

To compute the arrays again, where sentence-transformers is installed, from tests/python: `python -m reference.golden`.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .factory import Family, make_model
from .layers import Array
from .postprocess import POOLING_MODES

GOLDEN = Path(__file__).resolve().parent / "golden_factory.npz"

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
    """A factory model, and how its texts are encoded."""

    family: Family
    model: Mapping[str, Any] = field(default_factory=dict)
    prompt: str | None = None
    prompt_name: str | None = None

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


def load() -> dict[str, Array]:
    """The arrays of golden_factory.npz."""
    with np.load(GOLDEN) as stored:
        return {name: stored[name] for name in stored.files}


def compute() -> dict[str, Array]:
    """Every case by the installed sentence-transformers, in float64, all texts in one padded batch."""
    library = importlib.import_module("sentence_transformers")
    arrays = {}
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = case.make(Path(folder) / "model")
            model = library.SentenceTransformer(str(path), device="cpu", model_kwargs={"dtype": "float64"})
            arrays[name] = model.encode(TEXTS, prompt=case.prompt, prompt_name=case.prompt_name)
    return arrays


if __name__ == "__main__":
    np.savez_compressed(GOLDEN, **compute())  # type: ignore[arg-type]
