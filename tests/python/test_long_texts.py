"""Texts longer than a batch, whose attention is computed in chunks of queries: right, steady, and in little memory."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PATIENCE
from reference.factory import FIXTURES
from reference.sentence_transformer import SentenceTransformer

from oxembed import Embedder

# Attention on both sides, with a window, causal with shared keys, and with a window and shared keys.
ROTARY = ("nomicbert-mean", "gte-cls", "modernbert-cls", "qwen3-lasttoken", "qwen3-sharded-bf16", "gemma3-mean-dense")
LIMIT = 1_500
# Texts of at most this many tokens go into batches.
LONGEST_IN_A_BATCH = 512
TOLERANCE = 1e-5
WORDS = ("fox", "river", "quick", "winter", "book", "star", "slowly", "mountain", "jumps", "lazy", "reading", "old")


def text_of(words: int) -> str:
    generator = random.Random(words)
    return " ".join(generator.choice(WORDS) for _ in range(words))


def with_limit(name: str, folder: Path, limit: int) -> Path:
    """A copy of a fixture that takes texts of `limit` tokens: positions are computed, so any number works."""
    shutil.copytree(FIXTURES / name, folder)
    path = folder / "sentence_bert_config.json"
    path.chmod(0o644)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_seq_length": limit}))
    return folder


@pytest.mark.parametrize("name", ROTARY)
def test_vectors_are_those_of_the_reference(name: str, tmp_path: Path) -> None:
    folder = with_limit(name, tmp_path / "model", LIMIT)
    model, alone = Embedder(folder), Embedder(folder, threads=1)
    texts = [text_of(words) for words in (50, 200, 260, 300, 500)]
    lengths = model.count_tokens(texts)
    assert min(lengths) < LONGEST_IN_A_BATCH < lengths[-2] < lengths[-1] <= LIMIT
    vectors = model.encode(texts)
    truth = SentenceTransformer(folder).encode(texts)
    assert np.abs(vectors - truth).max() <= TOLERANCE
    for text, vector in zip(texts, vectors, strict=True):
        assert np.array_equal(alone.encode(text), vector)
        assert np.array_equal(model.encode(["short", text, "another"])[1], vector)


def test_the_length_where_chunks_begin(tmp_path: Path) -> None:
    """Every length around the edge of a batch and of a chunk."""
    folder = with_limit("modernbert-cls", tmp_path / "model", LIMIT)
    reference = SentenceTransformer(folder)
    model = Embedder(folder)
    tokens_of_nothing = model.count_tokens([""])[0]
    for tokens in (511, 512, 513, 639, 640, 641, 767, 769):
        text = " ".join(["the"] * (tokens - tokens_of_nothing))
        assert model.count_tokens([text]) == [tokens]
        assert np.abs(model.encode(text) - reference.encode([text])[0]).max() <= TOLERANCE, tokens


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no resource usage of a process")
def test_memory_does_not_grow_with_the_square_of_the_length(tmp_path: Path) -> None:
    tokens = 8_000
    folder = with_limit("nomicbert-mean", tmp_path / "model", tokens)
    program = f"""
import resource, oxembed
model = oxembed.Embedder({str(folder)!r})
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if {sys.platform == "darwin"} else 1024)
model.encode("warm " * 600)
before = peak()
model.encode("word " * {2 * tokens}, truncation="truncate")
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=PATIENCE)
    scores_of_all_queries = 4 * tokens * tokens * 4
    assert int(done.stdout) < scores_of_all_queries / 4
