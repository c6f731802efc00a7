"""The progress bar of a long call."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

_LONG_CALL_TEXTS = 2_000
_PATIENCE_S = 1.0


class Bar(Protocol):
    """The part of a tqdm bar that is used."""

    def update(self, n: float) -> object: ...
    def set_description(self, desc: str) -> object: ...
    def close(self) -> object: ...


def open_bar(total: int | None, *, unit: str = " texts", required: bool = False, **settings: Any) -> Bar | None:
    """A tqdm bar on stderr; `None` where tqdm is absent and nobody insists.

    Raises:
        ImportError: `required`, and tqdm is not installed.
    """
    from importlib import import_module

    try:
        tqdm = import_module("tqdm.std")
    except ImportError as error:
        if required:
            raise ImportError(
                "show_progress_bar=True needs the package 'tqdm', which is not installed. Run: pip install tqdm",
                name="tqdm",
            ) from error
        return None
    bar: Bar = tqdm.tqdm(total=total, unit=unit, file=sys.stderr, dynamic_ncols=True, **settings)
    return bar


def wants_bar(show: bool | None, total: int) -> bool:
    """Whether a call of so many texts has a bar: as asked, else a long call with a terminal to show it on."""
    if show is not None:
        return show
    return total > _LONG_CALL_TEXTS and sys.stderr is not None and sys.stderr.isatty()


class Progress:
    """Given to the core as its progress callback; draws from the first second on, or at once if asked for."""

    __slots__ = ("_bar", "_done", "_not_before", "_total")

    def __init__(self, total: int, *, asked: bool) -> None:
        self._total = total
        self._done = 0
        self._not_before = time.monotonic() + _PATIENCE_S
        self._bar: Bar | None = open_bar(total, required=True) if asked else None

    def __call__(self, done: int) -> None:
        """Show that `done` texts are finished."""
        if self._bar is None and time.monotonic() >= self._not_before:
            self._not_before = float("inf")
            self._bar = open_bar(self._total, initial=self._done)
        if self._bar is not None:
            self._bar.update(done - self._done)
        self._done = done

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
