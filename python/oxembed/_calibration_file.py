"""The file of a `Calibration`: JSON with a version, the minima and the maxima."""

from __future__ import annotations

import json
import os
import reprlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from oxembed.exceptions import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FORMAT = "oxembed-calibration"
_VERSION = 1
_LARGEST_FILE = 64 << 20


class Content(NamedTuple):
    """What a file holds; the ranges have shape (2, dim), and their values are not checked yet."""

    ranges: NDArray[np.float64]
    normalized: bool | None
    vectors: int | None
    model: str | None


def write(
    path: str | os.PathLike[str],
    ranges: NDArray[np.float32],
    normalized: bool | None,
    vectors: int | None,
    model: str | None,
) -> None:
    """Write a file; it appears under its name only when it is complete.

    Raises:
        OSError: It cannot be written.
    """
    # `str` of a float32 is the shortest text that means it; json writes the `float` of that in the same digits.
    minimum, maximum = ([float(str(value)) for value in row] for row in ranges)
    values = {
        "format": _FORMAT,
        "version": _VERSION,
        "model": model,
        "vectors": vectors,
        "normalized": normalized,
        "dimension": len(minimum),
        "minimum": minimum,
        "maximum": maximum,
    }
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(f"{json.dumps(values, indent=1)}\n", encoding="utf-8", newline="\n")
        temporary.replace(target)
    except FileNotFoundError:
        raise FileNotFoundError(2, "its folder does not exist", os.fspath(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> Content:
    """Read a file.

    Raises:
        InvalidInputError: It cannot be read, or is not a calibration; names the file and what is wrong.
    """
    name = os.fspath(path)
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else None
        raise InvalidInputError(f"calibration {name} cannot be read: {reason or error}") from error
    if len(content) > _LARGEST_FILE:
        raise InvalidInputError(f"calibration {name} is larger than 64 MiB, which no calibration is")
    try:
        return _content(json.loads(content))
    except (InvalidInputError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInputError(
            f"{name} is not a calibration: {error}. Make one with `oxembed calibrate` or Embedder.calibrate"
        ) from error


def _content(values: object) -> Content:
    if not isinstance(values, dict) or cast("dict[str, object]", values).get("format") != _FORMAT:
        raise InvalidInputError(f'it has no "format": "{_FORMAT}"')
    found = cast("dict[str, object]", values)
    if found.get("version") != _VERSION:
        version = reprlib.repr(found.get("version"))
        raise InvalidInputError(f'"version" is {version}, and this oxembed reads version {_VERSION} only')
    rows: list[list[object]] = []
    for key in ("minimum", "maximum"):
        row = found.get(key)
        if not isinstance(row, list) or any(type(value) not in (int, float) for value in cast("list[object]", row)):
            raise InvalidInputError(f'"{key}" is not a list of numbers')
        rows.append(cast("list[object]", row))
    if not len(rows[0]) == len(rows[1]) == found.get("dimension"):
        dimension = reprlib.repr(found.get("dimension"))
        raise InvalidInputError(f'"dimension" is {dimension}, with {len(rows[0])} minima and {len(rows[1])} maxima')
    return Content(
        np.array(rows, dtype=np.float64),
        _optional(found, "normalized", bool),
        _optional(found, "vectors", int),
        _optional(found, "model", str),
    )


def _optional(found: dict[str, object], key: str, kind: type[Any]) -> Any:
    value = found.get(key)
    if value is not None and type(value) is not kind:
        raise InvalidInputError(f'"{key}" is {reprlib.repr(value)}, not of type {kind.__name__}')
    return value
