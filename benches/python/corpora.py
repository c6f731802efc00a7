"""The texts that are measured with: the files of data/, and how many tokens of them count."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "all-MiniLM-L6-v2"
MODEL_LIMIT = 256
# The embedded model has as many positions; sentence-transformers uses half of them unless told otherwise.
ALL_POSITIONS = 512


class Corpus(NamedTuple):
    """Texts, and the length that they are cut to."""

    file: Path
    texts: list[str]
    max_tokens: int
    lengths: list[int]

    @property
    def tokens(self) -> int:
        """Tokens that are embedded."""
        return sum(self.lengths)

    def facts(self) -> dict[str, Any]:
        """What a reader must know of the texts."""
        return {
            "file": str(self.file.relative_to(ROOT).as_posix()),
            "texts": len(self.texts),
            "tokens": self.tokens,
            "shortest": min(self.lengths),
            "median": float(np.median(self.lengths)),
            "longest": max(self.lengths),
            "max_tokens": self.max_tokens,
        }


def token_counts(texts: list[str], max_tokens: int) -> list[int]:
    """Tokens of each text that count, with those that the model adds."""
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    tokenizer.enable_truncation(max_tokens)
    tokenizer.no_padding()
    return [len(encoding.ids) for encoding in tokenizer.encode_batch(texts)]


def lines(name: str) -> list[str]:
    """The lines of a file of data/ that are not empty."""
    return [line for line in (ROOT / "data" / name).read_text(encoding="utf-8").splitlines() if line]


def corpus(name: str, max_tokens: int = MODEL_LIMIT, limit: int | None = None) -> Corpus:
    """The texts of data/NAME, or the first `limit` of them."""
    texts = lines(name)[:limit]
    return Corpus(ROOT / "data" / name, texts, max_tokens, token_counts(texts, max_tokens))
