"""Folders with a tokenizer of every class, and the token ids that transformers 5.23 gives: one list a text and case.

The other goldens' folders name no class of their own, so `tokenizer.json` counts as it stands. Here the class decides.

To compute golden_tokenizers.json again, where transformers is installed, from tests/python:
`python -m reference.golden_tokenizers`.
"""

from __future__ import annotations

import copy
import importlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from .factory import FIXTURES, Family, make_model

FILE = Path(__file__).with_name("golden_tokenizers.json")

TEXTS = [
    "Hello, world!",
    "",
    " ",
    "  two  spaces   around  ",
    "tab\there\nnew\r\nline \t\n ",
    "nbsp\u00a0ideographic\u3000thin\u2009zero\u200bwidth",
    "spelled <s> </s> <pad> <mask> [CLS] [MASK] [PAD] <unk> <bos><eos> <|endoftext|> <|im_start|>x",
    "a <mask> b  <MASK>c<extra> d [extra]e</s>f<s>g<|im_end|>h[SEP]i",
    "emoji \U0001f642\U0001f469\u200d\U0001f467 \u65e5\u672c\u8a9e \u732b\u72ac",
    "cafe\u0301 caf\u00e9 \ufb01ne \uff21\u00bd \u2126\u03a9 \u1e9b\u0323",
    "CAPITALS Na\u00efve \u00c0\u00c9",
    "don't we'LL I'M 12345 3.14 a1b2 library...!!??",
    "\u2581under \u2581 _low",
    "lines\n\n\n  end\n",
    "a long text that goes on " * 4,
]

# A charsmap of sentencepiece 0.2 by the rules: U+FB01 to fi, U+FF21 to A, U+00BD to 1/2, U+2126 to U+03A9, e with
# U+0301 to U+00E9, tab, line feed, U+00A0 and U+3000 to a space, U+200B to nothing.
CHARSMAP = "".join(
    (
        "AAQAAAAgAAAJCQAACgUAAAEAAIDMAAIAgQ0AAAwAAICgEQAAgCQCAAMAAICLBQAAAAAAgIScAgCmDQAADwAAgIB8AgCATQAACQAA",
        "gIENAAChHQAABwAAgBQAAAAXAAAAFgAAABkAAAAYAAAAvU0AABoAAAAdAAAAHAAAAB8AAAAeAAAArMwCACAAAAAjAAAAIgAAACUA",
        "AAAkAAAAJwAAACYAAAApAAAAKAAAACsAAAAqAAAALQAAACwAAAAvAAAALgAAALwIAgAwAAAAMwAAADIAAAA1AAAANAAAADcAAAA2",
        "AAAAOQAAADgAAAA7AAAAOgAAAD0AAAA8AAAAPwAAAD4AAABBAAAAQAAAAEMAAABCAAAARQAAAEQAAABHAAAARgAAAEkAAABIAAAA",
        "SwAAAEoAAABNAAAATAAAAE8AAABOAAAAUQAAAFAAAABTAAAAUgAAAFUAAABUAAAAVwAAAFYAAABZAAAAWAAAAFsAAABaAAAAXQAA",
        "AFwAAABfAAAAXgAAAGEAAABgAAAAYwAAAGIAAABlAAAAZAAAAGcAAABmAAAAaQAAAGgAAABrAAAAagAAAG0AAABllAIAbwAAAG4A",
        "AABxAAAAcAAAAHMAAAByAAAAdQAAAHQAAAB3AAAAdgAAAHkAAAB4AAAAewAAAHoAAAB9AAAAfAAAAH8AAAB+AAAAgQAAAIAAAACD",
        "AAAAggAAAIUAAACEAAAAhwAAAIYAAACJAAAAiAAAAIsAAACKAAAAjQAAAIwAAACPAAAAjgAAAJEAAACQAAAAkwAAAJIAAACVAAAA",
        "lAAAAJcAAACWAAAAmQAAAJgAAACbAAAAmgAAAJ0AAACcAAAAnwAAAJ4AAAChAAAAoAAAAKMAAACiAAAApQAAAKQAAACnAAAApgAA",
        "AKkAAACoAAAAqwAAAKoAAACtAAAArAAAAK8AAACuAAAAsQAAALAAAACzAAAAsgAAALUAAAC0AAAAtwAAALYAAAC5AAAAuAAAALsA",
        "AAC6AAAAvQAAALwAAAC/AAAAvgAAAMEAAADAAAAAwwAAAMIAAADFAAAAxAAAAMcAAADGAAAAyQAAAMgAAADCtAEAygAAAM0AAADM",
        "AAAAzwAAAM4AAADRAAAA0AAAANMAAADSAAAA1QAAANQAAADXAAAA1gAAANkAAADYAAAA2wAAANoAAADdAAAA3AAAAN8AAADeAAAA",
        "4QAAAOAAAADjAAAA4gAAAOUAAADkAAAA5wAAAO+sAQDpAAAA6AAAAOKIAQDjkAEA7QAAAOwAAADvAAAA7gAAAPEAAADwAAAA8wAA",
        "APIAAAD1AAAA9AAAAPcAAAD2AAAA+QAAAPgAAAD7AAAA+gAAAP0AAAD8AAAA/wAAAP4AAAAAIAAxLzIAQQBmaQDDqQDOqQA=",
    )
)

