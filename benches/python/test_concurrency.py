"""Many callers at once: threads that each embed one text at a time, and tasks of an event loop that do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import memory
import numpy as np
import pytest
from corpora import Corpus
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from rows import CLOCK, Outcome, Suite, Workload
from sides import SIDES, Side

from oxembed import Embedder

Vectors = NDArray[np.float32]
# Threads, and how many texts they embed together.
CROWDS = {2: 256, 8: 256, 64: 256, 1000: 1000}
TASKS = 64
TASK_TEXTS = 256
CALL_TEXTS = 500
ROUNDS = 5
ROUNDS_OF_THE_LARGEST = 3
TICK = 0.001
# What is measured with a loop: no more than one Python side, as both are behind the same threads.
LOOP_SIDES = SIDES[:3]


def crowd(side: Side, texts: list[str], callers: int) -> Callable[[], Outcome]:
    """Threads that wait for a sign to embed their share of `texts`, one by one; what is returned gives it."""
    vectors: list[Vectors] = [np.empty(0, dtype=np.float32)] * len(texts)
    waits = [0.0] * len(texts)
    barrier = threading.Barrier(callers + 1)

    def work(first: int) -> None:
        barrier.wait()
        for place in range(first, len(texts), callers):
            start = time.perf_counter()
            vectors[place] = side.encode([texts[place]])[0]
            waits[place] = time.perf_counter() - start

    pool = ThreadPoolExecutor(callers)
    # None of the threads is free before the sign, so each of them has one share.
    shares = [pool.submit(work, first) for first in range(callers)]

    def call() -> Outcome:
        barrier.wait()
        for share in shares:
            share.result()
        pool.shutdown()
        return Outcome(np.stack(vectors), tuple(waits))

    return call


def tasks(encode: Callable[[list[str]], Awaitable[Vectors]], batches: list[list[str]], callers: int) -> Outcome:
    """`callers` tasks of one event loop that embed their share of `batches`, while another watches the loop."""
    vectors: list[Vectors] = [np.empty(0, dtype=np.float32)] * len(batches)
    waits = [0.0] * len(batches)

    async def work(first: int) -> None:
        for place in range(first, len(batches), callers):
            start = time.perf_counter()
            vectors[place] = await encode(batches[place])
            waits[place] = time.perf_counter() - start

    async def measure() -> float:
        work_done = asyncio.gather(*(work(first) for first in range(callers)))
        longest = 0.0
        while not work_done.done():
            start = time.perf_counter()
            await asyncio.sleep(TICK)
            longest = max(longest, time.perf_counter() - start - TICK)
        await work_done
        return longest

    delay = asyncio.run(measure())
    return Outcome(np.concatenate(vectors), tuple(waits), delay)


def encoder(side: Side) -> Callable[[list[str]], Awaitable[Vectors]]:
    """What awaits a side: `aencode`, or the side's `encode` in the event loop's own threads."""
    if isinstance(side, Embedder):
        return side.aencode
    return lambda texts: asyncio.to_thread(side.encode, texts)


def as_workload(
    name: str, corpus: Corpus, count: int, rounds: int, prepare: Callable[[str, int], Callable[[], Outcome]]
) -> Workload:
    """The first `count` texts of a corpus, however they are called."""
    return Workload(
        name,
        texts=len(corpus.texts[:count]),
        tokens=sum(corpus.lengths[:count]),
        facts={"of": f"the first texts of {corpus.facts()['file']}"},
        prepare=prepare,
        memory=lambda side: memory.added_by(prepare(side, 0)),
        rounds=rounds,
    )


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("callers", CROWDS)
@pytest.mark.benchmark(timer=CLOCK)
def test_threads(benchmark: BenchmarkFixture, suite: Suite, callers: int, side: str) -> None:
    """Threads that begin at the same moment."""
    corpus, count = suite.corpus("sentences.txt"), CROWDS[callers]
    few = min(callers, len(corpus.texts))

    def prepare(name: str, _: int) -> Callable[[], Outcome]:
        return crowd(suite.side(name), corpus.texts[:count], few)

    rounds = ROUNDS if callers < 1000 else ROUNDS_OF_THE_LARGEST
    suite.row(benchmark, side, as_workload(f"{callers:,} threads", corpus, count, rounds, prepare), SIDES)


@pytest.mark.parametrize("side", LOOP_SIDES)
@pytest.mark.benchmark(timer=CLOCK)
def test_tasks(benchmark: BenchmarkFixture, suite: Suite, side: str) -> None:
    """Tasks of an event loop that each await one text at a time."""
    corpus = suite.corpus("sentences.txt")
    batches = [[text] for text in corpus.texts[:TASK_TEXTS]]

    def prepare(name: str, _: int) -> Callable[[], Outcome]:
        encode = encoder(suite.side(name))
        return lambda: tasks(encode, batches, TASKS)

    workload = as_workload(f"aencode, {TASKS} tasks", corpus, TASK_TEXTS, ROUNDS, prepare)
    suite.row(benchmark, side, workload, LOOP_SIDES)


@pytest.mark.parametrize("side", LOOP_SIDES)
@pytest.mark.benchmark(timer=CLOCK)
def test_one_long_call(benchmark: BenchmarkFixture, suite: Suite, side: str) -> None:
    """An event loop that awaits many texts in one call: how long does it stand still?"""
    corpus = suite.corpus("sentences.txt")

    def prepare(name: str, _: int) -> Callable[[], Outcome]:
        encode = encoder(suite.side(name))
        return lambda: tasks(encode, [corpus.texts[:CALL_TEXTS]], 1)

    name = f"aencode, one call of {CALL_TEXTS} texts"
    suite.row(benchmark, side, as_workload(name, corpus, CALL_TEXTS, ROUNDS_OF_THE_LARGEST, prepare), LOOP_SIDES)
