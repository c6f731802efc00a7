"""The token ids of transformers 5.23, whatever class a folder names: every text, every class, every setting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import TOLERANCE
from reference import golden_tokenizers
from reference.golden_tokenizers import CASES, TEXTS, TokenizerCase, byte_level, unigram, word_piece
from reference.sentence_transformer import SentenceTransformer

from oxembed import Embedder
from oxembed.exceptions import InvalidModelError

GOLDEN = golden_tokenizers.load()
# One of each class, and one that counts as stored.
ENCODED = ("bert", "mpnet", "roberta", "xlmr", "camembert", "qwen2", "gemma", "llama", "stored_new_tokens")


def ids_of(embedder: Embedder, text: str) -> list[int]:
    """A text alone is not padded."""
    ids: list[int] = np.asarray(embedder.tokenize([text])["input_ids"])[0].tolist()
    return ids


@pytest.mark.parametrize("name", CASES)
def test_ids_are_those_of_the_library(name: str, tmp_path: Path) -> None:
    folder = CASES[name].make(tmp_path / "model")
    embedder = Embedder(folder, threads=1)
    assert [ids_of(embedder, text) for text in TEXTS] == GOLDEN[name]
    reference = SentenceTransformer(folder)
    assert [reference.tokenize(text) for text in TEXTS] == GOLDEN[name]


@pytest.mark.parametrize("name", ENCODED)
def test_vectors_are_those_of_the_ids(name: str, tmp_path: Path) -> None:
    folder = CASES[name].make(tmp_path / "model")
    expected = SentenceTransformer(folder).encode(TEXTS)
    np.testing.assert_allclose(Embedder(folder, threads=1).encode(TEXTS), expected, atol=TOLERANCE, rtol=0)


def test_padding_side_of_the_class(tmp_path: Path) -> None:
    """Gemma's and Llama's classes pad on the left where nothing else is said, as `tokenize` then does."""
    features = Embedder(CASES["gemma"].make(tmp_path / "model"), threads=1).tokenize(["a", "a long text"])
    assert features["attention_mask"][0].tolist() == sorted(features["attention_mask"][0].tolist())
    assert features["attention_mask"][0, 0] == 0


CODE = {"auto_map": {"AutoTokenizer": [None, "tokenization.Own"]}}
BROKEN_DECODERS: tuple[object, ...] = (
    [],
    None,
    {"x": {"content": "a"}},
    {"1": "a"},
    {"1": {"content": "a", "lstrip": 1}},
)
REFUSED: dict[str, tuple[TokenizerCase, tuple[str, ...]]] = {
    "a class that is not known here": (
        replace(CASES["bert"], declared={"tokenizer_class": "BertJapaneseTokenizer"}),
        ("tokenizer_class", "BertJapaneseTokenizer", "XLMRoberta"),
    ),
    "code of the model's own": (
        replace(CASES["llama"], declared={"tokenizer_class": "OwnTokenizer", **CODE}),
        ("auto_map", "not run"),
    ),
    "word pieces of unigrams": (replace(CASES["bert"], tokenizer=unigram), ("BertTokenizer", "WordPiece")),
    "unigrams of pairs": (replace(CASES["xlmr"], tokenizer=byte_level), ("XLMRobertaTokenizer", "Unigram")),
    "pairs of word pieces": (replace(CASES["qwen2"], tokenizer=word_piece), ("Qwen2Tokenizer", "BPE")),
    "pairs with a prefix": (
        replace(CASES["gemma"], model={"continuing_subword_prefix": "##", "merges": []}),
        ("continuing_subword_prefix",),
    ),
    "no token for a text's begin": (
        replace(CASES["bert"], declared={"tokenizer_class": "BertTokenizer", "cls_token": None}),
        ("cls_token",),
    ),
    "another split": (
        replace(CASES["llama_of_mistral"], declared={"fix_mistral_regex": True, "pad_token": "<pad>"}),
        ("fix_mistral_regex",),
    ),
    "no padding token": (replace(CASES["llama"], declared={"tokenizer_class": "LlamaTokenizer"}), ("pad_token",)),
    "a padding token beyond the table": (
        replace(CASES["bert_fewer_added"], declared={"pad_token": "[new]"}, config={"vocab_size": 2000}),
        ("pad_token", "[new]"),
    ),
    **{
        f"added_tokens_decoder of {decoder}": (
            replace(CASES["bert"], declared={"added_tokens_decoder": decoder}),
            ("added_tokens_decoder",),
        )
        for decoder in BROKEN_DECODERS
    },
    "added_tokens.json without ids": (
        replace(CASES["xlmr"], files={"added_tokens.json": {"<extra>": "2000"}}),
        ("added_tokens.json", "<extra>"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_made_is_refused(name: str, tmp_path: Path) -> None:
    case, parts = REFUSED[name]
    folder = case.make(tmp_path / "model")
    with pytest.raises(InvalidModelError) as caught:
        Embedder(folder, threads=1)
    message = str(caught.value)
    assert str(folder) in message
    assert [part for part in parts if part not in message] == []