Json: TypeAlias = dict[str, Any]
_METASPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
_PRECOMPILED = {"type": "Precompiled", "precompiled_charsmap": CHARSMAP}
_SPACES = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}


def token(content: str, *, lstrip: bool = False, normalized: bool = False, special: bool = True) -> Json:
    """An added token, as JSON has it."""
    flags = {"single_word": False, "lstrip": lstrip, "rstrip": False, "normalized": normalized, "special": special}
    return {"content": content, **flags}


def around(first: str | None, last: str | None, tokenizer: Json) -> Json:
    """A post-processor that puts tokens around a text."""
    vocabulary = tokenizer["model"]["vocab"]
    ids = {content: index for index, (content, _) in enumerate(vocabulary)} if isinstance(vocabulary, list) else {}
    ids |= vocabulary if isinstance(vocabulary, dict) else {}
    ids |= {entry["content"]: entry["id"] for entry in tokenizer["added_tokens"]}
    names = [name for name in (first, last) if name]
    single: list[Json] = [{"SpecialToken": {"id": first, "type_id": 0}}] if first else []
    single.append({"Sequence": {"id": "A", "type_id": 0}})
    single += [{"SpecialToken": {"id": last, "type_id": 0}}] if last else []
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in names},
    }


def fixture(name: str) -> Json:
    """A fixture's tokenizer.json."""
    content: Json = json.loads((FIXTURES / name / "tokenizer.json").read_text(encoding="utf-8"))
    return content


def word_piece() -> Json:
    """BERT's tokenizer."""
    return fixture("bert-cls")


def byte_level() -> Json:
    """A byte-level BPE that has no tokens but its own."""
    return fixture("qwen3-lasttoken")


def unigram() -> Json:
    """XLM-RoBERTa's tokenizer with a charsmap, and with its mask as an added token."""
    tokenizer = fixture("xlmr-mean-prompts")
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [_PRECOMPILED, _SPACES]}
    tokenizer["added_tokens"].append({"id": len(tokenizer["model"]["vocab"]), **token("<mask>", lstrip=True)})
    return tokenizer


def sentence_piece() -> Json:
    """A BPE of sentencepiece's kind, with byte fallback (but for one byte), as Gemma's and Llama's."""
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<s>", "</s>"]
    entries = [*specials, *(f"<0x{byte:02X}>" for byte in range(256) if byte != 0xAF)]
    words = ["\u2581hello", "Hello", "\u2581world", "\u2581long", "\u2581text", "\u2581that", "\u2581goes", "\u2581on"]
    words += ["\u2581two", "\u2581spaces", "line", "\u2581under", "\u2581a", "\u2581cafe", "\u2581\u2581\u2581\u2581"]
    entries += sorted({character for word in words for character in word} | set("bfknx0123456789.,'!\u00e9"))
    merges: list[tuple[str, str]] = []
    for word in words:
        for end in range(2, len(word) + 1):
            pair = (word[: end - 1], word[end - 1])
            if pair not in merges:
                merges.append(pair)
            if word[:end] not in entries:
                entries.append(word[:end])
    tokenizer: Json = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": index, **token(content)} for index, content in enumerate(specials[:5])],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {content: index for index, content in enumerate(entries)},
            "merges": [list(pair) for pair in merges],
        },
    }
    tokenizer["post_processor"] = around("<bos>", "<eos>", tokenizer)
    return tokenizer


