"""`oxembed embed`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, cast

from oxembed._commands.console import byte_progress, is_terminal, load_model, open_lines, vector_options
from oxembed._commands.writers import open_output, open_writer
from oxembed.calibration import Calibration

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from oxembed.embedder import Embedder

_CHUNK = 1_024


def run(arguments: argparse.Namespace) -> int:
    """Embed the texts of the command line or of a file, chunk by chunk."""
    with ExitStack() as stack:
        lines = None if arguments.input is None else stack.enter_context(open_lines(arguments.input))
        output = stack.enter_context(open_output(arguments.output))
        model = load_model(arguments.model, arguments)
        options = {
            **vector_options(arguments),
            "precision": arguments.precision,
            "calibration": None if arguments.calibration is None else Calibration.load(arguments.calibration),
        }
        encode: Callable[[list[str]], NDArray[Any]] = partial(model.encode, **options)
        empty: NDArray[Any] = encode([])
        writer = stack.enter_context(open_writer(output, empty.shape[1], empty.dtype))
        if lines is None:
            texts = cast("list[str]", arguments.texts)
            _tell_of_files(texts)
            writer.write(texts, encode(texts))
            return 0
        show = arguments.output is not None or not is_terminal(sys.stdout)
        bar = stack.enter_context(byte_progress(lines, show=show))
        shown = 0
        for chunk, vectors in _embedded(model, lines, options):
            writer.write(chunk, vectors)
            if bar is not None:
                bar.update(lines.bytes_read - shown)
                shown = lines.bytes_read
    return 0


def _tell_of_files(texts: list[str]) -> None:
    """Say of texts that are names of files that the names were embedded: few people mean that."""
    for text in texts:
        try:
            is_file = Path(text).is_file()
        except (OSError, ValueError):  # longer than a name may be, or with a null character in it
            is_file = False
        if is_file:
            sys.stderr.write(
                f"oxembed: {text!r} is embedded as a text; for the lines of the file: --input {quote(text)}\n"
            )


def _embedded(
    model: Embedder, lines: Iterable[str], options: dict[str, Any]
) -> Iterator[tuple[list[str], NDArray[np.generic]]]:
    """Chunks of texts with their vectors; only one chunk is in memory."""
    taken: list[str] = []

    def remember() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    for vectors in model.encode_iter(remember(), chunk_size=_CHUNK, **options):
        yield taken[: len(vectors)], vectors
        taken.clear()
