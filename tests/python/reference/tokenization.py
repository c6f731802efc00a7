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

# tokenization_auto.py, TOKENIZER_MAPPING_NAMES, without "Tokenizer"; None is TokenizersBackend.
_REGISTERED = {
    "bert": "Bert",
    "camembert": "Camembert",
    "distilbert": "Bert",
    "gemma3_text": "Gemma",
    "gte": "XLMRoberta",
    "mistral": None,
    "modernbert": None,
    "mpnet": "MPNet",
    "nomic_bert": "Bert",
    "qwen2": "Qwen2",
    "qwen3": "Qwen2",
    "roberta": "Roberta",
    "xlm-roberta": "XLMRoberta",
}
# MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS: the registered class, whatever the folder names. mistral's registered class
# is not taken from a folder without tekken.json, and what the folder names is not asked for then.
_NAMES_DO_NOT_COUNT = ("mistral", "modernbert", "qwen2")
_ALIASES = {
    **dict.fromkeys(("Electra", "LayoutLM", "Lxmert", "MobileBert", "SqueezeBert"), "Bert"),
    **dict.fromkeys(("Bart", "LED", "Longformer", "Mvp"), "Roberta"),
}
# The defaults of the classes' `__init__`.
_BERT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_ROBERTA_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
_CLASS_TOKENS: dict[str | None, dict[str, str]] = {
    None: {},
    "Bert": _BERT_TOKENS,
    "DistilBert": _BERT_TOKENS,
    "MPNet": {**_ROBERTA_TOKENS, "unk_token": "[UNK]"},
    "Roberta": _ROBERTA_TOKENS,
    "XLMRoberta": _ROBERTA_TOKENS,
    "Camembert": _ROBERTA_TOKENS,
    "Qwen2": dict.fromkeys(("unk_token", "eos_token", "pad_token"), "<|endoftext|>"),
    "Gemma": {
        "unk_token": "<unk>",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    },
    "Llama": {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
}
_NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
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
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        settings = json.loads(text)
        declared = _read_json(folder / "tokenizer_config.json")
        kind = _class_of(config, declared, text)
        special = _special_tokens(folder, declared, kind)
        stored_truncation = settings["truncation"] or {}
        tokens = _tokens_to_add(folder, settings, declared, special, keeps_stored=kind is None)
        if kind is not None:
            settings["added_tokens"] = []
            _rebuild(settings, kind, declared, {name: token.content for name, token in special.items()})
        if transformer_config.get("do_lower_case", False):
            _lower_case(settings)
        settings["padding"] = settings["truncation"] = None
        self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(settings))
        self._tokenizer.add_tokens(tokens)
        if kind == "Qwen2":  # Qwen2Tokenizer.__init__: every special token once more, without its properties
            again = [tokenizers.AddedToken(token.content, special=True) for token in special.values()]
            self._tokenizer.add_tokens(again)
        self._surround(kind, special)
        self._tokenizer.encode_special_tokens = declared.get("split_special_tokens", False)
        self.max_seq_length = max_seq_length(config, transformer_config, declared)
        if self.max_seq_length is not None:
            side = declared.get("truncation_side", stored_truncation.get("direction", "right")).lower()
            self._tokenizer.enable_truncation(self.max_seq_length, strategy="longest_first", direction=side)
        inputs = declared.get("model_input_names", ["token_type_ids"] if kind == "Bert" else [])
        self._has_type_ids = "token_type_ids" in inputs
        ids = (self._tokenizer.token_to_id(token.content) for token in special.values())
        self._special_ids = {token_id for token_id in ids if token_id is not None}

    def _surround(self, kind: str | None, special: Mapping[str, tokenizers.AddedToken]) -> None:
        """The post-processors that classes make after the tokens have their ids; Qwen2, Gemma and Llama make none."""
        if kind in ("Bert", "DistilBert", "MPNet", "Roberta"):
            first, last = special["cls_token"].content, special["sep_token"].content
        elif kind in ("XLMRoberta", "Camembert"):
            first, last = special["bos_token"].content, special["eos_token"].content
        else:
            return
        ids = {content: self._tokenizer.token_to_id(content) for content in (first, last)}
        self._tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single=[first, "$A", last], pair=None, special_tokens=list(ids.items())
        )

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


