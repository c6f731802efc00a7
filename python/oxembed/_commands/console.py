"""Reading lines and writing to terminals."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from oxembed._arguments.model import RUNTIME
from oxembed._progress import Bar, open_bar
from oxembed._provider import NamedProvider, Options, Provider
from oxembed.embedder import Embedder
from oxembed.exceptions import InvalidInputError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def load_model(model: str, arguments: argparse.Namespace) -> Embedder:
    """The embedder that the command line's model options ask for."""
    return Embedder(
        model,
        provider=providers(arguments.provider, arguments.provider_option),
        threads=arguments.threads,
        dtype=arguments.dtype,
        revision=arguments.revision,
    )


def providers(names: str, options: Sequence[tuple[str, str]]) -> str | Provider | Sequence[str | Provider]:
    """The `provider=` of names with commas between them, and of the options of the first one.

    Example:
        >>> providers("coreml,cpu", [("compute_units", "cpu_only"), ("runtime.ProfileComputePlan", "1")])[0].settings
        {'compute_units': 'cpu_only'}
    """
    first, *others = [name.strip() for name in names.split(",")]
    if not options:
        return [first, *others] if others else first
    if first == "auto":
        raise InvalidInputError("--provider-option is for one provider: name it first, as in --provider coreml,cpu")
    settings = {key: value for key, value in options if not key.startswith(RUNTIME)}
    raw = {key.removeprefix(RUNTIME): value for key, value in options if key.startswith(RUNTIME)}
    return [NamedProvider(first, Options(settings), Options(raw)), *others]


def vector_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The keywords of `encode` that the command line's vector options ask for."""
    return {
        "prompt": arguments.prompt,
        "prompt_name": arguments.prompt_name,
        "normalize_embeddings": arguments.normalize,
        "truncate_dim": arguments.truncate_dim,
        "show_progress_bar": False,
    }


class LineReader:
    """Lines of a UTF-8 file without their ends, and how much of it was read."""

    def __init__(self, stream: BinaryIO, name: str, size: int | None) -> None:
        self._stream = stream
        self._name = name
        self.size = size
        self.bytes_read = 0

    def __iter__(self) -> Iterator[str]:
        for number, raw in enumerate(self._stream, 1):
            self.bytes_read += len(raw)
            line = raw.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw
            try:
                yield line.removesuffix(b"\n").removesuffix(b"\r").decode()
            except UnicodeDecodeError as error:
                byte = line[error.start]
                raise InvalidInputError(
                    f"{self._name}: line {number} is not UTF-8 (byte 0x{byte:02x} at position {error.start}); "
                    f"convert the file first, for example: iconv -f LATIN1 -t UTF-8"
                ) from None


@contextmanager
def open_lines(path: str) -> Generator[LineReader]:
    """Open a file, or standard input for `-`; errors of opening it come now."""
    if path == "-":
        yield LineReader(sys.stdin.buffer, "standard input", None)
        return
    with Path(path).open("rb") as stream:
        regular = Path(path).is_file()
        yield LineReader(stream, path, Path(path).stat().st_size if regular else None)


@contextmanager
def byte_progress(lines: LineReader, *, show: bool) -> Generator[Bar | None]:
    """A progress bar over the bytes of a file, on stderr, if asked for and stderr is a terminal."""
    if not (show and is_terminal(sys.stderr)):
        yield None
        return
    bar = open_bar(lines.size, unit="B", unit_scale=True, leave=False)
    try:
        yield bar
    finally:
        if bar is not None:
            bar.close()


def is_terminal(stream: object) -> bool:
    """Whether a standard stream exists and is a terminal."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty is not None and isatty())


def can_write(characters: str) -> bool:
    """Whether standard output has an encoding for these characters."""
    try:
        characters.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def size_in_words(size: int) -> str:
    """A number of bytes for people, in decimal units as the hub shows them.

    Example:
        >>> size_in_words(663), size_in_words(999_950), size_in_words(90_868_376)
        ('663 bytes', '1.0 MB', '90.9 MB')
    """
    if size < 1_000:
        return f"{size} bytes"
    number, units = size / 1_000, ["kB", "MB", "GB", "TB"]
    while number >= 999.95 and len(units) > 1:
        number, units = number / 1_000, units[1:]
    return f"{number:.1f} {units[0]}"


def shown(text: str) -> str:
    """A text made safe for a terminal: control characters and lone surrogates become spaces or marks."""
    return "".join(
        character if character.isprintable() else " " if character.isspace() else "�" for character in text
    ).strip()


def width_of(text: str) -> int:
    """Columns a printable text takes on a terminal: wide East Asian characters two, combining ones none."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(one) else 2 if east_asian_width(one) in "WF" else 1 for one in text)


def wrapped(text: str, columns: int, lines: int) -> list[str]:
    """At most so many lines of at most so many columns, broken at spaces where there are any; the last may end in …."""
    result: list[str] = []
    line = ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if width_of(joined) <= columns:
            line = joined
            continue
        if line:
            result.append(line)
        line = word
        while width_of(line) > columns and len(result) < lines:
            head = cut(line, columns)
            result.append(head)
            line = line[len(head) :]
        if len(result) >= lines:
            break
    else:
        result.append(line)
        return result if len(result) <= lines else _ended(result[:lines], columns)
    return _ended(result[:lines], columns)


def cut(text: str, columns: int) -> str:
    """The longest beginning that fits, at least one character."""
    end = min(len(text), columns)
    while end > 1 and width_of(text[:end]) > columns:
        end -= 1
    return text[:end]


def _ended(lines: list[str], columns: int) -> list[str]:
    last = cut(lines[-1], columns - 1) if width_of(lines[-1]) >= columns else lines[-1]
    return [*lines[:-1], last.rstrip() + "…"]
