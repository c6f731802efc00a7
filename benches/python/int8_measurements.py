"""What `int8.py` measures."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from baseline import session
from cold_start import QUERY
from numpy.typing import NDArray
from timing import Times, interleaved, ratio

import oxembed
from oxembed import Embedder

Vectors = NDArray[np.float32]
NEAREST = 10
BATCH_TOKENS = 512


class Texts(NamedTuple):
    """What is embedded."""

    unseen: dict[str, list[str]]
    short: list[str]
    definitions: dict[str, str]
    queries: list[dict[str, str]]
    pairs: list[tuple[str, str]]

    @property
    def all_unseen(self) -> list[str]:
        """The texts of every kind."""
        return [text for texts in self.unseen.values() for text in texts]


def read(folder: Path, limit: int | None) -> Texts:
    """The texts of data/, or the first `limit` of each kind and file.

    To be searched for so few queries are the definitions that are meant, and ten times as many others.
    """

    def objects(name: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]

    unseen: dict[str, list[str]] = {}
    for one in objects("unseen.jsonl"):
        unseen.setdefault(one["kind"], []).append(one["text"])
    lines = (folder / "jargon.txt").read_text(encoding="utf-8").splitlines()
    queries = objects("retrieval.jsonl")[:limit]
    wanted = {one["headword"] for one in queries}
    definitions = {line.partition(": ")[0]: line for line in lines}
    if limit is not None:
        first = set(list(definitions)[: 10 * limit])
        definitions = {word: line for word, line in definitions.items() if word in first or word in wanted}
    return Texts(
        unseen={kind: texts[:limit] for kind, texts in unseen.items()},
        short=(folder / "short_texts.txt").read_text(encoding="utf-8").splitlines()[:limit],
        definitions=definitions,
        queries=queries,
        pairs=[(one["first"], one["second"]) for one in objects("pairs.jsonl")[:limit]],
    )


def cosines(a: Vectors, b: Vectors) -> NDArray[np.float64]:
    """The cosine of every row of `a` to that row of `b`."""
    one, other = a.astype(np.float64), b.astype(np.float64)
    found: NDArray[np.float64] = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    return found


def summary(found: NDArray[np.float64]) -> dict[str, float]:
    """Number, mean, first percentile and minimum."""
    return {
        "texts": len(found),
        "mean": float(found.mean()),
        "first_percentile": float(np.percentile(found, 1)),
        "minimum": float(found.min()),
    }


def quality(float32: Any, int8: Any, unseen: dict[str, list[str]]) -> dict[str, dict[str, float]]:
    """Cosines of the two sides by kind of text, and of all."""
    by_kind = {kind: cosines(float32.encode(texts), int8.encode(texts)) for kind, texts in unseen.items()}
    return {
        **{kind: summary(found) for kind, found in by_kind.items()},
        "all": summary(np.concatenate(list(by_kind.values()))),
    }


def bits(side: Embedder, single: Embedder, texts: list[str]) -> dict[str, float]:
    """How many texts have other bits alone, or with one thread, or in another order, than in one call with all."""
    together = side.encode(texts)
    others = [np.stack([side.encode(text) for text in texts]), single.encode(texts), side.encode(texts[::-1])[::-1]]
    return {
        "texts": len(texts),
        "differ_alone": int((others[0] != together).any(1).sum()),
        "differ_with_one_thread": int((others[1] != together).any(1).sum()),
        "differ_in_another_order": int((others[2] != together).any(1).sum()),
        "largest_difference": float(max(np.abs(other - together).max() for other in others)),
    }


def retrieval(sides: dict[str, Embedder], texts: Texts) -> dict[str, Any]:
    """What a search finds among the definitions, everything embedded by the same side."""
    headwords, queries = list(texts.definitions), [one["query"] for one in texts.queries]
    orders: dict[str, NDArray[np.intp]] = {}
    scores: dict[str, Vectors] = {}
    for name, side in sides.items():
        scores[name] = side.encode_query(queries) @ side.encode_document(list(texts.definitions.values())).T
        orders[name] = np.argsort(-scores[name], axis=1, kind="stable")
    pairs = zip(*(orders[name][:, :NEAREST] for name in ("float32", "int8")), strict=True)
    overlap = [len(np.intersect1d(one, other)) / NEAREST for one, other in pairs]
    tenth = np.take_along_axis(scores["float32"], orders["float32"][:, NEAREST - 1 : NEAREST], 1)
    found = np.take_along_axis(scores["float32"], orders["int8"][:, :NEAREST], 1)
    meant = np.array([headwords.index(one["headword"]) for one in texts.queries])
    ranks = {name: 1 + (order == meant[:, None]).argmax(1) for name, order in orders.items()}
    return {
        "queries": len(queries),
        "documents": len(headwords),
        "recall_at_10": float(np.mean(overlap)),
        "farthest_below_the_tenth": float(np.maximum(tenth - found, 0).max()),
        "nearest_in_first_10": float((orders["int8"][:, :NEAREST] == orders["float32"][:, :1]).any(1).mean()),
        "same_first": float((orders["float32"][:, 0] == orders["int8"][:, 0]).mean()),
        "meant": {
            name: {
                "first": float((rank == 1).mean()),
                "in_first_10": float((rank <= NEAREST).mean()),
                "mean_reciprocal_rank": float((1 / rank).mean()),
            }
            for name, rank in ranks.items()
        },
        "meant_moved": int((ranks["float32"] != ranks["int8"]).sum()),
    }


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Correlation of the ranks; equal values share the mean of theirs."""

    def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
        _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        shared: NDArray[np.float64] = (last - (counts - 1) / 2)[places]
        return shared

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def pairs(float32: Embedder, int8: Embedder, pairs: list[tuple[str, str]]) -> dict[str, float]:
    """How alike the two sides rank the pairs by their cosines."""
    firsts, seconds = [first for first, _ in pairs], [second for _, second in pairs]
    found = [cosines(side.encode(firsts), side.encode(seconds)) for side in (float32, int8)]
    return {
        "pairs": len(pairs),
        "spearman": spearman(*found),
        "largest_difference": float(np.abs(found[0] - found[1]).max()),
    }


