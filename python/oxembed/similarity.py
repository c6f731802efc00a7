"""Similarity of vectors, by the four functions of sentence-transformers' `util`, and of packed binary ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from oxembed.exceptions import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["FUNCTIONS", "pairwise", "similarity"]

FUNCTIONS = ("cosine", "dot", "euclidean", "manhattan")
_BITS = np.array([number.bit_count() for number in range(256)], dtype=np.uint8)
_SMALLEST_NORM = 1e-12  # torch.nn.functional.normalize's: a zero vector has similarity 0 to everything
_BLOCK_ELEMENTS = 1 << 22


def similarity(a: ArrayLike, b: ArrayLike, function: str = "cosine") -> NDArray[np.float32]:
    """Similarity of every row of `a` to every row of `b`; larger is more alike.

    Agrees with `cos_sim`, `dot_score`, `euclidean_sim` and `manhattan_sim` of `sentence_transformers.util`: the cosine
    with a zero vector is 0, and distances are negated. `"hamming"` is the negated number of bits that differ, for the
    vectors of `precision="binary"` and `"ubinary"`.

    Args:
        a: Array of shape (n, dim), or (dim,) for one row; any number type but int8 and uint8, which are codes:
            `Calibration.dequantize` makes numbers of calibrated ones. For `"hamming"`, int8 or uint8.
        b: Array of shape (m, dim), or (dim,) for one row.
        function: `"cosine"`, `"dot"`, `"euclidean"`, `"manhattan"` or `"hamming"`.

    Returns:
        Array of shape (n, m), float32.

    Raises:
        InvalidInputError: Shapes that do not fit, codes in place of numbers, or an unknown function.
        TypeError: Something that is not an array of numbers.

    Example:
        >>> similarity([[1, 0], [0, 2]], [3, 0]).tolist()
        [[1.0], [0.0]]
    """
    if function == "hamming":
        return _hamming(*_packed(a, b))
    left, right = _rows(a, "a"), _rows(b, "b")
    if left.shape[1] != right.shape[1]:
        raise InvalidInputError(f"a has vectors of {left.shape[1]} numbers and b of {right.shape[1]}; they must agree")
    if function == "cosine":
        cosines: NDArray[np.float32] = _unit(left) @ _unit(right).T
        return cosines
    if function == "dot":
        return cast("NDArray[np.float32]", left @ right.T)
    if function == "euclidean":
        return _euclidean(left, right)
    if function == "manhattan":
        return _manhattan(left, right)
    raise _unknown(function)


def pairwise(a: ArrayLike, b: ArrayLike, function: str = "cosine") -> NDArray[np.float32]:
    """Similarity of each row of `a` to the row of `b` at the same place; larger is more alike.

    Agrees with `pairwise_cos_sim` and its siblings in `sentence_transformers.util`.

    Args:
        a: Array of shape (n, dim), or (dim,) for one row; of the types that `similarity` takes.
        b: Array of the same shape.
        function: `"cosine"`, `"dot"`, `"euclidean"`, `"manhattan"` or `"hamming"`.

    Returns:
        Array of shape (n,), float32.

    Raises:
        InvalidInputError: Shapes that differ, codes in place of numbers, or an unknown function.
        TypeError: Something that is not an array of numbers.

    Example:
        >>> pairwise([[1, 0], [0, 2]], [[3, 4], [0, 1]], "euclidean").tolist()
        [-4.4721360206604, -1.0]
    """
    if function == "hamming":
        packed_left, packed_right = _packed(a, b)
        _same_shape(packed_left, packed_right)
        return _minus_bits(packed_left ^ packed_right)
    left, right = _rows(a, "a"), _rows(b, "b")
    _same_shape(left, right)
    if function == "cosine":
        return cast("NDArray[np.float32]", (_unit(left) * _unit(right)).sum(axis=1))
    if function == "dot":
        return cast("NDArray[np.float32]", (left * right).sum(axis=1))
    difference = left - right
    if function == "euclidean":
        return cast("NDArray[np.float32]", -np.sqrt(np.square(difference).sum(axis=1)))
    if function == "manhattan":
        return cast("NDArray[np.float32]", -np.abs(difference).sum(axis=1))
    raise _unknown(function)


def _unknown(function: str) -> InvalidInputError:
    return InvalidInputError(
        f"similarity function {function!r} is not known; use one of: {', '.join((*FUNCTIONS, 'hamming'))}"
    )


def _array(values: ArrayLike, name: str) -> NDArray[Any]:
    """Any numbers, as rows."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InvalidInputError(f"{name} must be an array of vectors of one length: {error}") from error
    if array.dtype.kind not in "fiu" or array.dtype.itemsize == 0:
        raise TypeError(f"{name} must be an array of numbers, not of {array.dtype}; encode texts first")
    if array.ndim == 1:
        array = array[np.newaxis, :]
    if array.ndim != 2:
        raise InvalidInputError(f"{name} must have shape (n, dim) or (dim,), not {array.shape}")
    return array


