"""`oxembed serve`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence

from oxembed import _core
from oxembed.hub import EMBEDDED_MODEL, resolve
from oxembed.runtime import load_runtime

_OPTION = "--model"
_VARIABLE = "OXEMBED_MODELS"


def run(arguments: argparse.Namespace) -> int:
    """Serve until the process is told to stop."""
    rest: Sequence[str] = arguments.rest
    load_runtime()
    return _core.serve(["oxembed serve", *with_folders(rest)])


def with_folders(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments with each model's folder in place of its name; the embedded model where none is named.

    Example:
        >>> [model.split("=")[0] for model in with_folders(["--model", "mini,small=all-MiniLM-L6-v2", "--port", "0"])]
        ['--model', 'mini,small', '--port', '0']
    """
    if {"--help", "-h", "--version", "-V"} & set(arguments):
        yield from arguments
        return
    named = False
    rest = iter(arguments)
    for argument in rest:
        option, equals, value = argument.partition("=")
        if option != _OPTION:
            yield argument
            continue
        named = True
        yield _OPTION
        value = value if equals else next(rest, "")
        if value:
            yield _with_folder(value)
    if not named:
        models = [model for model in os.environ.get(_VARIABLE, "").split(";") if model] or [EMBEDDED_MODEL]
        for model in models:
            yield from (_OPTION, _with_folder(model))


def _with_folder(model: str) -> str:
    names, equals, place = model.partition("=")
    if not equals:
        names, place = "", model
    found = resolve(place)
    return f"{names or found.name}={found.folder}"