@dataclass(frozen=True)
class TokenizerCase:
    """A model folder whose tokenizer is `tokenizer`, with `changed` laid over its parts and `model` over its model.

    `declared` is the whole of tokenizer_config.json, `config` is laid over config.json, `files` are further files.
    """

    family: Family
    tokenizer: Callable[[], Json]
    declared: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Any] = field(default_factory=dict)

    def make(self, folder: Path) -> Path:
        """Write the model, whose table has rows for tokens that a class adds."""
        tokenizer = copy.deepcopy({**self.tokenizer(), **self.changed})
        tokenizer["model"] |= self.model
        rows = {"vocab_size": len(tokenizer["model"]["vocab"]) + 24, "pad_token_id": None}
        make_model(folder, self.family, seed=5, num_hidden_layers=1, max_seq_length=512, config={**rows, **self.config})
        self._write(folder / "tokenizer.json", tokenizer)
        self._write(folder / "tokenizer_config.json", dict(self.declared))
        for name, content in self.files.items():
            self._write(folder / name, content)
        return folder

    @staticmethod
    def _write(path: Path, content: object) -> None:
        path.write_text(json.dumps(content), encoding="utf-8")


def _named(name: str, **settings: Any) -> Json:
    return {"tokenizer_class": name, **settings}


_ROLES = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
_BERT_ROLES = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
_END = {"pad_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
_OTHER_BERT = {
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]},
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
}
_MASK = token("<mask>", lstrip=True)
_MASKS = {4: token("</s>"), 5: _MASK}
_WORD = {"added_tokens": [{"id": 2000, **token("ello", special=False, normalized=True)}]}
_STORED = {"normalizer": {"type": "Prepend", "prepend": "\u2581"}, "pre_tokenizer": None}


def _decoder(contents: Mapping[int, Json]) -> Json:
    return {"added_tokens_decoder": {str(index): content for index, content in contents.items()}}


def _added(tokenizer: Json) -> dict[int, Json]:
    return {entry["id"]: {key: entry[key] for key in entry if key != "id"} for entry in tokenizer["added_tokens"]}


