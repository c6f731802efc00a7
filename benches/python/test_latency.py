"""Milliseconds of a call with one text and with batches of 4 to 32, and what a call costs beside the session's run."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import baseline
import memory
import numpy as np
import pytest
from cold_start import QUERY
from corpora import ROOT, token_counts
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from record import summary
from rows import CLOCK, Outcome, Suite, Workload, replay
from sides import OXEMBED, SIDES, smallest_cosine
from timing import in_turn, percentiles

from oxembed import Embedder

# Texts of a call, and how many calls: fewer where they take longer.
BATCHES = {1: 300, 4: 200, 8: 120, 16: 80, 32: 60}
WARM_UPS = 3
OVERHEAD_CALLS = 2000
SMALL_MODEL = ROOT / "tests" / "fixtures" / "bert-cls"
SMALL_GRAPH = "onnx/model.onnx"


def batches(texts: list[str], size: int) -> list[list[str]]:
    """`texts` in batches of `size`; one text is always the same question, so that its times can be compared."""
    if size == 1:
        return [[QUERY]]
    every = iter(texts)
    cut = list(iter(lambda: list(islice(every, size)), []))
    return [batch for batch in cut if len(batch) == size] or [(texts * size)[:size]]


def workload(suite: Suite, size: int) -> Workload:
    """Calls with a batch of `size`; in one round every side has the same batch."""
    rounds = suite.rounds or BATCHES[size]
    texts = batches(suite.corpus("sentences.txt").texts, size)
    run = [texts[number % len(texts)] for number in range(rounds)]
    tokens = sum(token_counts([text for batch in run for text in batch], suite.setting().max_tokens))

    def prepare(name: str, number: int) -> Callable[[], Outcome]:
        side, batch = suite.side(name), texts[number % len(texts)]
        return lambda: Outcome(side.encode(batch))

    what = "the same question in every call" if size == 1 else "data/sentences.txt, one batch after the other"
    return Workload(
        f"a batch of {size}" if size > 1 else "one text",
        texts=size,
        tokens=tokens / rounds,
        facts={"of": what, "warm_ups": WARM_UPS},
        prepare=prepare,
        memory=lambda name: memory.of_side(name, suite.setting(), texts[0]),
        rounds=rounds,
        warm_ups=WARM_UPS,
    )


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("size", BATCHES)
@pytest.mark.benchmark(timer=CLOCK)
def test_latency(benchmark: BenchmarkFixture, suite: Suite, size: int, side: str) -> None:
    """One batch at a time by one side."""
    suite.row(benchmark, side, workload(suite, size), SIDES)


@pytest.mark.benchmark(timer=CLOCK)
def test_beside_the_run(benchmark: BenchmarkFixture, suite: Suite) -> None:
    """A call with one word: both sides run the same small ONNX file, one of them without anything around it."""
    model = Embedder(SMALL_MODEL, provider="cpu", threads=1, onnx_file=SMALL_GRAPH)
    session = baseline.session(SMALL_MODEL / SMALL_GRAPH, 1)
    ids = np.array([model.tokenize(["word"])["input_ids"][0]])
    every = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    feeds = {port.name: every[port.name] for port in session.get_inputs()}

    def run() -> NDArray[np.float32]:
        hidden: NDArray[np.float32] = session.run(None, feeds)[0]
        return hidden

    # The model takes the vector of the first token.
    cosine = smallest_cosine(OXEMBED, model.encode(["word"]), run()[:, 0])
    calls = {OXEMBED: lambda _: lambda: model.encode("word"), "run": lambda _: run}
    runs = in_turn(calls, suite.rounds or OVERHEAD_CALLS, WARM_UPS)
    pairs = zip(runs[OXEMBED].seconds, runs["run"].seconds, strict=True)
    benchmark.extra_info.update(
        workload={"texts": 1, "threads": 1, "of": "one word", "model": "tests/fixtures/bert-cls", "warm_ups": WARM_UPS},
        side=OXEMBED,
        microseconds_beside_the_run=summary([(own - other) * 1e6 for own, other in pairs]),
        smallest_cosine=cosine,
        **percentiles(runs[OXEMBED].seconds),
    )
    replay(benchmark, "beside the session's run", runs[OXEMBED].seconds)
