"""Smaller number formats of finished vectors, laid out as sentence-transformers does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oxembed.exceptions import InvalidInputError


def convert(embeddings: NDArray[np.float32], precision: str) -> NDArray[Any]:
    """Convert (n, dim) float32 vectors, row by row and with no regard to the other rows.

    `"float32"` returns them as they are, `"float16"` rounds, `"ubinary"` packs one sign bit a dimension into uint8
    (first dimension in the highest bit, 1 for a positive value; a last incomplete byte is filled with zeros), and
    `"binary"` is the same minus 128 as int8.

    Raises:
        InvalidInputError: A value beyond float16's range (65,504).
    """
    if precision == "float32":
        return embeddings
    if precision == "float16":
        try:
            with np.errstate(over="raise"):
                return embeddings.astype(np.float16)
        except FloatingPointError:
            raise InvalidInputError(
                "precision='float16' cannot hold these vectors: a value is beyond 65,504. "
                "Pass normalize_embeddings=True, or use precision='float32'"
            ) from None
    packed = np.packbits(embeddings > 0, axis=1)
    return packed if precision == "ubinary" else (packed ^ np.uint8(128)).view(np.int8)
