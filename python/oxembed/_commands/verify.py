"""`oxembed verify`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from typing import Any

from oxembed._commands.console import can_write, is_terminal, load_model, shown, wrapped
from oxembed._progress import Bar, open_bar
from oxembed.verification import Check, Verification, verify

_BOUNDS = ("similar_above", "unrelated_below", "separation_above", "batch_tolerance", "reference_tolerance")
_MARKS = {"passed": "✓", "failed": "✗", "skipped": "-"}
_ASCII_MARKS = {"passed": "ok  ", "failed": "FAIL", "skipped": "-   "}
_LINES_OF_A_CHECK = 8


def run(arguments: argparse.Namespace) -> int:
    """Check a model; the exit status says how it went."""
    found = _verify(arguments)
    if arguments.json:
        sys.stdout.buffer.write(f"{json.dumps(found.as_dict(), ensure_ascii=False, indent=2)}\n".encode())
        sys.stdout.buffer.flush()
    else:
        _show(found)
    return 0 if found.passed else 1


def _verify(arguments: argparse.Namespace) -> Verification:
    bounds: dict[str, Any] = {name: value for name, value in vars(arguments).items() if name in _BOUNDS}
    model = load_model(arguments.model, arguments)
    with _Progress() as progress:
        return verify(
            model,
            arguments.reference,
            reference_texts=arguments.reference_texts,
            pairs=not arguments.no_pairs,
            prompt_name=arguments.prompt_name,
            progress=progress if is_terminal(sys.stderr) else None,
            **bounds,
        )


class _Progress:
    """A bar on stderr, drawn when the number of texts is known and gone at the end."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._done = 0

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = open_bar(total, leave=False)
        if self._bar is not None:
            self._bar.update(done - self._done)
        self._done = done

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def _show(found: Verification) -> None:
    """One check a line; on a terminal, as many lines as its sentence needs."""
    encoding = sys.stdout.encoding or "ascii"
    marks = _MARKS if can_write("".join(_MARKS.values())) else _ASCII_MARKS
    columns = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
    width = max(len(check.name) for check in found.checks)
    lines = [line for check in found.checks for line in _lines(check, f"{marks[check.status]} ", width, columns)]
    skipped = sum(check.status == "skipped" for check in found.checks)
    made = len(found.checks) - skipped
    rest = f", {skipped} skipped" if skipped else ""
    if found.passed:
        lines.append(f"{shown(found.model)}: all {made} checks passed{rest}")
    else:
        lines.append(f"{shown(found.model)}: {len(found.failed)} of {made} checks failed{rest}")
    for line in lines:
        sys.stdout.write(f"{line}\n".encode(encoding, errors="replace").decode(encoding))


def _lines(check: Check, mark: str, width: int, columns: int | None) -> list[str]:
    head = f"{mark}{check.name:<{width}}  "
    sentence = shown(check.sentence)
    if check.status == "skipped":
        sentence = f"skipped: {sentence}"
    if columns is None:
        return [head + sentence]
    first, *rest = wrapped(sentence, max(20, columns - len(head)), _LINES_OF_A_CHECK)
    return [head + first, *(f"{'':<{len(head)}}{line}" for line in rest)]
