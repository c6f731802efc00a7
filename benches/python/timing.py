"""Times of several programs that do the same, in turn, so that what slows the machine down slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np

Times = dict[str, list[float]]


def interleaved(sides: Mapping[str, Callable[[], object]], rounds: int, warm_ups: int = 1) -> Times:
    """Seconds of each side, one after the other in every round, after `warm_ups` rounds that do not count."""
    times: Times = {name: [] for name in sides}
    for number in range(-warm_ups, rounds):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            seconds = time.perf_counter() - start
            if number >= 0:
                times[name].append(seconds)
    return times


def ratio(times: Times, name: str, against: str) -> float:
    """Median over the rounds of how much faster `name` was than `against` in the same round."""
    return statistics.median(other / own for own, other in zip(times[name], times[against], strict=True))


def percentiles(seconds: list[float]) -> dict[str, float]:
    """The median and the times that 95% and 99% of the runs kept to, in milliseconds, interpolated as numpy does."""
    return {f"p{share}_ms": float(np.percentile(seconds, share)) * 1e3 for share in (50, 95, 99)}
