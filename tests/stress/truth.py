"""The right vectors, computed first, in a process of its own, each text alone and by one thread.

python tests/stress/truth.py SEED FILE.npz
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import texts
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

DTYPES = ("float32", "int8")
# Where a processor's float32 products depend on the size of the batch, vectors are as right as those of the fixtures.
TOLERANCE = 1e-5


class WrongVectorError(AssertionError):
    """A call gave another vector than the text has."""


@dataclass(frozen=True)
class Truth:
    """The texts of a run, their vectors by dtype, and how far another right vector may be from them."""

    texts: list[str]
    vectors: dict[str, NDArray[np.float32]]
    allowed: dict[str, float]

    @cached_property
    def many(self) -> list[str]:
        """Thousands of texts, no two of them equal, which would be computed once: what is interrupted is not done."""
        return [f"{turn} {text}" for turn in range(40) for text in self.texts]

    def check(self, dtype: str, numbers: Sequence[int], rows: NDArray[np.float32], what: str) -> None:
        """Compare the rows of a call with the vectors of the texts of these numbers; they may be cut short."""
        if len(rows) != len(numbers):
            raise WrongVectorError(f"{what}, {dtype}: {len(numbers)} texts gave {len(rows)} rows")
        expected = self.vectors[dtype][list(numbers)][:, : rows.shape[1]]
        allowed = self.allowed[dtype]
        same = np.array_equal(rows, expected) if allowed == 0 else bool((np.abs(rows - expected) <= allowed).all())
        if same:
            return
        distance = np.abs(rows - expected).max(axis=1)
        row = int(np.argmax(np.where(np.isnan(distance), np.inf, distance)))
        text = self.texts[numbers[row]]
        raise WrongVectorError(
            f"{what}, {dtype}: row {row} of {len(numbers)} is off by {distance[row]:.3g} (allowed: {allowed:.0e}); "
            f"{int((distance > allowed).sum())} rows are. The text is number {numbers[row]}: {text[:60]!r}"
        )


def read(file: Path, seed: int) -> Truth:
    """The vectors that `main` wrote for the texts of `seed`."""
    with np.load(file) as stored:
        vectors = {dtype: stored[dtype] for dtype in DTYPES}
        allowed = {dtype: float(stored[f"{dtype}_allowed"]) for dtype in DTYPES}
    return Truth(texts.make(seed), vectors, allowed)


def main() -> int:
    """Write the vectors of a seed's texts to a file."""
    from oxembed import Embedder

    seed, file = int(sys.argv[1]), Path(sys.argv[2])
    logging.getLogger("oxembed").setLevel(logging.ERROR)  # texts that are cut are meant to be
    known = texts.make(seed)
    stored: dict[str, NDArray[np.float32]] = {}
    for dtype in DTYPES:
        model = Embedder(dtype=dtype, provider="cpu", threads=1)
        alone = np.stack([model.encode(text) for text in known])
        together = Embedder(dtype=dtype, provider="cpu").encode(known)
        same = np.array_equal(alone, together)
        if not same and (dtype == "int8" or float(np.abs(alone - together).max()) > TOLERANCE):
            print(f"{dtype}: the vectors depend on the batch before anything was stressed", file=sys.stderr)
            return 1
        stored[dtype] = alone
        stored[f"{dtype}_allowed"] = np.float32(0 if same else TOLERANCE)  # type: ignore[assignment]
    np.savez(file, **stored)  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(main())