def _class_of(config: Mapping[str, Any], declared: Mapping[str, Any], tokenizer_text: str) -> str | None:
    """`AutoTokenizer.from_pretrained`, without remote code: the class, None for TokenizersBackend."""
    family = config["model_type"]
    named = declared.get("tokenizer_class") or config.get("tokenizer_class")
    if named is None:
        return _REGISTERED.get(family)
    auto_map = declared.get("auto_map")
    code = auto_map.get("AutoTokenizer") if isinstance(auto_map, dict) else auto_map
    if family in _NAMES_DO_NOT_COUNT and code is None:
        return _REGISTERED[family]
    stem = named.removesuffix("Fast").removesuffix("Tokenizer")
    kind = _ALIASES.get(stem, stem)
    if kind == "Llama" and code is None and '"ByteLevel"' in tokenizer_text:
        return None
    return kind if kind in _CLASS_TOKENS else None


def _special_tokens(folder: Path, declared: Mapping[str, Any], kind: str | None) -> dict[str, tokenizers.AddedToken]:
    """Tokens by their role, then the extra ones by a number: `_from_pretrained` and the classes' `__init__`.

    Only where tokenizer_config.json has no added_tokens_decoder is special_tokens_map.json read; it wins.
    """
    given = dict(declared)
    if "added_tokens_decoder" not in declared:
        given |= _read_json(folder / "special_tokens_map.json")
    special: dict[str, tokenizers.AddedToken] = {}
    for name in _NAMED_TOKENS:
        value = given.get(name, _CLASS_TOKENS[kind].get(name))
        if value is None:
            continue
        token = _token(value, special=True)
        if name == "mask_token" and isinstance(value, str) and kind in ("MPNet", "Camembert"):
            token = tokenizers.AddedToken(value, lstrip=True, special=True)
        special[name] = token
    others = [name for name in declared if name.endswith("_token") and name not in _NAMED_TOKENS]
    special |= {name: _token(declared[name], special=True) for name in others if isinstance(declared[name], str)}
    extra = given.get("extra_special_tokens") or given.get("additional_special_tokens") or []
    if kind == "Camembert" and not extra:
        extra = ["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"]
    values = extra.values() if isinstance(extra, dict) else extra
    return special | {str(number): _token(value, special=True) for number, value in enumerate(values)}


def _token(value: str | Mapping[str, Any], *, special: bool | None = None) -> tokenizers.AddedToken:
    """A token of JSON: its text, or an object; `special` goes before what the object says."""
    if isinstance(value, str):
        return tokenizers.AddedToken(value, special=bool(special))
    properties = {key: value[key] for key in value if key not in ("id", "__type")}
    return tokenizers.AddedToken(**properties if special is None else {**properties, "special": special})


def _tokens_to_add(
    folder: Path,
    settings: Mapping[str, Any],
    declared: Mapping[str, Any],
    special: Mapping[str, tokenizers.AddedToken],
    *,
    keeps_stored: bool,
) -> list[tokenizers.AddedToken]:
    """`added_tokens_decoder` by its ids, then the special tokens that are no added tokens yet."""
    stored = {token["content"] for token in settings["added_tokens"]} if keeps_stored else set()
    decoder = declared.get("added_tokens_decoder")
    if decoder is not None:
        by_id = {int(token_id): _token(value) for token_id, value in decoder.items()}
    else:
        named = {token.content for token in special.values()}
        legacy = _read_json(folder / "added_tokens.json")
        by_id = {token_id: tokenizers.AddedToken(text, special=text in named) for text, token_id in legacy.items()}
        by_id |= {token["id"]: _token(token) for token in settings["added_tokens"]}
    tokens = [by_id[token_id] for token_id in sorted(by_id)]
    known = stored | {token.content for token in tokens}
    return tokens + [token for token in special.values() if token.content not in known]