def compared(times: Times, texts: int) -> dict[str, float]:
    """What came of interleaved rounds of `texts` texts, one by one or together."""
    return {
        "texts": texts,
        "float32_texts_per_second": texts / statistics.median(times["float32"]),
        "int8_texts_per_second": texts / statistics.median(times["int8"]),
        "ratio": ratio(times, "int8", "float32"),
        "least_ratio": min(a / b for a, b in zip(times["float32"], times["int8"], strict=True)),
        "largest_ratio": max(a / b for a, b in zip(times["float32"], times["int8"], strict=True)),
    }


def speed(
    sides: dict[str, Embedder], single: dict[str, Embedder], texts: Texts, rounds: int
) -> dict[str, dict[str, float]]:
    """Times of int8 and float32 on the same texts."""

    def together(which: dict[str, Embedder], some: list[str]) -> dict[str, float]:
        calls = {name: partial(side.encode, some) for name, side in which.items()}
        return compared(interleaved(calls, rounds), len(some))

    def alone(which: dict[str, Embedder], some: list[str]) -> dict[str, float]:
        def one_by_one(side: Embedder) -> None:
            for text in some:
                side.encode(text)

        calls = {name: partial(one_by_one, side) for name, side in which.items()}
        return compared(interleaved(calls, rounds), len(some))

    few = texts.short[:50]
    return {
        "short texts, all threads": together(sides, texts.short),
        "documents, all threads": together(sides, texts.unseen["document"]),
        "short texts, one thread": together(single, texts.short[:400]),
        "one short text at a time, one thread": alone(single, few),
        "one short text at a time, all threads": alone(sides, few),
        "one query of 14 words, one thread": alone(single, [QUERY] * 20),
        "one document at a time, one thread": alone(single, texts.unseen["document"][:10]),
    }


MEMORY = """
import json, os, psutil, sys
from oxembed import Embedder
process = psutil.Process()
before = process.memory_full_info()
model = Embedder(sys.argv[1], provider="cpu", dtype=sys.argv[2])
model.encode("one text")
after = process.memory_full_info()
print(json.dumps({"rss": after.rss - before.rss, "uss": after.uss - before.uss}))
"""


def memory(model: str, runs: int) -> dict[str, dict[str, float]]:
    """What loading a model and embedding one text adds to a process: all pages, and those that are its own, in MiB."""
    found: dict[str, dict[str, float]] = {}
    for dtype in ("float32", "int8"):
        command = [sys.executable, "-c", MEMORY, model, dtype]
        marks = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(runs)]
        found[dtype] = {key: statistics.median(mark[key] for mark in marks) / 2**20 for key in ("rss", "uss")}
    return found


class Dynamic:
    """The usual int8: onnxruntime's `quantize_dynamic` of the same graph, run in batches of texts of like length."""

    def __init__(self, model: str, embedder: Embedder, folder: Path) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        exported = oxembed.export(model, folder / "float32.onnx", target="plain", pooling_inside=True)
        file = folder / "dynamic.onnx"
        # A scale for each column of the weights: its default of one for all of them comes to cosines of 0.95.
        quantize_dynamic(exported.path, file, weight_type=QuantType.QInt8, per_channel=True)
        self._session: onnxruntime.InferenceSession = session(file, embedder.model_info().threads)
        self._embedder = embedder
        self._inputs = exported.inputs

    def encode(self, texts: Sequence[str] | str) -> Vectors:
        """Rows of the texts, in order; one row for one text."""
        if isinstance(texts, str):
            row: Vectors = self.encode([texts])[0]
            return row
        rows = [self._embedder.tokenize(text)["input_ids"][0] for text in texts]
        order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
        found = np.empty((len(rows), self._embedder.dimension), np.float32)
        start = 0
        while start < len(order):
            some = order[start : start + max(1, BATCH_TOKENS // len(rows[order[start]]))]
            found[some] = self._run([rows[index] for index in some])
            start += len(some)
        return found

    def _run(self, rows: list[NDArray[np.int64]]) -> Vectors:
        width = max(map(len, rows))
        every = {name: np.zeros((len(rows), width), np.int64) for name in self._inputs}
        for index, row in enumerate(rows):
            every["input_ids"][index, : len(row)] = row
            every["attention_mask"][index, : len(row)] = 1
        if "position_ids" in every:
            every["position_ids"][:] = np.arange(width)
        vectors: Vectors = self._session.run(None, every)[0]
        return vectors


def dynamic(side: Dynamic, float32: Embedder, texts: Texts, rounds: int) -> dict[str, Any]:
    """What `quantize_dynamic` comes to on the same texts."""
    some = [text for kind in texts.unseen.values() for text in kind[:20]]
    alone = np.stack([side.encode(text) for text in some])
    calls = {"int8": lambda: side.encode(texts.short), "float32": lambda: float32.encode(texts.short)}
    return {
        "quality": quality(float32, side, texts.unseen),
        "alone_against_in_a_batch": summary(cosines(alone, side.encode(some))),
        "speed": compared(interleaved(calls, max(1, rounds // 3)), len(texts.short)),
    }
