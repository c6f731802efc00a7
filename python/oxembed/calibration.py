"""Value ranges for the precisions `"int8"` and `"uint8"`: measured once, kept in a file, the same for every text."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from oxembed.exceptions import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["FILE_NAME", "Calibration"]

FILE_NAME = "calibration.json"
"""Name of the file that a model folder may have; it is used where no other calibration is given."""

_STEPS = 255
_MANY_VECTORS = 100  # fewer than these, and sentence-transformers warns


@final
@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """The smallest and the largest value of each dimension, between which 256 codes are laid out evenly.

    A code is `floor((value - minimum) / ((maximum - minimum) / 255))`, which `"uint8"` stores as it is and `"int8"`
    minus 128: the arithmetic of `sentence_transformers.quantize_embeddings`, bit for bit. A value outside the range
    gets the code of the nearer end (versions of sentence-transformers before 6 wrap around there). A dimension whose
    minimum is its maximum counts in steps of 1 from there.

    Attributes:
        ranges: Array of shape (2, dim), float32, read-only: minima and maxima, as sentence-transformers' `ranges`.
        normalized: Whether `normalize_embeddings=True` changed the vectors that were measured; `None` where unknown.
        vectors: How many vectors were measured; `None` where unknown.
        model: Name of the model they came from; `None` where unknown. For the reader; it is not checked.

    Raises:
        InvalidInputError: `ranges` of another shape, with a value that is not finite, or a minimum above its maximum.
        TypeError: `ranges` is not made of numbers.

    Example:
        >>> calibration = Calibration([[-1.0, 0.0], [1.0, 0.51]])
        >>> calibration.quantize([[-1.0, 0.51], [0.01, 9.0]], "uint8").tolist()
        [[0, 255], [128, 255]]
    """

    ranges: NDArray[np.float32]
    normalized: bool | None = None
    vectors: int | None = None
    model: str | None = None

    def __init__(
        self,
        ranges: ArrayLike,
        normalized: bool | None = None,
        vectors: int | None = None,
        model: str | None = None,
    ) -> None:
        """Check and copy; see the class."""
        object.__setattr__(self, "ranges", _checked(ranges))
        object.__setattr__(self, "normalized", normalized)
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "model", model)

    @classmethod
    def from_embeddings(cls, embeddings: ArrayLike, *, normalized: bool | None = None) -> Calibration:
        """Measure vectors that are there already: sentence-transformers' `calibration_embeddings`.

        Args:
            embeddings: Array of shape (n, dim), n at least 2; a thousand typical ones measure well.
            normalized: Whether they were made with `normalize_embeddings=True`, where that is known: then a call that
                differs is an error and not a row of meaningless codes.

        Raises:
            InvalidInputError: Fewer than two vectors, another shape, or a value that is not finite.
            TypeError: Not an array of numbers.

        Example:
            >>> Calibration.from_embeddings([[0.0, 3.0], [2.0, 1.0]]).ranges.tolist()
            [[0.0, 1.0], [2.0, 3.0]]
        """
        return cls.from_chunks([_floating(embeddings, "embeddings")], normalized=normalized)

    @classmethod
    def from_chunks(
        cls,
        chunks: Iterable[NDArray[np.floating[Any]]],
        *,
        normalized: bool | None = None,
        model: str | None = None,
    ) -> Calibration:
        """Measure vectors that come in arrays of shape (k, dim), such as those of `Embedder.encode_iter`.

        Args:
            chunks: The arrays; one is in memory at a time.
            normalized: As for `from_embeddings`.
            model: Name of the model they come from.

        Raises:
            InvalidInputError: As for `from_embeddings`.

        Example:
            >>> Calibration.from_chunks([np.zeros((1, 2)), np.ones((3, 2))]).vectors
            4
        """
        count = 0
        extent: NDArray[Any] | None = None
        for chunk in chunks:
            if chunk.ndim != 2:
                raise InvalidInputError(f"vectors to calibrate with have shape (n, dim), not {chunk.shape}")
            if len(chunk):
                found = np.stack([chunk.min(axis=0), chunk.max(axis=0)])
                extent = found if extent is None else _joined(extent, found)
                count += len(chunk)
        if extent is None or count < 2:
            raise InvalidInputError(
                f"a calibration needs two vectors at least, better a thousand typical ones; got {count}"
            )
        if count < _MANY_VECTORS:
            import logging

            logging.getLogger("oxembed").warning(
                "calibrated with %d vectors: their range is likely to be too narrow for others; take a thousand", count
            )
        return cls(extent, normalized, count, model)

    @property
    def dimension(self) -> int:
        """Length of the vectors that were measured."""
        return int(self.ranges.shape[1])

    def truncate(self, dimension: int) -> Calibration:
        """The calibration of only the leading dimensions, for vectors that are cut and not normalized after that.

        Raises:
            InvalidInputError: More dimensions than there are, or vectors that were normalized: normalizing after the
                cut scales them by another factor each, so the ranges have to be measured on the cut vectors.

        Example:
            >>> Calibration([[0, 0, 0], [1, 2, 3]]).truncate(2).ranges.tolist()
            [[0.0, 0.0], [1.0, 2.0]]
        """
        if dimension == self.dimension:
            return self
        if not 0 < dimension < self.dimension:
            raise InvalidInputError(
                f"the calibration has {self.dimension} dimensions, and vectors of {dimension} were asked for; "
                "make one for this model and these options, with Embedder.calibrate or `oxembed calibrate`"
            )
        if self.normalized:
            raise InvalidInputError(
                f"a calibration of {self.dimension} dimensions with normalize_embeddings=True cannot be cut to "
                f"{dimension}: the cut vectors have other lengths. Make one with truncate_dim={dimension}"
            )
        return Calibration(self.ranges[:, :dimension], self.normalized, self.vectors, self.model)

    def quantize(self, embeddings: ArrayLike, precision: str) -> NDArray[Any]:
        """Turn float vectors into codes, each number for itself.

        Args:
            embeddings: Array of shape (n, dim) or (dim,).
            precision: `"int8"` or `"uint8"`.

        Returns:
            Array of the same shape, int8 or uint8.

        Raises:
            InvalidInputError: Another dimension, a value that is not finite, or an unknown precision.
            TypeError: Not an array of numbers.

        Example:
            >>> Calibration([[0.0], [255.0]]).quantize([[0.0], [3.9], [300.0]], "int8").tolist()
            [[-128], [-125], [127]]
        """
        if precision not in ("int8", "uint8"):
            raise InvalidInputError(f"a calibration is for 'int8' and 'uint8', not for {precision!r}")
        codes = self._codes(embeddings)
        np.clip(codes, 0, _STEPS, out=codes)
        if precision == "uint8":
            return codes.astype(np.uint8)
        codes -= 128
        return codes.astype(np.int8)

    def outside(self, embeddings: ArrayLike) -> float:
        """Share of the numbers of `embeddings` that lie outside the ranges: 0.0 to 1.0, 0.0 for no vectors.

        Useful for judging a calibration: for texts like those it was made with, this is below 0.01.

        Example:
            >>> Calibration([[0.0], [10.0]]).outside([[5.0], [10.0], [-3.0], [11.0]])
            0.5
        """
        codes = self._codes(embeddings)
        return float(np.count_nonzero((codes < 0) | (codes > _STEPS)) / max(1, codes.size))

    def dequantize(self, codes: ArrayLike) -> NDArray[np.float32]:
        """Turn codes back into vectors, to compare them with others or with float vectors.

        Each number is the middle of its code's interval, so it is off by half a step at most where the value was in the
        range.

        Args:
            codes: Array of shape (n, dim) or (dim,) and dtype int8 or uint8, as `quantize` and `encode` give it.

        Returns:
            Array of the same shape, float32.

        Raises:
            InvalidInputError: Another dtype or dimension.

        Example:
            >>> Calibration([[0.0], [255.0]]).dequantize(np.array([[-128], [-125]], np.int8)).tolist()
            [[0.5], [3.5]]
        """
        array = np.asarray(codes)
        if array.dtype.name not in ("int8", "uint8"):
            raise InvalidInputError(f"codes have dtype int8 or uint8, not {array.dtype}")
        self._check_dimension(array)
        positions = array.astype(np.float64)
        positions += 128.5 if array.dtype.kind == "i" else 0.5
        minimum, maximum = self.ranges.astype(np.float64)
        vectors: NDArray[np.float32] = (positions * ((maximum - minimum) / _STEPS) + minimum).astype(np.float32)
        return vectors

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file; in a model folder, name it `calibration.json`.

        Raises:
            OSError: The file cannot be written.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     Calibration([[0, 0], [1, 2]]).save(f"{folder}/calibration.json")
            ...     Calibration.load(f"{folder}/calibration.json").ranges.tolist()
            [[0.0, 0.0], [1.0, 2.0]]
        """
        from oxembed import _calibration_file  # not at the top: few programs need it

        _calibration_file.write(path, self.ranges, self.normalized, self.vectors, self.model)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read what `save` wrote. Nothing in the file is executed or unpickled.

        Raises:
            InvalidInputError: The file cannot be read, or is not a calibration; names the file and what is wrong.

        Example:
            >>> Calibration.load("none.json")
            Traceback (most recent call last):
            oxembed.exceptions.InvalidInputError: calibration none.json cannot be read: No such file or directory
        """
        from oxembed import _calibration_file

        content = _calibration_file.read(path)
        try:
            return cls(content.ranges, content.normalized, content.vectors, content.model)
        except InvalidInputError as error:
            raise InvalidInputError(f"{os.fspath(path)} is not a calibration: {error}") from error

    def _codes(self, embeddings: ArrayLike) -> NDArray[Any]:
        """Codes before they are held to 0 and 255, by the very operations of sentence-transformers."""
        array = _floating(embeddings, "embeddings")
        self._check_dimension(array)
        if not np.isfinite(array).all():
            raise InvalidInputError("embeddings have a value that is not finite (NaN or infinity)")
        starts = self.ranges[0]
        steps = (self.ranges[1] - starts) / np.float32(_STEPS)
        steps = np.where(steps == 0, np.float32(1), steps)
        codes: NDArray[Any] = np.subtract(array, starts)
        with np.errstate(over="ignore"):  # infinity is far outside, as it should be
            codes /= steps
        np.floor(codes, out=codes)
        return codes

    def _check_dimension(self, array: NDArray[Any]) -> None:
        if array.ndim not in (1, 2) or array.shape[-1] != self.dimension:
            raise InvalidInputError(
                f"the calibration is for vectors of {self.dimension} numbers, and these have shape {array.shape}"
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Calibration):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple[type[Calibration], tuple[object, ...]]:
        return Calibration, (self.ranges, self.normalized, self.vectors, self.model)

    def __repr__(self) -> str:
        return (
            f"Calibration(dimension={self.dimension}, normalized={self.normalized}, vectors={self.vectors}, "
            f"model={self.model!r})"
        )

    def _key(self) -> tuple[object, ...]:
        return self.ranges.shape, self.ranges.tobytes(), self.normalized, self.vectors, self.model


def _floating(values: ArrayLike, name: str) -> NDArray[Any]:
    """Vectors as an array of floating point numbers, in their own width."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InvalidInputError(f"{name} must be an array of vectors of one length: {error}") from error
    if array.dtype.kind not in "fiu" or array.dtype.name in ("int8", "uint8"):
        raise TypeError(f"{name} must be an array of floating point numbers, not of {array.dtype}")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _checked(ranges: ArrayLike) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        array: NDArray[np.float32] = _floating(ranges, "ranges").astype(np.float32)
        if array.ndim != 2 or array.shape[0] != 2 or array.shape[1] == 0:
            raise InvalidInputError(f"ranges have shape (2, dim), minima and maxima, not {array.shape}")
        bad = ~np.isfinite(array).all(axis=0) | ~np.isfinite(array[1] - array[0])
    if bad.any():
        raise InvalidInputError(f"ranges of dimension {int(bad.argmax())} are not finite: {array[:, bad.argmax()]}")
    crossed = array[0] > array[1]
    if crossed.any():
        at = int(crossed.argmax())
        raise InvalidInputError(f"ranges of dimension {at} are crossed: from {array[0, at]} to {array[1, at]}")
    array.setflags(write=False)
    return array


def _joined(extent: NDArray[Any], found: NDArray[Any]) -> NDArray[Any]:
    if extent.shape != found.shape:
        raise InvalidInputError(
            f"vectors of {extent.shape[1]} and of {found.shape[1]} numbers cannot be one calibration"
        )
    return np.stack([np.minimum(extent[0], found[0]), np.maximum(extent[1], found[1])])
