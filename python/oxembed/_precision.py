"""Smaller number formats of finished vectors, laid out as sentence-transformers does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from oxembed.exceptions import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from oxembed.calibration import Calibration

# An unusual text alone comes to a tenth; ranges of another model or another scale, to half and more.
_MUCH_OUTSIDE = 0.25


class Conversion:
    """Turns the float32 rows of one call into what it asked for, row by row and with no regard to the other rows."""

    __slots__ = ("_calibration", "_outside", "_precision", "_values")

    def __init__(self, precision: str, calibration: Calibration | None = None) -> None:
        self._precision = precision
        self._calibration = calibration
        self._values = 0
        self._outside = 0.0

    def __call__(self, embeddings: NDArray[np.float32]) -> NDArray[Any]:
        """Convert (n, dim) vectors."""
        if self._calibration is not None:
            self._values += embeddings.size
            self._outside += self._calibration.outside(embeddings) * embeddings.size
        return convert(embeddings, self._precision, self._calibration)

    def warn(self) -> None:
        """Log when the calibration does not fit what was converted."""
        if self._outside > _MUCH_OUTSIDE * self._values:
            import logging

            logging.getLogger("oxembed").warning(
                "%.0f%% of the numbers are outside the ranges of the calibration and were set to the nearer end; "
                "calibrate with texts like these, the same model, prompt and options",
                100 * self._outside / self._values,
            )


def convert(
    embeddings: NDArray[np.floating[Any]], precision: str, calibration: Calibration | None = None
) -> NDArray[Any]:
    """Convert float vectors of shape (n, dim) or (dim,), each for itself.

    `"float32"` returns float32 vectors as they are, `"float16"` rounds, `"ubinary"` packs one sign bit a dimension into
    uint8 (first dimension in the highest bit, 1 for a positive value; a last incomplete byte is filled with zeros), and
    `"binary"` is the same minus 128 as int8. `"int8"` and `"uint8"` are codes of `calibration`, which they need.

    Raises:
        InvalidInputError: A value beyond float16's range (65,504), or no calibration where one is needed.
    """
    if precision == "float32":
        return embeddings.astype(np.float32, copy=False)
    if precision == "float16":
        try:
            with np.errstate(over="raise"):
                return embeddings.astype(np.float16)
        except FloatingPointError:
            raise InvalidInputError(
                "precision='float16' cannot hold these vectors: a value is beyond 65,504. "
                "Pass normalize_embeddings=True, or use precision='float32'"
            ) from None
    if precision in ("int8", "uint8"):
        if calibration is None:
            raise InvalidInputError(f"precision={precision!r} needs calibrated ranges; pass a Calibration")
        return calibration.quantize(embeddings, precision)
    packed = np.packbits(embeddings > 0, axis=-1)
    return packed if precision == "ubinary" else (packed ^ np.uint8(128)).view(np.int8)
