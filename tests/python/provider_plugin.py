"""The plug-in execution provider of `tests/provider_plugin`: where its library is, and what it counted.

Only the standard library is needed, so that scripts in other processes can use it, too. Its options are described in
`tests/provider_plugin/src/lib.rs`.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

NAME = "TestExecutionProvider"
"""ONNX Runtime's name of the provider."""

DEVICES = "OXEMBED_TEST_PROVIDER_DEVICES"
"""Set to "0" in the environment of a process, the provider finds no device there."""

OPTIONS = "OXEMBED_TEST_PROVIDER_OPTIONS"
"""Options of every session in a process, as `wrong=1,fail_every=3`, for those who cannot give a session its own."""

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "target"


@cache
def library() -> Path:
    """The library that `OXEMBED_TEST_PROVIDER` names, as make sets it; else it is built, once a process.

    Raises:
        RuntimeError: There is no such file, or it cannot be built.
    """
    named = os.environ.get("OXEMBED_TEST_PROVIDER")
    path = Path(named) if named else _built()
    if not path.is_file():
        raise RuntimeError(f"there is no test provider at {path}: run make test-provider")
    return path


def _built() -> Path:
    manifest = ROOT / "tests" / "provider_plugin" / "Cargo.toml"
    command = ["cargo", "build", "--release", "--quiet", "--manifest-path", str(manifest), "--target-dir", str(TARGET)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    except FileNotFoundError as error:
        raise RuntimeError("the test provider is written in Rust, and there is no cargo on the PATH") from error
    if done.returncode != 0:
        raise RuntimeError(f"the test provider cannot be built:\n{done.stderr}")
    names = {"win32": "oxembed_test_provider.dll", "darwin": "liboxembed_test_provider.dylib"}
    return TARGET / "release" / names.get(sys.platform, "liboxembed_test_provider.so")


class Counts(NamedTuple):
    """What happened in this process since the library was loaded."""

    live_sessions: int
    """Sessions made and not released."""
    live_kernels: int
    """Nodes compiled and not released."""
    sessions: int
    """Sessions made."""
    runs: int
    """Runs of sessions that began, whoever computes their nodes."""
    nan_runs: int
    """Runs in which the provider gave NaN, as it was asked, and did not fail afterwards."""
    calls: int
    """Nodes computed."""
    failures: int
    """Runs that it had fail, as it was asked."""


class Plugin:
    """The loaded library: the same instance that ONNX Runtime has, if it registered the same file in this process."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._functions = []
        for name in Counts._fields:
            function = self._library[f"oxembed_test_provider_{name}"]
            function.restype = ctypes.c_int64 if name.startswith("live") else ctypes.c_uint64
            self._functions.append(function)

    def counts(self) -> Counts:
        """What happened so far."""
        return Counts(*(function() for function in self._functions))

    def lose_device(self, lost: bool = True) -> None:
        """Have every computation and every new session fail from now on, or no more."""
        self._library.oxembed_test_provider_lose_device(ctypes.c_bool(lost))
