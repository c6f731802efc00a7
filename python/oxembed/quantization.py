"""Number formats for vectors that are there already, by the function of sentence-transformers' `util`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from oxembed._options import Precision, check_precision
from oxembed._precision import convert
from oxembed.calibration import Calibration
from oxembed.exceptions import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["quantize_embeddings"]


def quantize_embeddings(
    embeddings: ArrayLike,
    precision: Precision,
    ranges: ArrayLike | None = None,
    calibration_embeddings: ArrayLike | None = None,
    *,
    calibration: Calibration | None = None,
) -> NDArray[Any]:
    """Convert float vectors to another precision: what `encode(precision=...)` does, for vectors from elsewhere.

    Agrees with `sentence_transformers.quantize_embeddings`, with one difference: `"int8"` and `"uint8"` never take
    their ranges from `embeddings` themselves, because the same vector would then get other codes in other company.

    Args:
        embeddings: Array of shape (n, dim) or (dim,), floating point.
        precision: `"float32"`, `"float16"`, `"int8"`, `"uint8"`, `"binary"` or `"ubinary"`.
        ranges: For `"int8"` and `"uint8"`: minima and maxima of each dimension, shape (2, dim).
        calibration_embeddings: In place of `ranges`: vectors to measure, shape (m, dim).
        calibration: In place of both: a `Calibration`.

    Returns:
        Array of shape (n, dim) or (dim,); for the binary ones, the last axis is dim / 8 bytes, rounded up.

    Raises:
        InvalidInputError: No ranges where they are needed, ranges given twice or where they have no meaning, shapes
            that do not fit, a value that is not finite, or an unknown precision.
        TypeError: Not an array of floating point numbers.

    Example:
        >>> quantize_embeddings([[0.5, -1.0]], "uint8", ranges=[[-1, -1], [1, 1]]).tolist()
        [[191, 0]]
    """
    check_precision("precision", precision)
    array = np.asarray(embeddings)
    if array.dtype.kind != "f":
        raise TypeError(f"embeddings must be an array of floating point numbers, not of {array.dtype}")
    if array.ndim not in (1, 2):
        raise InvalidInputError(f"embeddings have shape (n, dim) or (dim,), not {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidInputError("embeddings have a value that is not finite (NaN or infinity)")
    given = [value for value in (ranges, calibration_embeddings, calibration) if value is not None]
    if precision not in ("int8", "uint8"):
        if given:
            raise InvalidInputError(f"precision={precision!r} has no ranges; they are for 'int8' and 'uint8'")
        return convert(array, precision)
    if len(given) != 1:
        raise InvalidInputError(
            f"precision={precision!r} needs exactly one of ranges, calibration_embeddings and calibration, got "
            f"{len(given)}; ranges are never taken from the vectors that are converted"
        )
    if ranges is not None:
        calibration = Calibration(ranges)
    elif calibration_embeddings is not None:
        calibration = Calibration.from_embeddings(calibration_embeddings)
    return convert(array, precision, calibration)
