"""`oxembed serve`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from oxembed import _core
from oxembed.hub import EMBEDDED_MODEL, resolve
from oxembed.runtime import load_runtime


def run(arguments: argparse.Namespace) -> int:
    """Serve until the process is told to stop."""
    rest: Sequence[str] = arguments.rest
    load_runtime()
    return _core.serve(["oxembed serve", *rest], found, EMBEDDED_MODEL)


def found(model: str) -> tuple[str, str]:
    """Name and folder of a model, by its name or folder.

    Raises:
        OxembedError: There is no such model, or it cannot be had.

    Example:
        >>> from pathlib import Path
        >>> name, folder = found("all-MiniLM-L6-v2")
        >>> name, Path(folder).is_dir()
        ('all-MiniLM-L6-v2', True)
    """
    place = resolve(model)
    return place.name, str(place.folder)
