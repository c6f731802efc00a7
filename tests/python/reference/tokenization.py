"""A folder's tokenizer as sentence-transformers 6.2 over transformers 5.23 sets it up, run by the `tokenizers` package.

Sources: base/modules/transformer.py (`Transformer.__init__`, `_get_prompt_length`) of sentence-transformers;
tokenization_utils_tokenizers.py, models/auto/tokenization_auto.py and models/*/tokenization_*.py of transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers

# tokenization_auto.py, TOKENIZER_MAPPING_NAMES: the class if neither tokenizer_config.json nor config.json names one.
_DEFAULT_CLASSES = {
    "bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "nomic_bert": "BertTokenizer",
    "gte": "XLMRobertaTokenizer",
}
_BERT_TOKENS = ("[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]")
_ROBERTA_TOKENS = ("<s>", "</s>", "<unk>", "<pad>", "<mask>")
_CLASS_TOKENS = {
    "BertTokenizer": _BERT_TOKENS,
    "DistilBertTokenizer": _BERT_TOKENS,
    "MPNetTokenizer": (*_ROBERTA_TOKENS, "[UNK]"),
    "RobertaTokenizer": _ROBERTA_TOKENS,
    "XLMRobertaTokenizer": _ROBERTA_TOKENS,
}
_NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_NO_LIMIT = 10**20  # tokenization_utils_base.py, LARGE_INTEGER: a model_max_length above it means no truncation


@dataclass(frozen=True)
class Tokens:
    """One text's tokens, with the type ids that the model is given."""

    ids: list[int]
    type_ids: list[int]


class Tokenizer:
    """Texts to ids, cut to `max_seq_length`, never padded."""

    def __init__(self, folder: Path, config: Mapping[str, Any], transformer_config: Mapping[str, Any]) -> None:
        """`config` is config.json, `transformer_config` sentence_bert_config.json."""
        settings = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        declared: dict[str, Any] = {}
        if (folder / "tokenizer_config.json").is_file():
            declared = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        class_name = declared.get("tokenizer_class") or config.get("tokenizer_class")
        class_name = class_name or _DEFAULT_CLASSES[config["model_type"]]
        if class_name != "PreTrainedTokenizerFast":
            class_name = class_name.removesuffix("Fast")
        stored_truncation = settings["truncation"] or {}
        _apply_class(settings, class_name, declared)
        if transformer_config.get("do_lower_case", False):
            _lower_case(settings)
        settings["padding"] = settings["truncation"] = None
        self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(settings))
        self._tokenizer.encode_special_tokens = declared.get("split_special_tokens", False)
        self.max_seq_length = max_seq_length(config, transformer_config, declared)
        if self.max_seq_length is not None:
            side = declared.get("truncation_side", stored_truncation.get("direction", "right")).lower()
            self._tokenizer.enable_truncation(self.max_seq_length, strategy="longest_first", direction=side)
        inputs = declared.get("model_input_names", ["token_type_ids"] if class_name == "BertTokenizer" else [])
        self._has_type_ids = "token_type_ids" in inputs
        self._special_ids = self._find_special_ids(class_name, declared)

    def _find_special_ids(self, class_name: str, declared: Mapping[str, Any]) -> set[int]:
        """`all_special_ids`: tokens with a role in tokenizer_config.json or by class; not all of tokenizer.json's."""
        tokens = [declared[name] for name in _NAMED_TOKENS if declared.get(name) is not None]
        for name in ("additional_special_tokens", "extra_special_tokens"):
            extra = declared.get(name) or []
            tokens += extra.values() if isinstance(extra, dict) else extra
        contents = [token["content"] if isinstance(token, dict) else token for token in tokens]
        contents += _CLASS_TOKENS.get(class_name, ())
        ids = (self._tokenizer.token_to_id(content) for content in contents)
        return {token_id for token_id in ids if token_id is not None}

    def __call__(self, text: str) -> Tokens:
        """The tokens of one text. Nothing is stripped (before sentence-transformers 5.4 every text was)."""
        encoding = self._tokenizer.encode(text)
        return Tokens(encoding.ids, encoding.type_ids if self._has_type_ids else [0] * len(encoding.ids))

    def prompt_length(self, prompt: str) -> int:
        """`_get_prompt_length`: the tokens of the prompt alone, cut like a text, without a trailing special token.

        The prompt is measured by itself. Where its last token merges with the text, or its trailing space is a token of
        its own, the number is not that of the tokens it takes in front of the text; it is what the library uses.
        """
        ids = self(prompt).ids
        return len(ids) - (1 if ids[-1] in self._special_ids else 0)


def max_seq_length(
    config: Mapping[str, Any], transformer_config: Mapping[str, Any], declared: Mapping[str, Any]
) -> int | None:
    """The number of tokens, special ones among them, that a text is cut to; None for no limit.

    `max_seq_length` of sentence_bert_config.json as it stands; a `model_max_length` in that file's processor arguments
    goes before it. Without both, tokenizer_config.json's `model_max_length`, at most `max_position_embeddings`.
    """
    processor = transformer_config.get("processor_kwargs", transformer_config.get("tokenizer_args")) or {}
    limit: int | None = processor.get("model_max_length", transformer_config.get("max_seq_length"))
    if limit is None:
        limit = declared.get("model_max_length") or 10**30
        positions = config.get("max_position_embeddings", -1)
        if positions != -1:
            limit = min(limit, positions)
    return None if limit > _NO_LIMIT else int(limit)


def _apply_class(settings: dict[str, Any], class_name: str, declared: Mapping[str, Any]) -> None:
    """What a model's own tokenizer class changes in tokenizer.json; `TokenizersBackend` takes it as it is.

    BERT's, DistilBERT's and MPNet's classes build the normalizer from tokenizer_config.json: `do_lower_case` (true if
    absent), `strip_accents` and `tokenize_chinese_chars` win over what tokenizer.json says. So does, with RoBERTa's,
    `add_prefix_space` (false if absent). transformers 4's fast tokenizers changed the same settings in place.
    """
    if class_name in ("BertTokenizer", "DistilBertTokenizer", "MPNetTokenizer"):
        if (settings["normalizer"] or {}).get("type") != "BertNormalizer":
            raise ValueError(f"{class_name} over a normalizer that is not BERT's")
        settings["normalizer"] = {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": declared.get("tokenize_chinese_chars", True),
            "strip_accents": declared.get("strip_accents"),
            "lowercase": declared.get("do_lower_case", True),
        }
    elif class_name == "RobertaTokenizer":
        if (settings["pre_tokenizer"] or {}).get("type") != "ByteLevel":
            raise ValueError(f"{class_name} over a pre-tokenizer that is not ByteLevel")
        settings["pre_tokenizer"]["add_prefix_space"] = declared.get("add_prefix_space", False)


def _lower_case(settings: dict[str, Any]) -> None:
    """`do_lower_case` of sentence_bert_config.json: a Lowercase normalizer goes in front of the others."""
    normalizer = settings["normalizer"]
    if normalizer is None:
        present: list[dict[str, Any]] = []
    else:
        present = normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]
    if not any(entry["type"] == "Lowercase" for entry in present):
        settings["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *present]}
