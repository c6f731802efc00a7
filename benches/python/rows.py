"""The rows of the suite: all sides of a workload measured in turn, and handed to pytest-benchmark one side a row.

pytest-benchmark measures one test after the other. Here all sides of a workload run in turn, in one go, when its first
row is asked for, and each row replays the times of its side through a clock that moves by them. So pytest-benchmark's
tables and files hold what was measured side by side, and a ratio is one of the same round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import sides
from corpora import MODEL_LIMIT, Corpus, corpus
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from record import summary
from sides import OXEMBED, Setting, Side
from timing import Runs, in_turn, percentiles, ratios

import oxembed
from oxembed.diagnosis import doctor


class Outcome(NamedTuple):
    """What one run of a side came to: its vectors, and what only some workloads have."""

    vectors: NDArray[np.float32]
    # Seconds of each call, where a run is many of them.
    waits: tuple[float, ...] = ()
    # The longest time in seconds for which the event loop did not run, where there is one.
    loop_delay: float | None = None


Prepare = Callable[[int], Callable[[], Outcome]]


class Workload(NamedTuple):
    """The same work for several sides."""

    name: str
    # Of one run; where the runs differ, their mean.
    texts: int
    tokens: float
    facts: Mapping[str, Any]
    # Makes a side ready for the run of this number.
    prepare: Callable[[str, int], Callable[[], Outcome]]
    memory: Callable[[str], dict[str, Any]]
    rounds: int
    warm_ups: int = 1
    # Seconds after which a side other than oxembed is in no more rounds.
    budget: float = math.inf


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


CLOCK = Clock()


class Suite:
    """The sides, loaded when they are asked for, and what was measured of each workload."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self.rounds: int | None = config.option.rounds
        self.limit: int | None = config.option.texts
        self.threads: int = config.option.threads or doctor().threads.used
        self.onnx: Path | None = config.option.onnx
        if self.onnx is not None and not self.onnx.is_file():
            raise pytest.UsageError(f"--onnx: there is no file {self.onnx}")
        self.folder = folder
        self.corpus = cache(self._corpus)
        self.side = cache(self._side)
        self.onnx_file = cache(self._onnx_file)
        self.measured: dict[str, dict[str, Runs[Outcome]]] = {}

    def _onnx_file(self) -> Path:
        if self.onnx is not None:
            return self.onnx.resolve()
        file = self.folder / "all-MiniLM-L6-v2.onnx"
        oxembed.export("all-MiniLM-L6-v2", file)
        return file

    def _corpus(self, name: str, max_tokens: int = MODEL_LIMIT) -> Corpus:
        return corpus(name, max_tokens, self.limit)

    def setting(self, max_tokens: int = MODEL_LIMIT) -> Setting:
        """What the sides have in common."""
        return Setting(self.onnx_file(), self.threads, max_tokens)

    def _side(self, name: str, max_tokens: int = MODEL_LIMIT) -> Side:
        """A side that has shown, on a few texts, that it runs the same model."""
        side = sides.load(name, self.setting(max_tokens))
        if name != OXEMBED:
            few = self.corpus("sentences.txt").texts[:16]
            sides.smallest_cosine(name, side.encode(few), self.side(OXEMBED, max_tokens).encode(few))
        return side

    def row(self, benchmark: BenchmarkFixture, name: str, workload: Workload, among: tuple[str, ...]) -> None:
        """The row of side `name` of a workload that the sides `among` have.

        Raises:
            WrongVectorsError: The side's vectors are not oxembed's.
        """
        if workload.name not in self.measured:
            ready: dict[str, Prepare] = {side: _prepared(workload, side) for side in among}
            rounds = self.rounds or workload.rounds
            self.measured[workload.name] = in_turn(ready, rounds, workload.warm_ups, workload.budget, {OXEMBED})
        runs = self.measured[workload.name]
        benchmark.extra_info.update(
            workload={
                "texts": workload.texts,
                "tokens": workload.tokens,
                "threads": self.threads,
                "onnx": "named by --onnx" if self.onnx else "written by oxembed's export",
                **workload.facts,
            },
            side=name,
            **figures(runs, name, workload),
            **workload.memory(name),
        )
        replay(benchmark, workload.name, runs[name].seconds)


def _prepared(workload: Workload, side: str) -> Prepare:
    return lambda number: workload.prepare(side, number)


def replay(benchmark: BenchmarkFixture, group: str, seconds: list[float]) -> None:
    """Tell pytest-benchmark the times of one side; the test must be marked to have `CLOCK` as its timer."""
    benchmark.group = group
    times = iter(seconds)

    def run() -> None:
        CLOCK.now += next(times)

    benchmark.pedantic(run, rounds=len(seconds))  # type: ignore[no-untyped-call]


def figures(runs: Mapping[str, Runs[Outcome]], name: str, workload: Workload) -> dict[str, Any]:
    """What a row says, from the runs of all sides."""
    own, times = runs[name], {side: run.seconds for side, run in runs.items()}
    waits = [wait for outcome in own.results for wait in outcome.waits]
    delays = [outcome.loop_delay * 1e3 for outcome in own.results if outcome.loop_delay is not None]
    # What is slow leaves the last rounds out.
    pairs = zip(own.results, runs[OXEMBED].results, strict=False)
    return {
        "texts_per_second": summary([workload.texts / seconds for seconds in own.seconds]),
        "tokens_per_second": summary([workload.tokens / seconds for seconds in own.seconds]),
        "milliseconds": summary([seconds * 1e3 for seconds in own.seconds]),
        **percentiles(waits or own.seconds),
        "timed_calls": len(waits or own.seconds),
        "cpu_seconds_per_1000_texts": summary([1e3 * cpu / workload.texts for cpu in own.processor_seconds]),
        "oxembed_is_faster_by": summary(ratios(times, OXEMBED, name)),
        "smallest_cosine": min(sides.smallest_cosine(name, one.vectors, other.vectors) for one, other in pairs),
        **({"longest_loop_delay_ms": summary(delays)} if delays else {}),
    }
