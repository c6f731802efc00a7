"""Vectors, and the codes that sentence-transformers 6.2 computed for them, in quantized.npz.

python -m reference.quantization       write it again, with sentence-transformers installed
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
STORED = Path(__file__).with_name("quantized.npz")
PRECISIONS = ("int8", "uint8", "binary", "ubinary")


def load() -> dict[str, Array]:
    """The arrays of quantized.npz."""
    with np.load(STORED) as stored:
        return {name: stored[name] for name in stored.files}


def make() -> dict[str, Array]:
    """Vectors wider in some dimensions than those to calibrate with, one dimension constant, one all but constant."""
    random = np.random.RandomState(7)
    embeddings = (random.standard_normal((48, 19)) * random.uniform(0.01, 3, 19)).astype(np.float32)
    calibration = (random.standard_normal((200, 19)) * random.uniform(0.01, 2, 19)).astype(np.float32)
    embeddings[:, 5] = calibration[:, 5] = 0.25
    embeddings[3], embeddings[4] = 0.0, -0.0
    calibration[:, 6] *= 1e-30
    return {"embeddings": embeddings, "calibration_embeddings": calibration}


def compute() -> dict[str, Array]:
    """Those, with their codes by the installed sentence-transformers."""
    quantize = importlib.import_module("sentence_transformers").quantize_embeddings
    arrays = make()
    embeddings, calibration = arrays["embeddings"], arrays["calibration_embeddings"]
    ranges = np.vstack((calibration.min(axis=0), calibration.max(axis=0)))
    own = np.vstack((embeddings.min(axis=0), embeddings.max(axis=0)))
    for precision in PRECISIONS:
        arrays[precision] = quantize(embeddings, precision, ranges=ranges)
        arrays[f"{precision}_own"] = quantize(embeddings, precision, ranges=own)
        arrays[f"{precision}_float64"] = quantize(embeddings.astype(np.float64) * 1.0000001, precision, ranges=ranges)
    return arrays


if __name__ == "__main__":
    np.savez_compressed(STORED, **compute())  # type: ignore[arg-type]
