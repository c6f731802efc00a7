"""int8 of the embedded model against its float32, on texts that took no part in any choice, and what a search notices.

float32 is the independent side: another graph, ONNX Runtime's own operators, and held to sentence-transformers' vectors
by `test_truth.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from int8_models import ROOT, cosines, read_kinds
from numpy.typing import NDArray

from oxembed import Embedder

DATA = ROOT / "data"
UNSEEN = read_kinds(DATA / "unseen.jsonl")
# What docs/int8.md promises, of every kind of text.
LEAST_MEAN = 0.9995
LEAST_MINIMUM = 0.998

Cosines = dict[str, NDArray[np.float64]]


@pytest.fixture(scope="module")
def int8() -> Embedder:
    return Embedder(provider="cpu", dtype="int8")


@pytest.fixture(scope="module")
def float32() -> Embedder:
    return Embedder(provider="cpu")


@pytest.fixture(scope="module")
def found(int8: Embedder, float32: Embedder) -> Cosines:
    """The cosine of every unseen text, by kind."""
    return {kind: cosines(int8.encode(texts), float32.encode(texts)) for kind, texts in UNSEEN.items()}


@pytest.mark.parametrize("kind", UNSEEN)
def test_near_to_float32(found: Cosines, kind: str) -> None:
    assert found[kind].mean() >= LEAST_MEAN
    assert found[kind].min() >= LEAST_MINIMUM


def test_it_is_another_arithmetic(found: Cosines) -> None:
    # Else float32 would have been compared with itself.
    assert np.concatenate(list(found.values())).max() < 1 - 1e-6


def objects(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def ranks(values: NDArray[np.float64]) -> list[float]:
    """The rank of each value, counted out; equal ones share the mean of theirs."""
    ordered = sorted(values.tolist())
    places = [[place for place, other in enumerate(ordered) if other == value] for value in values.tolist()]
    return [sum(equal) / len(equal) for equal in places]


def spearman(int8: Embedder, float32: Embedder, limit: int | None = None) -> float:
    pairs = objects("pairs.jsonl")[:limit]
    firsts, seconds = ([pair[side] for pair in pairs] for side in ("first", "second"))
    mine, theirs = (ranks(cosines(model.encode(firsts), model.encode(seconds))) for model in (int8, float32))
    return float(np.corrcoef(mine, theirs)[0, 1])


def test_pairs_are_ranked_alike(int8: Embedder, float32: Embedder) -> None:
    assert spearman(int8, float32) >= 0.999


class Search:
    """The nearest definitions to each query, by one model; of all, or as `benches/python/int8.py --limit` has them."""

    def __init__(self, model: Embedder, limit: int | None = None) -> None:
        texts = (DATA / "jargon.txt").read_text(encoding="utf-8").splitlines()
        queries = objects("retrieval.jsonl")[:limit]
        self.meant = [query["headword"] for query in queries]
        if limit is not None:
            texts = [text for place, text in enumerate(texts) if place < 10 * limit or headword(text) in self.meant]
        self.headwords = [headword(text) for text in texts]
        scores = model.encode([query["query"] for query in queries]) @ model.encode(texts).T
        self.scores: list[list[float]] = scores.tolist()
        self.nearest = [sorted(range(len(texts)), key=lambda place: -row[place])[:10] for row in self.scores]

    def found(self) -> float:
        """The share of the queries with the entry that was meant among the first ten."""
        hits = [
            word in {self.headwords[place] for place in nearest}
            for word, nearest in zip(self.meant, self.nearest, strict=True)
        ]
        return float(np.mean(hits))


def headword(text: str) -> str:
    return text.partition(": ")[0]


def overlap(mine: Search, theirs: Search) -> float:
    return float(np.mean([len({*a} & {*b}) / 10 for a, b in zip(mine.nearest, theirs.nearest, strict=True)]))


@pytest.fixture(scope="module")
def searches(int8: Embedder, float32: Embedder) -> tuple[Search, Search]:
    return Search(int8), Search(float32)


def test_a_search_finds_what_it_found(searches: tuple[Search, Search]) -> None:
    mine, theirs = searches
    assert mine.found() >= 0.99 * theirs.found()
    assert overlap(mine, theirs) >= 0.97
    for scores, found, due in zip(theirs.scores, mine.nearest, theirs.nearest, strict=True):
        assert due[0] in found
        # What came in for another is as near as that, up to what eight bits can tell.
        assert min(scores[place] for place in found) >= scores[due[-1]] - 0.005


def test_the_measurement_says_the_same(found: Cosines, int8: Embedder, float32: Embedder, tmp_path: Path) -> None:
    """`benches/python/int8.py` on some of the texts, with few repetitions."""
    file, limit = tmp_path / "results.json", 20
    script = ROOT / "benches" / "python" / "int8.py"
    command = [sys.executable, str(script), "--rounds", "1", "--limit", str(limit), "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    for kind, every in found.items():
        said, expected = results["quality"][kind], every[:limit]
        assert said["texts"] == limit
        assert said["mean"] == pytest.approx(expected.mean(), abs=1e-9)
        assert said["minimum"] == pytest.approx(expected.min(), abs=1e-9)
    assert results["bits"]["int8"] == {
        "texts": limit * len(UNSEEN),
        "differ_alone": 0,
        "differ_with_one_thread": 0,
        "differ_in_another_order": 0,
        "largest_difference": 0.0,
    }
    mine, theirs = Search(int8, limit), Search(float32, limit)
    said = results["retrieval"]
    assert (said["queries"], said["documents"]) == (limit, len(mine.headwords))
    assert said["recall_at_10"] == pytest.approx(overlap(mine, theirs), abs=1e-9)
    assert said["meant"]["int8"]["in_first_10"] == mine.found()
    assert said["meant"]["float32"]["in_first_10"] == theirs.found()
    assert results["pairs"]["spearman"] == pytest.approx(spearman(int8, float32, limit), abs=1e-9)
    for one in results["speed"].values():
        assert one["float32_texts_per_second"] > 0
        assert one["least_ratio"] == one["ratio"] == one["largest_ratio"] > 0
    for title in ("Cosine to float32", "Speed", "20 queries over ", "Memory"):
        assert title in done.stdout
