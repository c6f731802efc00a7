"""Numbers that were measured several times."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Figure:
    """A time or a rate.

    Attributes:
        median: Of the rounds.
        spread: Interquartile range over the median.
        rounds: How many there were.
    """

    median: float
    spread: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """Of the values of the rounds.

        Example:
            >>> Figure.of([1.0, 2.0, 4.0, 3.0, 5.0])
            Figure(median=3.0, spread=0.6666666666666666, rounds=5)
        """
        median = statistics.median(values)
        low, high = np.quantile(values, [0.25, 0.75])
        return cls(median, float(high - low) / abs(median) if median else 0.0, len(values))

    def as_dict(self) -> dict[str, float | int]:
        """For `json.dumps`."""
        return asdict(self)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies.

    Example:
        >>> quantile([3.0, 1.0, 2.0], 0.5)
        2.0
    """
    return float(np.quantile(values, share))
