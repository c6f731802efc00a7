"""`oxembed search`."""

from __future__ import annotations

import argparse
import heapq
import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from oxembed._commands.console import LineReader, byte_progress, is_terminal, load_model, open_lines, shown, wrapped
from oxembed.embedder import Embedder

# Lines a core gets at a time: enough to batch well, few enough that the bar moves.
_CHUNK = 256
_LINES_OF_A_HIT = 3


class Hit(NamedTuple):
    """A line with its score; hits compare by score, and by earlier line where scores are equal."""

    score: float
    minus_line: int
    text: str

    @property
    def line(self) -> int:
        """Line number, counted from 1."""
        return -self.minus_line


def run(arguments: argparse.Namespace) -> int:
    """Rank the lines of a file; only the best ones are kept in memory."""
    with open_lines(arguments.input) as lines:
        model = load_model(arguments.model, arguments)
        started = time.perf_counter()
        hits, ranked = _best(model, arguments.query, lines, arguments.top)
        seconds = time.perf_counter() - started
    if arguments.json:
        for hit in hits:
            record = {"score": round(hit.score, 6), "line": hit.line, "text": hit.text}
            sys.stdout.buffer.write(f"{json.dumps(record, ensure_ascii=False)}\n".encode())
        sys.stdout.buffer.flush()
    elif is_terminal(sys.stdout):
        _show(hits)
    else:
        for hit in hits:
            sys.stdout.buffer.write(f"{hit.score:.4f}\t{hit.line}\t{hit.text}\n".encode())
        sys.stdout.buffer.flush()
    rate = f" ({ranked / seconds:,.0f} lines/s)" if ranked > 1 and seconds > 0 else ""
    sys.stderr.write(f"{ranked:,} line{'' if ranked == 1 else 's'} embedded and ranked in {seconds:.2f} s{rate}\n")
    if not hits:
        sys.stderr.write("oxembed: the input has no lines that are not blank\n")
    return 0


def _best(model: Embedder, query: str, lines: LineReader, top: int) -> tuple[list[Hit], int]:
    """The best lines, best first, and how many were ranked."""
    wanted = model.encode_query(query, show_progress_bar=False)
    best: list[Hit] = []
    ranked = read = 0
    with byte_progress(lines, show=True) as bar:
        for numbers, texts in _chunks(lines, _CHUNK * model.model_info().threads):
            vectors = model.encode_document(texts, show_progress_bar=False)
            scores: list[float] = model.similarity(wanted, vectors)[0].tolist()
            found = (Hit(score, -number, text) for score, number, text in zip(scores, numbers, texts, strict=True))
            best = heapq.nlargest(top, [*best, *found])
            ranked += len(texts)
            if bar is not None:
                bar.update(lines.bytes_read - read)
                read = lines.bytes_read
    return best, ranked


def _chunks(lines: Iterable[str], size: int) -> Iterator[tuple[list[int], list[str]]]:
    """Numbers and texts of the lines that are not blank."""
    numbers: list[int] = []
    texts: list[str] = []
    for number, text in enumerate(lines, 1):
        if text.strip():
            numbers.append(number)
            texts.append(text)
        if len(texts) == size:
            yield numbers, texts
            numbers, texts = [], []
    if texts:
        yield numbers, texts


def _show(hits: list[Hit]) -> None:
    digits = max((len(str(hit.line)) for hit in hits), default=1)
    margin = " " * (digits + 9)
    columns = max(20, shutil.get_terminal_size().columns - len(margin))
    for hit in hits:
        first, *rest = wrapped(shown(hit.text), columns, _LINES_OF_A_HIT)
        sys.stdout.write(f"{hit.score:6.3f}  {hit.line:>{digits}} {first}\n")
        sys.stdout.writelines(f"{margin}{line}\n" for line in rest)