def _rows(values: ArrayLike, name: str) -> NDArray[np.float32]:
    array = _array(values, name)
    if array.dtype.name in ("int8", "uint8"):
        raise InvalidInputError(
            f"{name} has dtype {array.dtype}, so it holds codes and not numbers. Of precision 'int8' and 'uint8', make "
            "numbers with Calibration.dequantize; compare those of 'binary' and 'ubinary' by "
            "oxembed.similarity.similarity(a, b, 'hamming'). If they are numbers, convert them: .astype('float32')"
        )
    return array.astype(np.float32, copy=False)


def _packed(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Packed bits of both; `"binary"` has one bit of every byte turned over, which makes no difference between two."""
    left, right = _array(a, "a"), _array(b, "b")
    kinds = {left.dtype.name, right.dtype.name}
    if len(kinds) != 1 or not kinds <= {"int8", "uint8"}:
        raise InvalidInputError(
            "'hamming' compares packed vectors, of precision 'binary' (int8) or 'ubinary' (uint8), both of the same; "
            f"a has dtype {left.dtype} and b has {right.dtype}"
        )
    if left.shape[1] != right.shape[1]:
        raise InvalidInputError(f"a has vectors of {left.shape[1]} bytes and b of {right.shape[1]}; they must agree")
    return left.view(np.uint8), right.view(np.uint8)


def _same_shape(left: NDArray[Any], right: NDArray[Any]) -> None:
    if left.shape != right.shape:
        raise InvalidInputError(f"a has shape {left.shape} and b has shape {right.shape}; they must be the same")


def _hamming(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
    result = np.empty((len(left), len(right)), dtype=np.float32)
    for index, row in enumerate(left):
        result[index] = _minus_bits(right ^ row)
    return result


def _minus_bits(rows: NDArray[np.uint8]) -> NDArray[np.float32]:
    minus: NDArray[np.float32] = -_BITS[rows].sum(axis=1, dtype=np.int64).astype(np.float32)
    return minus


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = rows / np.maximum(norms, np.float32(_SMALLEST_NORM))
    return unit


def _euclidean(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """By |a|² + |b|² - 2ab in float64, where the cancellation costs nothing that float32 could show."""
    result = np.empty((len(left), len(right)), dtype=np.float32)
    right64 = right.astype(np.float64)
    right_squares = np.square(right64).sum(axis=1)
    step = max(1, _BLOCK_ELEMENTS // max(1, len(right)))
    for start in range(0, len(left), step):
        block = left[start : start + step].astype(np.float64)
        squares = np.square(block).sum(axis=1)[:, np.newaxis] + right_squares - 2.0 * (block @ right64.T)
        result[start : start + step] = -np.sqrt(np.maximum(squares, 0.0))
    return result


def _manhattan(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    result = np.empty((len(left), len(right)), dtype=np.float32)
    for index, row in enumerate(left):
        result[index] = -np.abs(right - row).sum(axis=1)
    return result
