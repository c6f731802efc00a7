"""Finds installed plug-ins of ONNX Runtime: packages that bring one execution provider each, as a library of its own.

There is no registry of them. A package is known by its module's name, and tells where its library lies by a function;
so that module is imported. The environment variable `OXEMBED_PLUG_INS` names libraries that are in no package.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, cast

_VARIABLE = "OXEMBED_PLUG_INS"
_PREFIX = "onnxruntime_ep_"
# Plug-ins whose modules have other names.
_OTHERS = ("onnxruntime_ggml", "onnxruntime_qnn")
_PATHS = ("get_library_path", "library_path")
_NAMES = ("get_ep_names", "get_ep_name", "ep_name", "EP_NAME")
_logger = logging.getLogger("oxembed")


class FoundPlugIn(NamedTuple):
    """A plug-in that is installed or named by the environment.

    Attributes:
        source: The module, or the environment variable.
        library: Path of the library; `None` where the package does not say.
        providers: Its execution providers, as ONNX Runtime spells them; empty where nothing says.
        problem: What is wrong with it, if anything is.
    """

    source: str
    library: str | None
    providers: tuple[str, ...]
    problem: str | None


def found(path: Iterable[str] | None = None, environment: Mapping[str, str] = os.environ) -> list[FoundPlugIn]:
    """Find the plug-ins on `path`, which is `sys.path` unless given, and those that the environment names.

    Example:
        >>> [plug_in.providers for plug_in in found([], {"OXEMBED_PLUG_INS": "libexample.so=ExampleExecutionProvider"})]
        [('ExampleExecutionProvider',)]
    """
    modules = [_asked(name) for name in _modules(sys.path if path is None else path)]
    return [*modules, *_named(environment.get(_VARIABLE, ""))]


def usable(plug_ins: Sequence[FoundPlugIn]) -> list[tuple[str, list[str]]]:
    """Libraries and their providers, for the compiled module; what is wrong with the others is logged, once."""
    for plug_in in plug_ins:
        if plug_in.problem is not None:
            _warn(f"the plug-in {plug_in.source} is not used: {plug_in.problem}")
    return [(one.library, list(one.providers)) for one in plug_ins if one.library is not None and one.problem is None]


def _modules(path: Iterable[str]) -> list[str]:
    """Names of the modules that are plug-ins, by the entries of the folders alone: nothing is imported."""
    names: set[str] = set()
    for folder in path:
        try:
            entries = os.listdir(folder or ".")  # noqa: PTH208 - a thousand names, of which a few are wanted
        except OSError:  # an archive, or a folder that is not there: Python skips these, too
            continue
        names.update(entry for entry in entries if entry.startswith(_PREFIX) or entry in _OTHERS)
    return sorted(name for name in names if name.isidentifier())


@cache
def _asked(name: str) -> FoundPlugIn:
    """What a module says of its plug-in."""
    try:
        module = import_module(name)
        library, providers = _library(module), _providers(module)
    except Exception as error:  # a package may raise whatever it likes: it is reported, and the others are used
        return FoundPlugIn(name, None, (), f"{type(error).__name__}: {error}")
    if library is None:
        return FoundPlugIn(name, None, providers, f"it has none of the functions {', '.join(_PATHS)}")
    return _existing(name, library, providers)


def _library(module: ModuleType) -> str | None:
    for name in _PATHS:
        function: Any = getattr(module, name, None)
        if callable(function):
            return os.fspath(cast("str | os.PathLike[str]", function()))
    return None


def _providers(module: ModuleType) -> tuple[str, ...]:
    for name in _NAMES:
        value: Any = getattr(module, name, None)
        if callable(value):
            value = value()
        if isinstance(value, str):
            return (value,)
        if value is not None:
            return tuple(str(one) for one in cast("Iterable[object]", value))
    return ()


def _named(value: str) -> list[FoundPlugIn]:
    """The libraries of the environment variable: paths, each with `=` and the names of its providers if wanted."""
    plug_ins: list[FoundPlugIn] = []
    for item in value.split(os.pathsep):
        # The path may have a "=" in it, names of providers do not have separators of folders.
        head, equals, tail = item.strip().rpartition("=")
        path, names = (head, tail) if equals and not set(tail) & {"/", "\\"} else (item.strip(), "")
        if path:
            providers = tuple(name.strip() for name in names.split(",") if name.strip())
            plug_ins.append(_existing(_VARIABLE, _absolute(path), providers))
    return plug_ins


def _absolute(path: str) -> str:
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError:  # a "~" of a user whom nobody knows
        return path


def _existing(source: str, library: str, providers: tuple[str, ...]) -> FoundPlugIn:
    # ONNX Runtime's convention: under a name that ends so, a plug-in offers devices that only compile.
    if Path(library.removesuffix(".virtual")).is_file():
        return FoundPlugIn(source, library, providers, None)
    return FoundPlugIn(source, library, providers, f"there is no file {library}")


@cache
def _warn(message: str) -> None:
    _logger.warning(message)