def _rebuild(settings: dict[str, Any], kind: str, declared: Mapping[str, Any], special: Mapping[str, str]) -> None:
    """`__init__` of tokenization_*.py: model, normalizer and pre-tokenizer; vocabulary and merges are the file's."""
    model = settings["model"]
    model.setdefault("type", "WordPiece")  # which old files, all of them BERT's, leave out
    expected = {"Bert": "WordPiece", "DistilBert": "WordPiece", "MPNet": "WordPiece"}
    expected |= {"XLMRoberta": "Unigram", "Camembert": "Unigram"}
    if model["type"] != expected.get(kind, "BPE"):
        raise ValueError(f"{kind}Tokenizer over a model of type {model['type']}")
    stored = settings["normalizer"]
    settings["normalizer"] = None
    if model["type"] == "WordPiece":
        model |= {"unk_token": special["unk_token"], "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
        settings["normalizer"] = {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": declared.get("tokenize_chinese_chars", True),
            "strip_accents": declared.get("strip_accents"),
            "lowercase": declared.get("do_lower_case", True),
        }
        settings["pre_tokenizer"] = {"type": "BertPreTokenizer"}
    elif model["type"] == "Unigram":
        contents = [content for content, _ in model["vocab"]]
        unknown = contents.index(special["unk_token"]) if special["unk_token"] in contents else 0
        model |= {"unk_id": unknown if kind == "Camembert" else 3, "byte_fallback": False}
        # convert_to_native_format: a charsmap on its own, or directly in a sequence.
        entries = stored["normalizers"] if stored and stored["type"] == "Sequence" else [stored] if stored else []
        settings["normalizer"] = next((entry for entry in entries if entry["type"] == "Precompiled"), None)
        scheme = "always" if declared.get("add_prefix_space", True) else "never"
        steps = [{"type": "WhitespaceSplit"}, _metaspace(scheme, split=True)]
        settings["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    else:
        _rebuild_byte_pairs(settings, kind, declared, special)


def _rebuild_byte_pairs(
    settings: dict[str, Any], kind: str, declared: Mapping[str, Any], special: Mapping[str, str]
) -> None:
    if settings["model"].get("continuing_subword_prefix"):
        raise ValueError("merges with a prefix are not in the reference")
    falls_back = kind in ("Gemma", "Llama")
    unknown = special["unk_token"] if kind == "Gemma" else None
    settings["model"] |= {"unk_token": unknown, "fuse_unk": falls_back, "byte_fallback": falls_back}
    settings["model"] |= {"dropout": None, "ignore_merges": False, "end_of_word_suffix": None}
    prefix = declared.get("add_prefix_space")
    bytes_of = {"type": "ByteLevel", "add_prefix_space": bool(prefix), "trim_offsets": True}
    if kind == "Roberta":
        settings["pre_tokenizer"] = {**bytes_of, "use_regex": True}
    elif kind == "Qwen2":
        settings["normalizer"] = {"type": "NFC"}
        pattern = {"Regex": _QWEN2_PATTERN}
        split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
        settings["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, {**bytes_of, "use_regex": False}]}
    elif kind == "Gemma":
        space = {"String": " "}
        settings["normalizer"] = {"type": "Replace", "pattern": space, "content": "\u2581"}
        split = {"type": "Split", "pattern": space, "behavior": "MergedWithPrevious", "invert": False}
        settings["pre_tokenizer"] = split
    else:  # Llama
        scheme = "always" if declared.get("legacy", False) else "first"
        settings["pre_tokenizer"] = _metaspace("never" if prefix is False else scheme, split=False)


def _metaspace(scheme: str, *, split: bool) -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": split}


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content


def _lower_case(settings: dict[str, Any]) -> None:
    """`do_lower_case` of sentence_bert_config.json: a Lowercase normalizer goes in front of the others."""
    normalizer = settings["normalizer"]
    if normalizer is None:
        present: list[dict[str, Any]] = []
    else:
        present = normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]
    if not any(entry["type"] == "Lowercase" for entry in present):
        settings["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *present]}
