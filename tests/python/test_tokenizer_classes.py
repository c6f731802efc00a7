"""The token ids of transformers 5.23, whatever class a folder names: every text, every class, every setting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reference import golden_tokenizers
from reference.golden_tokenizers import CASES, TEXTS
from reference.sentence_transformer import SentenceTransformer

from oxembed import Embedder

GOLDEN = golden_tokenizers.load()
# One of each class, and one that counts as stored.
ENCODED = ("bert", "mpnet", "roberta", "xlmr", "camembert", "qwen2", "gemma", "llama", "modernbert")


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
