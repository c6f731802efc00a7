"""`oxembed bench`."""

from __future__ import annotations

import argparse
import platform
import sys
from typing import Any

from oxembed._bench.breakdown import breakdown
from oxembed._bench.measurement import Measurement, measure
from oxembed._bench.report import lines
from oxembed._bench.texts import built_in
from oxembed._commands.console import is_terminal, load_model, open_lines, shown
from oxembed._commands.facts import write_json
from oxembed._core import __version__
from oxembed._progress import Bar, open_bar
from oxembed.exceptions import InvalidInputError
from oxembed.runtime import load_runtime


def run(arguments: argparse.Namespace) -> int:
    """Measure a model and show what came out."""
    texts = _texts(arguments.texts)
    model = load_model(arguments.model, arguments)
    with _Progress(show=is_terminal(sys.stderr)) as progress:
        found = measure(model, texts, arguments.rounds, profile=arguments.profile, announce=progress)
    profile = breakdown(found) if arguments.profile else None
    if arguments.json:
        profiled = {} if profile is None else {"profile": profile.as_dict()}
        write_json({**_facts(found, arguments), **found.as_dict(), **profiled})
        return 0
    text = "".join(f"{line}\n" for line in [*_head(found, arguments), "", *lines(found, profile)])
    sys.stdout.buffer.write(text.encode(sys.stdout.encoding or "ascii", errors="replace"))
    sys.stdout.buffer.flush()
    return 0


def _texts(path: str | None) -> list[str]:
    """Different texts, none empty: equal ones would be computed once."""
    if path is None:
        return built_in()
    with open_lines(path) as found:
        texts = list(dict.fromkeys(line for line in found if line.strip()))
    if not texts:
        raise InvalidInputError(f"there is no text in {path}; put one on each line")
    return texts


def _facts(found: Measurement, arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "model": found.model.name,
        "provider": found.model.provider,
        "dtype": found.model.dtype,
        "threads": found.model.threads,
        "rounds": arguments.rounds,
        "texts_from": arguments.texts or "oxembed",
        "oxembed": __version__,
        "onnxruntime": load_runtime(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def _head(found: Measurement, arguments: argparse.Namespace) -> list[str]:
    facts = _facts(found, arguments)
    source = "of oxembed's own" if arguments.texts is None else f"of {shown(arguments.texts)}"
    threads = "1 thread" if found.model.threads == 1 else f"{found.model.threads} threads"
    cut = f", {found.truncated_texts:,} of them cut" if found.truncated_texts else ""
    rounds = "1 round" if arguments.rounds == 1 else f"medians of {arguments.rounds} rounds"
    return [
        f"{shown(found.model.name)} on {found.model.provider} in {found.model.dtype}, {threads}",
        f"{found.texts:,} texts {source}, of {found.tokens / found.texts:.1f} tokens on average{cut}; {rounds}",
        f"oxembed {facts['oxembed']}, ONNX Runtime {facts['onnxruntime']}, Python {facts['python']}, "
        f"{facts['platform']}",
    ]


class _Progress:
    """A bar on stderr that says what is measured, gone at the end."""

    def __init__(self, *, show: bool) -> None:
        self._show = show
        self._bar: Bar | None = None

    def __call__(self, what: str, steps: int) -> None:
        if not self._show:
            return
        if self._bar is None:
            self._bar = open_bar(steps, unit=" steps", leave=False, bar_format="{l_bar}{bar:20}| {n_fmt}/{total_fmt}")
        else:
            self._bar.update(1)
        if self._bar is not None:
            self._bar.set_description(f"measuring {what}")

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
