"""Files of vectors, written row by row; a file appears under its name only when it is complete."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES = (".npy", ".jsonl", ".csv")


class Writer(Protocol):
    """Takes texts with their vectors."""

    def write(self, texts: Sequence[str], vectors: NDArray[Any]) -> None:
        """Write rows: n texts, and an array of shape (n, dim)."""

    def finish(self) -> None:
        """Write what comes after the last row."""


class JsonLines:
    """One object a line, UTF-8."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._index = 0

    def write(self, texts: Sequence[str], vectors: NDArray[Any]) -> None:
        """Write rows."""
        for text, row in zip(texts, vectors, strict=True):
            head = f'{{"index": {self._index}, "text": {json.dumps(text, ensure_ascii=False)}, "embedding": ['
            self._stream.write(f"{head}{', '.join(numbers(row))}]}}\n".encode())
            self._index += 1
        self._stream.flush()

    def finish(self) -> None:
        """Hand over what is buffered."""
        self._stream.flush()


class Csv:
    """Columns index, text, 0, 1, 2, …; RFC 4180 quoting, UTF-8."""

    def __init__(self, stream: BinaryIO, dimension: int) -> None:
        self._text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
        self._rows = csv.writer(self._text)
        self._rows.writerow(["index", "text", *range(dimension)])
        self._index = 0

    def write(self, texts: Sequence[str], vectors: NDArray[Any]) -> None:
        """Write rows."""
        for text, row in zip(texts, vectors, strict=True):
            self._rows.writerow([self._index, text, *numbers(row)])
            self._index += 1

    def finish(self) -> None:
        """Hand over what is buffered, and leave the stream open."""
        self._text.flush()
        self._text.detach()


class Npy:
    """numpy's own format: rows are appended, and the number of them is put into the header at the end.

    numpy pads that header so that the first axis can grow in place.
    """

    def __init__(self, stream: BinaryIO, dimension: int, dtype: np.dtype[Any]) -> None:
        self._stream = stream
        self._dimension = dimension
        self._dtype = dtype
        self._count = 0
        self._start = stream.tell()
        stream.write(self._header())

    def _header(self) -> bytes:
        buffer = io.BytesIO()
        shape = (self._count, self._dimension)
        description = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(buffer, description)
        return buffer.getvalue()

    def write(self, texts: Sequence[str], vectors: NDArray[Any]) -> None:
        """Append rows; the texts are not kept."""
        self._stream.write(np.ascontiguousarray(vectors, dtype=self._dtype).data)
        self._count += len(texts)

    def finish(self) -> None:
        """Put the final shape into the header."""
        self._stream.seek(self._start)
        self._stream.write(self._header())
        self._stream.flush()


def numbers(row: NDArray[Any]) -> list[str]:
    """Shortest-safe decimal forms: nine digits bring every float32 back exactly."""
    if row.dtype.kind in "iu":
        return [str(value) for value in row.tolist()]
    return [f"{value:.9g}" for value in row.tolist()]


def _make(suffix: str, stream: BinaryIO, dimension: int, dtype: np.dtype[Any]) -> Writer:
    if suffix == ".npy":
        return Npy(stream, dimension, dtype)
    return Csv(stream, dimension) if suffix == ".csv" else JsonLines(stream)


@contextmanager
def open_output(path: str | None) -> Generator[tuple[str, BinaryIO]]:
    """The suffix and the stream to write; standard output as JSON lines for `None`.

    A regular file is written under another name beside its own and renamed at the end, so a failed run leaves nothing
    and never harms the file that was there. A device or a named pipe is written directly.
    """
    if path is None:
        yield ".jsonl", sys.stdout.buffer
        return
    target = Path(path).resolve()
    suffix = Path(path).suffix.lower()
    if target.is_dir():
        raise IsADirectoryError(21, "Is a directory", path)
    if target.exists() and not target.is_file():
        with target.open("wb") as stream:
            yield suffix, stream
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        stream = temporary.open("xb")
    except FileNotFoundError:
        raise FileNotFoundError(2, "its folder does not exist", path) from None
    try:
        with stream:
            yield suffix, stream
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def open_writer(output: tuple[str, BinaryIO], dimension: int, dtype: np.dtype[Any]) -> Generator[Writer]:
    """A writer for the stream; finished on success only."""
    suffix, stream = output
    writer = _make(suffix, stream, dimension, dtype)
    yield writer
    writer.finish()
