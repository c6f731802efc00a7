"""The programs that the suite compares, each by name: oxembed, and pure Python over onnxruntime.

A side is loaded without importing what only the others need, so that a process can hold one of them alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "all-MiniLM-L6-v2"

OXEMBED = "oxembed"
INT8 = "oxembed int8"
BEST = "onnxruntime at its best"
NAIVE = "onnxruntime naive"
SIDES = (OXEMBED, INT8, BEST, NAIVE)
# float32 differs by rounding and by the weights' format; int8 by what docs/int8.md says.
LEAST_COSINE = {OXEMBED: 0.999, INT8: 0.98, BEST: 0.999, NAIVE: 0.999}


class Side(Protocol):
    """What can embed."""

    def encode(self, texts: list[str], /) -> NDArray[np.float32]:
        """Rows of `texts`, in order."""
        ...


class Setting(NamedTuple):
    """What all sides of a comparison have in common."""

    onnx: Path
    threads: int
    max_tokens: int


class WrongVectorsError(Exception):
    """A side's vectors are not oxembed's: how fast it is does not matter."""


def load(name: str, setting: Setting) -> Side:
    """The side of this name."""
    if name in (OXEMBED, INT8):
        from oxembed import Embedder

        side: Any = Embedder(
            MODEL,
            provider="cpu",
            threads=setting.threads,
            max_seq_length=setting.max_tokens,
            dtype="int8" if name == INT8 else "float32",
        )
    else:
        import baseline

        program = baseline.Best if name == BEST else baseline.Usual
        side = program(MODEL, setting.onnx, setting.threads, max_tokens=setting.max_tokens)
    checked: Side = side
    return checked


def smallest_cosine(name: str, found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The smallest cosine of a row of `found` to that row of `expected`, oxembed's.

    Raises:
        WrongVectorsError: It is below what the side's number format explains, or is no number.
    """
    if found.shape != expected.shape:
        raise WrongVectorsError(f"{name}: vectors of shape {found.shape}, oxembed's have {expected.shape}")
    one, other = found.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    smallest = float(((one * other).sum(-1) / norms).min())
    if not smallest >= LEAST_COSINE[name]:
        raise WrongVectorsError(
            f"{name}: the smallest cosine to oxembed's vectors is {smallest:.6f}, below {LEAST_COSINE[name]}: it does "
            "not run the same model, and its times are worth nothing"
        )
    return smallest
