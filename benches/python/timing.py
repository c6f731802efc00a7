"""Times of several programs that do the same, in turn, so that what slows the machine down slows all of them."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

Times = dict[str, list[float]]
Result = TypeVar("Result")
Side = TypeVar("Side")


@dataclass
class Runs(Generic[Result]):
    """What a side took in each round, and what came of it."""

    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)


def in_rounds(
    sides: Sequence[Side], rounds: int, has_enough: Callable[[Side], bool], warm_ups: int = 0
) -> Iterator[tuple[int, Iterator[Side]]]:
    """The number of each round, those that do not count below zero, with the sides in the order of their turns.

    Every round begins with another side, so that none always follows the same one. Who `has_enough` when its turn comes
    has none.
    """
    for number in range(-warm_ups, rounds):
        first = number % len(sides)
        yield number, (side for side in (*sides[first:], *sides[:first]) if not has_enough(side))


def in_turn(
    sides: Mapping[str, Callable[[int], Callable[[], Result]]],
    rounds: int,
    warm_ups: int = 1,
    budget: float = math.inf,
    always: Collection[str] = (),
) -> dict[str, Runs[Result]]:
    """Runs of each side, one after the other in every round, after `warm_ups` rounds that do not count.

    A side is given the number of the round and makes ready, which is not timed; what it returns is called, which is.
    A side whose rounds have taken more than `budget` seconds is in no more of them, but for those in `always`, with
    which the others are compared.
    """
    runs: dict[str, Runs[Result]] = {name: Runs() for name in sides}

    def has_enough(name: str) -> bool:
        return name not in always and sum(runs[name].seconds) > budget

    for number, turns in in_rounds(list(sides), rounds, has_enough, warm_ups):
        for name in turns:
            call = sides[name](number)
            processor, start = time.process_time(), time.perf_counter()
            result = call()
            seconds, processor_seconds = time.perf_counter() - start, time.process_time() - processor
            if number >= 0:
                runs[name].seconds.append(seconds)
                runs[name].processor_seconds.append(processor_seconds)
                runs[name].results.append(result)
    return runs


def interleaved(sides: Mapping[str, Callable[[], object]], rounds: int, warm_ups: int = 1) -> Times:
    """Seconds of each side, as `in_turn` runs them; nothing is kept of what they return."""

    def silent(side: Callable[[], object]) -> Callable[[int], Callable[[], None]]:
        def call() -> None:
            side()

        return lambda _: call

    runs = in_turn({name: silent(side) for name, side in sides.items()}, rounds, warm_ups)
    return {name: run.seconds for name, run in runs.items()}


def ratios(times: Times, name: str, against: str) -> list[float]:
    """How much faster `name` was than `against` in each round that both were in: the first ones."""
    return [other / own for own, other in zip(times[name], times[against], strict=False)]


def ratio(times: Times, name: str, against: str) -> float:
    """Median over the rounds of how much faster `name` was than `against` in the same round."""
    return statistics.median(ratios(times, name, against))


def percentiles(seconds: list[float]) -> dict[str, float]:
    """The median and the times that 95% and 99% of the runs kept to, in milliseconds, interpolated as numpy does."""
    return {f"p{share}_ms": float(np.percentile(seconds, share)) * 1e3 for share in (50, 95, 99)}
