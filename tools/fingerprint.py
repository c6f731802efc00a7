"""All that decides whether a step of `make test` passes, as one sum: sources, what is built, tools, variables, machine.

Where something cannot be told, there is no sum: then nothing is remembered, and every step runs.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

# What make and `make test` build and git does not know: a step may pass or fail by them.
BUILT = ("python/oxembed/_core.*", "target/release/*oxembed_test_provider.*", ".make/*/absent.json")

# Variables that differ from one terminal to the next and that no test or tool reads. Any other one counts.
_SESSION = {
    "AGAIN",
    "COLORTERM",
    "COLUMNS",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "GPG_TTY",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LINES",
    "LS_COLORS",
    "MAKELEVEL",
    "MAKE_TERMERR",
    "MAKE_TERMOUT",
    "MFLAGS",
    "OLDPWD",
    "PWD",
    "SHLVL",
    "STY",
    "TERM",
    "TERM_SESSION_ID",
    "WAYLAND_DISPLAY",
    "WINDOW",
    "WINDOWID",
    "_",
}
_SESSION_PREFIXES = ("ITERM_", "KITTY_", "MAKEFLAGS", "SSH_", "TERM_PROGRAM", "TMUX", "VSCODE_", "VTE_", "XDG_SESSION_")


class UnknownError(Exception):
    """It cannot be told what the sources or tools are."""


def output(command: list[str], folder: Path) -> bytes:
    """What a command prints."""
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise UnknownError(f"{' '.join(command)}: {error}") from None


@functools.cache
def digest(path: Path, _state: tuple[int, ...]) -> bytes:
    """The sum of a file. Computed again, in one process, where its `_state` is another."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def contents(path: Path) -> bytes:
    """Of a file: its sum and whether it can be run; of a link: where it points; else that it is absent."""
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            return b"link " + os.fsencode(path.readlink())
        # The time of the change of the inode is one that no program can set.
        state = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        return b"file %d " % bool(found.st_mode & stat.S_IXUSR) + digest(path, state)
    except FileNotFoundError:
        return b"absent"
    except OSError as error:
        raise UnknownError(str(error)) from None


def sources(root: Path) -> Iterator[Path]:
    """What git tracks, and what it would if somebody said `git add --all`."""
    listed = output(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"], root)
    for name in sorted(set(listed.split(b"\0")) - {b""}):
        yield root / os.fsdecode(name)


@functools.cache
def tools(root: Path) -> tuple[str, ...]:
    """The versions of the compiler and of Python, and every installed Python package."""
    compiler = [output([program, "--version", "--verbose"], root).decode() for program in ("cargo", "rustc")]
    nextest = str(shutil.which("cargo-nextest"))
    packages = sorted(f"{found.name} {found.version}" for found in importlib.metadata.distributions())
    return (*compiler, nextest, sys.version, sys.executable, *packages)


@functools.cache
def machine() -> tuple[str, ...]:
    """The system and the processor, whose instructions choose the kernels."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    described = [f"{platform.system()} {platform.release()} {platform.machine()} {cores}"]
    processor = Path("/proc/cpuinfo")
    if processor.is_file():
        lines = processor.read_text(encoding="utf-8", errors="replace").splitlines()
        described += sorted(
            {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
        )
    return tuple(described)


@functools.cache
def variables() -> tuple[str, ...]:
    """The environment that this process was started with, but for what only describes a terminal."""
    names = [name for name in os.environ if name not in _SESSION and not name.startswith(_SESSION_PREFIXES)]
    return tuple(f"{name}={os.environ[name]}" for name in sorted(names))


def fingerprint(root: Path, more: Iterable[Path] = ()) -> str:
    """The sum of all of it, and of the files `more`.

    Raises:
        UnknownError: there is no git, no compiler, or a file that cannot be read.
    """
    found = hashlib.sha256()

    def add(*parts: bytes) -> None:
        for part in parts:
            found.update(b"%d:" % len(part) + part)

    built = sorted(path for pattern in BUILT for path in root.glob(pattern))
    for path in [*sources(root), *built, *sorted(more)]:
        add(os.fsencode(path.relative_to(root)), contents(path))
    for line in [*tools(root), *machine(), *variables()]:
        add(os.fsencode(line))
    return found.hexdigest()
