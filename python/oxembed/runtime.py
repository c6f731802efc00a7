"""Finds and loads the ONNX Runtime library.

oxembed does not link against ONNX Runtime: it loads the shared library that lies inside the installed `onnxruntime`
wheel (any flavour of it), without importing that package. The environment variable `ORT_DYLIB_PATH` overrides that.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from pathlib import Path

from oxembed import _build_facts, _core
from oxembed.exceptions import ServiceUnavailableError

__all__ = ["find_library", "load_runtime", "loaded_library"]

_REMEDY = 'pip install "onnxruntime>=1.24"'
_state: dict[str, str] = {}
_lock = threading.Lock()


def _library_pattern() -> str:
    if sys.platform == "win32":
        return "onnxruntime.dll"
    return "libonnxruntime*.dylib" if sys.platform == "darwin" else "libonnxruntime.so*"


def _version_key(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.name)]


def _is_of_the_package(path: Path) -> bool:
    version = _build_facts.read(path.parent).get("__version__")
    return version is not None and version in path.name


def _package_folders() -> list[Path]:
    """Where the `onnxruntime` package lies, without importing it; empty if it is not installed."""
    from importlib.util import find_spec

    try:
        spec = find_spec("onnxruntime")
    except (ImportError, ValueError):  # ValueError: something else put a module without a spec into sys.modules
        return []
    return [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec is not None else []


def find_library() -> Path:
    """Find the ONNX Runtime shared library to load.

    `ORT_DYLIB_PATH` wins if it is set and not empty; otherwise it is the library in the `capi` folder of the installed
    `onnxruntime` package. Where another build of ONNX Runtime was installed over that one, there may be several. Then
    it is the one of the version that the folder says it holds, or else the newest.

    Returns:
        The path of the library.

    Raises:
        ServiceUnavailableError: There is none; the message lists what was looked for and the command that mends it.

    Example:
        >>> from oxembed.runtime import find_library
        >>> "onnxruntime" in find_library().name
        True
    """
    override = os.environ.get("ORT_DYLIB_PATH")
    if override:
        path = Path(override)
        if not path.is_file():
            message = f"ONNX Runtime was not found: ORT_DYLIB_PATH is {override!r}, and there is no such file. "
            raise ServiceUnavailableError(f"{message}Correct that variable, or unset it and run: {_REMEDY}")
        return path.absolute()
    folders = _package_folders()
    if not folders:
        raise ServiceUnavailableError(
            "ONNX Runtime was not found: the Python package 'onnxruntime' is not installed beside this Python "
            f"({sys.executable}), and ORT_DYLIB_PATH is not set. Run: {_REMEDY}"
        )
    pattern = _library_pattern()
    found = [
        path
        for folder in folders
        for path in (folder / "capi").glob(pattern)
        if path.is_file() and "providers" not in path.name
    ]
    if not found:
        places = ", ".join(str(folder / "capi" / pattern) for folder in folders)
        raise ServiceUnavailableError(
            f"ONNX Runtime was not found: looked for {places}, and no such file is there, so the installed "
            f"'onnxruntime' package is incomplete or is not the real one. Run: {_REMEDY} --force-reinstall"
        )
    return max(found, key=lambda path: (_is_of_the_package(path), _version_key(path)))


def load_runtime() -> str:
    """Load ONNX Runtime once for this process; later calls return at once.

    Returns:
        The version of ONNX Runtime, such as `"1.24.1"`.

    Raises:
        ServiceUnavailableError: The library is absent, too old or broken. Nothing is remembered, so a later call tries
            again.

    Example:
        >>> from oxembed.runtime import load_runtime
        >>> load_runtime().startswith("1.")
        True
    """
    version = _state.get("version")
    if version is None:
        with _lock:
            version = _state.get("version")
            if version is None:
                library = str(find_library())
                version = _core.initialize(library)
                _state.update(version=version, library=library)
    return version


def loaded_library() -> Path | None:
    """The library that this process has loaded, or `None` before it has.

    Example:
        >>> from oxembed.runtime import load_runtime, loaded_library
        >>> load_runtime() and loaded_library().is_file()
        True
    """
    library = _state.get("library")
    return None if library is None else Path(library)


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork_in_child)
