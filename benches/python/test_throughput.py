"""Texts a second over whole corpora: short texts, a long tail of lengths, long documents."""

from __future__ import annotations

from typing import Any, NamedTuple

import memory
import pytest
from corpora import ALL_POSITIONS, MODEL_LIMIT
from pytest_benchmark.fixture import BenchmarkFixture
from rows import CLOCK, Outcome, Suite, Workload
from sides import SIDES

# Enough for the largest batches of every side, which is what the peak depends on.
MEMORY_TEXTS = 400
# Seconds of a side's rounds: the naive program would take half of the time of all sides.
BUDGET = 15


class Work(NamedTuple):
    """A corpus, and how often it is embedded."""

    name: str
    file: str
    max_tokens: int
    rounds: int


CORPORA = (
    Work("2,000 short texts", "short_texts.txt", MODEL_LIMIT, 5),
    Work("2,000 texts with a long tail", "long_tailed.txt", MODEL_LIMIT, 3),
    Work("100 long documents", "long.txt", ALL_POSITIONS, 3),
)


def workload(suite: Suite, work: Work) -> Workload:
    """One call with the whole corpus."""
    corpus = suite.corpus(work.file, work.max_tokens)

    def prepare(name: str, _: int) -> Any:
        side = suite.side(name, work.max_tokens)
        return lambda: Outcome(side.encode(corpus.texts))

    return Workload(
        work.name,
        texts=len(corpus.texts),
        tokens=corpus.tokens,
        facts=corpus.facts(),
        prepare=prepare,
        memory=lambda name: memory.of_side(name, suite.setting(work.max_tokens), corpus.texts[:MEMORY_TEXTS]),
        rounds=work.rounds,
        # The sides have run before, on a few texts; a whole corpus more would cost as much as a round.
        warm_ups=0,
        budget=BUDGET,
    )


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("work", CORPORA, ids=lambda work: work.file)
@pytest.mark.benchmark(timer=CLOCK)
def test_throughput(benchmark: BenchmarkFixture, suite: Suite, work: Work, side: str) -> None:
    """A corpus by one side."""
    suite.row(benchmark, side, workload(suite, work), SIDES)
