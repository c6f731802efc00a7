"""`SentenceTransformer(folder).encode(texts)`: a model folder from its files to its vectors.

Sources, sentence-transformers 6.2: base/model.py (modules.json, prompts), sentence_transformer/model.py (`encode`,
`encode_query`, `encode_document`), base/modules/transformer.py (sentence_bert_config.json).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import bert, decoder, distilbert, gemma3, gte, modernbert, mpnet, nomic_bert
from .layers import Array
from .postprocess import Dense, Features, Module, Normalize, Pooling, normalize
from .tokenization import Tokenizer
from .weights import Precision, read_model

# `Transformer.load_config`: the first of these that exists and is not empty.
_TRANSFORMER_CONFIGS = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)
_TEXT_MODALITY = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}


class Transformer:
    """The first module: tokenizer and encoder."""

    def __init__(self, folder: Path, precision: Precision = np.float64) -> None:
        """Load the encoder in `folder`; a setting that this reference does not follow is an error."""
        self.config = _read_json(folder / "config.json")
        settings: dict[str, Any] = {}
        for name in _TRANSFORMER_CONFIGS:
            settings = settings or (_read_json(folder / name) if (folder / name).is_file() else {})
        expected = {
            "transformer_task": "feature-extraction",
            "modality_config": _TEXT_MODALITY,
            "module_output_name": "token_embeddings",
            "processing_kwargs": {},
            "query_length": None,
            "document_length": None,
            "query_expansion": None,
        }
        for key, value in expected.items():
            if settings.get(key, value) != value:
                raise ValueError(f"sentence_bert_config.json: {key} {settings[key]!r} is not in the reference")
        self.tokenizer = Tokenizer(folder, self.config, settings)
        self._weights = read_model(folder, precision)

    def __call__(self, text: str) -> Array:
        """The vectors of a text's tokens, (tokens, hidden)."""
        tokens = self.tokenizer(text)
        weights = self._weights
        family = self.config["model_type"]
        if family in ("bert", "roberta", "xlm-roberta"):
            return bert.forward(bert.Config.from_json(self.config), weights, tokens.ids, tokens.type_ids)
        if family == "distilbert":
            return distilbert.forward(distilbert.Config.from_json(self.config), weights, tokens.ids)
        if family == "mpnet":
            return mpnet.forward(mpnet.Config.from_json(self.config), weights, tokens.ids)
        if family == "modernbert":
            return modernbert.forward(modernbert.Config.from_json(self.config), weights, tokens.ids)
        if family == "nomic_bert":
            return nomic_bert.forward(nomic_bert.Config.from_json(self.config), weights, tokens.ids, tokens.type_ids)
        if family in ("gte", "new"):
            return gte.forward(gte.Config.from_json(self.config), weights, tokens.ids, tokens.type_ids)
        if family in decoder.FAMILIES:
            return decoder.forward(decoder.Config.from_json(self.config), weights, tokens.ids)
        if family == "gemma3_text":
            return gemma3.forward(gemma3.Config.from_json(self.config), weights, tokens.ids)
        raise ValueError(f"model_type {family!r} is not in the reference")


class SentenceTransformer:
    """A folder's modules, one after the other."""

    def __init__(self, folder: Path, precision: Precision = np.float64) -> None:
        """Read modules.json, the modules it lists, and the prompts of config_sentence_transformers.json.

        `precision` is that of the encoder's arithmetic; float32 is for models whose width makes float64 slow.

        A module's `type` is a path to a class, sentence_transformers.models.Pooling before 5.4 and
        sentence_transformers.sentence_transformer.modules.pooling.Pooling since: the class name decides.
        """
        entries = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        names = [entry["type"].rpartition(".")[2] for entry in entries]
        loaders: dict[str, Callable[[Path], Module]] = {
            "Pooling": Pooling.load,
            "Dense": Dense.load,
            "Normalize": Normalize.load,
        }
        foreign = [entry["type"] for entry in entries if not entry["type"].startswith("sentence_transformers.")]
        if foreign or names[0] != "Transformer" or not loaders.keys() >= set(names[1:]):
            raise ValueError(f"modules.json: {foreign or names} are not in the reference")
        self.transformer = Transformer(folder / entries[0]["path"], precision)
        self.modules = [
            loaders[name](folder / entry["path"]) for name, entry in zip(names[1:], entries[1:], strict=True)
        ]
        path = folder / "config_sentence_transformers.json"
        settings = _read_json(path) if path.is_file() else {}
        # `query` and `document` always exist, empty if the folder has none (`_default_prompts`, `_validate_prompts`).
        stored = settings.get("prompts", {})
        self.prompts: dict[str, str] = {
            name: text or "" for name, text in {"query": None, "document": None, **stored}.items()
        }
        self.default_prompt_name: str | None = settings.get("default_prompt_name")
        if self.default_prompt_name is not None and self.default_prompt_name not in self.prompts:
            raise ValueError(f"default prompt {self.default_prompt_name!r} is not among {sorted(self.prompts)}")

    @property
    def max_seq_length(self) -> int | None:
        """The number of tokens that a text is cut to."""
        return self.transformer.tokenizer.max_seq_length

    def tokenize(self, text: str) -> list[int]:
        """The ids that the encoder is given for `text`, no prompt before it."""
        return self.transformer.tokenizer(text).ids

    def encode(
        self,
        texts: Iterable[str],
        prompt: str | None = None,
        prompt_name: str | None = None,
        *,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
    ) -> npt.NDArray[np.float32]:
        """One row a text, in order. `prompt` goes before `prompt_name`, which goes before the default prompt.

        The prompt is put before the text as it is, and an empty one counts as given. Dimensions are cut off after the
        modules and before `normalize_embeddings`. No texts give no rows of the right length (the library: shape (0,)).
        """
        vectors = self.encode_exactly(texts, prompt, prompt_name)[:, :truncate_dim]
        return (normalize(vectors) if normalize_embeddings else vectors).astype(np.float32)

    def encode_exactly(self, texts: Iterable[str], prompt: str | None = None, prompt_name: str | None = None) -> Array:
        """`encode` before anything is rounded."""
        if prompt is None:
            name = prompt_name if prompt_name is not None else self.default_prompt_name
            if name is not None and name not in self.prompts:
                raise ValueError(f"prompt {name!r} is not among {sorted(self.prompts)}")
            prompt = self.prompts[name] if name is not None else ""
        vectors = [self._encode_one(text, prompt) for text in texts]
        return np.stack(vectors) if vectors else np.zeros((0, len(self._encode_one("", ""))))

    def encode_query(self, texts: Iterable[str]) -> npt.NDArray[np.float32]:
        """`encode_query`: the prompt "query", empty where the folder has none; never the default prompt."""
        return self.encode(texts, prompt_name="query")

    def encode_document(self, texts: Iterable[str]) -> npt.NDArray[np.float32]:
        """`encode_document`: "document", else "passage", else "corpus" — and "document" always exists, be it empty.

        So a folder that has only a "passage" prompt gets no prompt from it. Since 5.0, when the method was new.
        """
        return self.encode(texts, prompt_name="document")

    def _encode_one(self, text: str, prompt: str) -> Array:
        features = Features(
            arrays={"token_embeddings": self.transformer(prompt + text)},
            prompt_length=self.transformer.tokenizer.prompt_length(prompt) if prompt else None,
        )
        for module in self.modules:
            module(features)
        return features.arrays["sentence_embedding"]


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