_BERT: Mapping[str, TokenizerCase] = {
    "bert": TokenizerCase("nomic_bert", word_piece, _named("BertTokenizer")),
    "bert_over_other_parts": TokenizerCase("nomic_bert", word_piece, _named("BertTokenizer"), _OTHER_BERT),
    "bert_by_family": TokenizerCase("nomic_bert", word_piece, {"do_lower_case": False}, _OTHER_BERT),
    "bert_model": TokenizerCase(
        "nomic_bert", word_piece, _named("BertTokenizerFast"), model={"max_input_chars_per_word": 3, "unk_token": "x"}
    ),
    "bert_settings": TokenizerCase(
        "new", word_piece, _named("BertTokenizer", strip_accents=False, tokenize_chinese_chars=False)
    ),
    "bert_ends": TokenizerCase("new", word_piece, _named("BertTokenizer", cls_token="[MASK]", sep_token="[UNK]")),
    "bert_new_token": TokenizerCase(
        "new", word_piece, _named("BertTokenizer", mask_token="[mask]", additional_special_tokens=["[extra]"])
    ),
    "bert_extra": TokenizerCase(
        "nomic_bert", word_piece, _named("BertTokenizer", **_decoder({700: token("<extra>"), **_added(word_piece())}))
    ),
    "bert_fewer_added": TokenizerCase(
        "nomic_bert", word_piece, _named("BertTokenizer", **_decoder({0: token("[PAD]")}))
    ),
    "bert_other_order": TokenizerCase(
        "nomic_bert",
        word_piece,
        _named("BertTokenizer", **_decoder({701: token("<extra>"), 700: token("[extra]"), **_added(word_piece())})),
        {"added_tokens": [*word_piece()["added_tokens"], {"id": 2000, **token("<extra>")}]},
    ),
    "bert_split": TokenizerCase("nomic_bert", word_piece, _named("BertTokenizer", split_special_tokens=True)),
    "bert_config_names_it": TokenizerCase(
        "new", word_piece, {"do_lower_case": False}, config={"tokenizer_class": "BertTokenizer"}
    ),
    "bert_alias": TokenizerCase("new", word_piece, _named("ElectraTokenizer"), _OTHER_BERT),
    "distilbert": TokenizerCase("nomic_bert", word_piece, _named("DistilBertTokenizer"), _OTHER_BERT),
    "mpnet": TokenizerCase("nomic_bert", word_piece, _named("MPNetTokenizer"), _OTHER_BERT),
    "mpnet_mask": TokenizerCase(
        "nomic_bert", word_piece, _named("MPNetTokenizer", **_ROLES, mask_token="<MASK>", do_lower_case=False)
    ),
    "modernbert": TokenizerCase(
        "modernbert", word_piece, _named("BertTokenizer", do_lower_case=False, **_BERT_ROLES), _OTHER_BERT
    ),
    "modernbert_own_code": TokenizerCase(
        "modernbert",
        word_piece,
        _named("BertTokenizer", do_lower_case=False, auto_map={"AutoTokenizer": [None, "code.Tokenizer"]}),
        _OTHER_BERT,
    ),
    "new_without_a_class": TokenizerCase("new", word_piece, {"do_lower_case": False, **_BERT_ROLES}, _OTHER_BERT),
    "unknown_class": TokenizerCase("nomic_bert", word_piece, _named("NomicBertTokenizer", **_BERT_ROLES), _OTHER_BERT),
    "stored_by_name": TokenizerCase("nomic_bert", word_piece, _named("PreTrainedTokenizerFast", **_BERT_ROLES)),
    "stored_new_tokens": TokenizerCase(
        "nomic_bert",
        word_piece,
        _named(
            "TokenizersBackend",
            **{**_BERT_ROLES, "mask_token": "<mask>", "image_token": "<extra>"},
            **_decoder({4: token("[MASK]", lstrip=True)}),
        ),
    ),
    "stored_map": TokenizerCase(
        "nomic_bert",
        word_piece,
        _named("PreTrainedTokenizerFast", **_BERT_ROLES),
        files={"special_tokens_map.json": {"mask_token": {**_MASK, "content": "<MASK>"}, "pad_token": "[PAD]"}},
    ),
}
_ROBERTA: Mapping[str, TokenizerCase] = {
    "roberta": TokenizerCase("gte", byte_level, _named("RobertaTokenizer")),
    "roberta_prefix": TokenizerCase("gte", byte_level, _named("RobertaTokenizer", add_prefix_space=True)),
    "roberta_alias": TokenizerCase(
        "gte", byte_level, _named("BartTokenizerFast", **_ROLES), model={"ignore_merges": True}
    ),
    "roberta_model": TokenizerCase("gte", byte_level, _named("RobertaTokenizer"), model={"fuse_unk": True}),
}
_XLM_ROBERTA: Mapping[str, TokenizerCase] = {
    "xlmr": TokenizerCase("gte", unigram, _named("XLMRobertaTokenizer", **_ROLES)),
    "xlmr_by_family": TokenizerCase("gte", unigram),
    "xlmr_of_bert": TokenizerCase("nomic_bert", unigram, _named("XLMRobertaTokenizerFast", **_ROLES)),
    "xlmr_plain_charsmap": TokenizerCase(
        "gte", unigram, _named("XLMRobertaTokenizer"), {"normalizer": _PRECOMPILED, "pre_tokenizer": _METASPACE}
    ),
    "xlmr_charsmap_later": TokenizerCase(
        "gte",
        unigram,
        _named("XLMRobertaTokenizer"),
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, _PRECOMPILED]}},
    ),
    "xlmr_charsmap_within": TokenizerCase(
        "gte",
        unigram,
        _named("XLMRobertaTokenizer"),
        {
            "normalizer": {
                "type": "Sequence",
                "normalizers": [{"type": "Sequence", "normalizers": [_PRECOMPILED]}, {"type": "Lowercase"}],
            }
        },
    ),
    "xlmr_other_normalizer": TokenizerCase(
        "gte", unigram, _named("XLMRobertaTokenizer"), {"normalizer": {"type": "NFKC"}, "pre_tokenizer": None}
    ),
    "xlmr_no_normalizer": TokenizerCase(
        "gte", unigram, _named("XLMRobertaTokenizer"), {"normalizer": None, "post_processor": None}
    ),
    "xlmr_no_prefix": TokenizerCase("gte", unigram, _named("XLMRobertaTokenizer", add_prefix_space=False)),
    "xlmr_unknown": TokenizerCase("gte", unigram, _named("XLMRobertaTokenizer"), model={"unk_id": 1}),
    "xlmr_ends": TokenizerCase("gte", unigram, _named("XLMRobertaTokenizer", bos_token="<pad>", cls_token="<mask>")),
    "xlmr_mask": TokenizerCase("gte", unigram, _named("XLMRobertaTokenizer", **_decoder({3: token("<mask>")}))),
    "xlmr_objects": TokenizerCase(
        "gte",
        unigram,
        _named("XLMRobertaTokenizer", mask_token={"__type": "AddedToken", **token("<MASK>", lstrip=True)}),
        {"added_tokens": []},
    ),
    "xlmr_map": TokenizerCase(
        "gte",
        unigram,
        _named("XLMRobertaTokenizer"),
        files={"special_tokens_map.json": {"mask_token": {**token("<MASK>", lstrip=True)}, "bos_token": "</s>"}},
    ),
    "xlmr_added_file": TokenizerCase(
        "gte", unigram, _named("XLMRobertaTokenizer"), files={"added_tokens.json": {"<extra>": 2100, "[extra]": 2101}}
    ),
    "xlmr_fewer_added": TokenizerCase("gte", unigram, _named("XLMRobertaTokenizer", **_decoder(_MASKS)), _WORD),
    "xlmr_word": TokenizerCase("gte", unigram, _named("XLMRobertaTokenizer"), _WORD),
    "xlmr_word_as_stored": TokenizerCase(
        "gte", unigram, _named("TokenizersBackend", **_ROLES, **_decoder(_MASKS)), _WORD
    ),
    "xlmr_as_stored": TokenizerCase("gte", unigram, _named("PreTrainedTokenizerFast", **_ROLES)),
    "camembert": TokenizerCase("gte", unigram, _named("CamembertTokenizer"), {"normalizer": _PRECOMPILED}),
    "camembert_mask": TokenizerCase(
        "gte", unigram, _named("CamembertTokenizer", mask_token="<MASK>", unk_token="<pad>", add_prefix_space=False)
    ),
}
_QWEN2: Mapping[str, TokenizerCase] = {
    "qwen2": TokenizerCase("qwen3", byte_level, _named("Qwen2Tokenizer", **_END)),
    "qwen2_by_family": TokenizerCase("qwen3", byte_level),
    "qwen2_prefix": TokenizerCase("qwen3", byte_level, _named("Qwen2TokenizerFast", add_prefix_space=True)),
    "qwen2_over_other_parts": TokenizerCase(
        "llama",
        byte_level,
        _named("Qwen2Tokenizer", add_eos_token=True),
        {"normalizer": {"type": "Lowercase"}, "pre_tokenizer": _METASPACE, "post_processor": None},
    ),
    "qwen2_tokens": TokenizerCase(
        "qwen3",
        byte_level,
        _named("Qwen2Tokenizer", eos_token="<|im_end|>", bos_token=None, additional_special_tokens=["<extra>"]),
    ),
    "qwen2_split": TokenizerCase("qwen3", byte_level, _named("Qwen2Tokenizer", split_special_tokens=True)),
    "qwen2_whatever_is_named": TokenizerCase("qwen2", byte_level, _named("PreTrainedTokenizerFast", **_END)),
    "qwen2_llama_is_named": TokenizerCase("qwen2", byte_level, _named("LlamaTokenizer", **_END)),
    "qwen2_own_code": TokenizerCase(
        "qwen2", byte_level, _named("PreTrainedTokenizerFast", **_END, auto_map={"AutoTokenizer": [None, "a.B"]})
    ),
    "qwen3_as_stored": TokenizerCase("qwen3", byte_level, _named("PreTrainedTokenizerFast", **_END)),
}
_GEMMA: Mapping[str, TokenizerCase] = {
    "gemma": TokenizerCase("gemma3_text", sentence_piece, _named("GemmaTokenizer")),
    "gemma_by_family": TokenizerCase("gemma3_text", sentence_piece, {"add_bos_token": False, "add_eos_token": True}),
    "gemma_over_other_parts": TokenizerCase(
        "gemma3_text",
        sentence_piece,
        _named("GemmaTokenizerFast", add_bos_token=True),
        {"normalizer": None, "pre_tokenizer": _METASPACE, "post_processor": None},
        {"fuse_unk": False, "byte_fallback": False, "unk_token": None, "ignore_merges": True},
    ),
    "gemma_unknown": TokenizerCase("gemma3_text", sentence_piece, _named("GemmaTokenizer", unk_token="<mask>")),
    "gemma_as_stored": TokenizerCase(
        "gemma3_text", sentence_piece, _named("PreTrainedTokenizerFast", pad_token="<pad>"), _STORED
    ),
}
_LLAMA: Mapping[str, TokenizerCase] = {
    "llama": TokenizerCase("llama", sentence_piece, _named("LlamaTokenizer", pad_token="</s>")),
    "llama_legacy": TokenizerCase("llama", sentence_piece, _named("LlamaTokenizer", pad_token="</s>", legacy=True)),
    "llama_no_prefix": TokenizerCase(
        "llama", sentence_piece, _named("LlamaTokenizerFast", pad_token="</s>", add_prefix_space=False, legacy=True)
    ),
    "llama_over_other_parts": TokenizerCase(
        "llama",
        sentence_piece,
        _named("LlamaTokenizer", pad_token="<pad>", add_bos_token=True, add_eos_token=True),
        {**_STORED, "post_processor": None},
        {"fuse_unk": False, "byte_fallback": False},
    ),
    "llama_byte_level": TokenizerCase("llama", byte_level, _named("LlamaTokenizer", **_END)),
    "llama_by_family": TokenizerCase("llama", sentence_piece, {"pad_token": "<pad>"}, _STORED),
    "llama_of_mistral": TokenizerCase(
        "mistral", sentence_piece, _named("LlamaTokenizer", pad_token="<pad>", add_eos_token=True), _STORED
    ),
}
CASES: Mapping[str, TokenizerCase] = {**_BERT, **_ROBERTA, **_XLM_ROBERTA, **_QWEN2, **_GEMMA, **_LLAMA}


def load() -> dict[str, list[list[int]]]:
    """Token ids by case, one list for each of `TEXTS`."""
    stored: dict[str, list[list[int]]] = json.loads(FILE.read_text(encoding="utf-8"))
    return stored


def compute() -> dict[str, list[list[int]]]:
    """Every case by the installed transformers, as sentence-transformers makes its tokenizer."""
    library = importlib.import_module("transformers")
    found = {}
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = case.make(Path(folder) / "model")
            tokenizer = library.AutoProcessor.from_pretrained(str(path))
            found[name] = [tokenizer(text)["input_ids"] for text in TEXTS]
    return found


if __name__ == "__main__":
    rows = (f"{json.dumps(name)}: {json.dumps(ids)}" for name, ids in compute().items())
    FILE.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
