"""The folder for what is costly to make and can be made again: compiled models, verdicts on providers."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_VARIABLE = "OXEMBED_CACHE"


def folder(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path | None:
    """Where the cache is, whether or not it exists; `None` for a user who has no home.

    `OXEMBED_CACHE` names it. Unless it does, it is the platform's place for caches: `XDG_CACHE_HOME` or `~/.cache`,
    `~/Library/Caches`, `%LOCALAPPDATA%`.

    Example:
        >>> folder({"OXEMBED_CACHE": "/var/cache/oxembed"}, "linux").as_posix()
        '/var/cache/oxembed'
    """
    named = environment.get(_VARIABLE)
    if named:
        return _absolute(named)
    if platform == "win32":
        base = environment.get("LOCALAPPDATA") or "~/AppData/Local"
        return _absolute(base, "oxembed", "cache")
    if platform == "darwin":
        return _absolute("~/Library/Caches", "oxembed")
    # The specification has it that a relative path is to be ignored.
    base = environment.get("XDG_CACHE_HOME", "")
    return _absolute(base if base.startswith("/") else "~/.cache", "oxembed")


def _absolute(base: str, *names: str) -> Path | None:
    try:
        return Path(base, *names).expanduser().absolute()
    except RuntimeError:  # no home folder is known
        return None


def problem(place: Path) -> str | None:
    """Why nothing can be written into a folder, which need not exist; `None` where it can.

    Example:
        >>> problem(Path(__file__) / "cache").endswith("is not a folder")
        True
    """
    try:
        for existing in (place, *place.parents):
            if existing.is_dir():
                return None if os.access(existing, os.W_OK | os.X_OK) else f"{existing} is not writable"
            if os.path.lexists(existing):
                return f"{existing} is not a folder"
    except OSError as error:
        return f"{place}: {error.strerror or error}"
    return f"{place} has no parent that exists"
