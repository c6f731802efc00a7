"""Keeps compiled embedders safe across `fork` and at interpreter exit.

*Fork.* The threads of an embedder do not exist in a forked child, so there the compiled object may be neither used nor
destroyed (its destructor would join them and hang). The child abandons every inherited one without running its
destructor; each engine then loads a fresh one on first use. ONNX Runtime's own exit handlers hang in a forked child for
the same reason, so such a child leaves out the exit handlers of libraries that were loaded before the fork. And a fork
waits while a session is made or a library loaded: their locks would stay locked in the child.

*Exit.* A daemon thread that comes back from compiled code while the interpreter is being torn down is killed in the
middle of native frames, which aborts the process. At exit we therefore cancel the calls that are still running, wait
for them to leave compiled code, and let their threads sleep until the process is gone.
"""

from __future__ import annotations

import atexit
import logging  # noqa: F401  # pyright: ignore[reportUnusedImport]  # see the last lines
import os
import sys
import threading
import time
import weakref
from typing import Protocol

from oxembed._core import CancellationToken, hold_for_fork, release_after_fork

_EXIT_PATIENCE_S = 10.0


class _Abandons(Protocol):
    def abandon(self) -> object: ...


class _State:
    """What the fork and exit handlers know about this process."""

    def __init__(self) -> None:
        self.closing = False
        self.used = False
        self.calls: dict[int, CancellationToken] = {}
        self.engines: dict[int, weakref.ref[_Abandons]] = {}
        self.abandoned: list[object] = []


_state = _State()


def register(engine: _Abandons) -> None:
    """Remember an engine (weakly), so that a forked child can abandon what it inherited."""
    _state.used = True
    key = id(engine)
    engines = _state.engines
    engines[key] = weakref.ref(engine, lambda _: engines.pop(key, None))


class NativeCall:
    """Context of one call into compiled code; gives the token that cancels it."""

    __slots__ = ("_token",)

    def __init__(self, token: CancellationToken | None = None) -> None:
        self._token = CancellationToken() if token is None else token

    def __enter__(self) -> CancellationToken:
        if _state.closing:
            _sleep_until_exit()
        _state.calls[id(self)] = self._token
        return self._token

    def __exit__(self, *_: object) -> None:
        _state.calls.pop(id(self), None)
        if _state.closing:
            _sleep_until_exit()


def _sleep_until_exit() -> None:
    """Hold a daemon thread for the rest of the process; the main thread goes on (its own exit handlers may embed)."""
    if threading.current_thread() is threading.main_thread():
        return
    while True:
        time.sleep(3600)


def _at_exit() -> None:
    _state.closing = True
    deadline = time.monotonic() + _EXIT_PATIENCE_S
    while _state.calls and time.monotonic() < deadline:
        for token in list(_state.calls.values()):
            token.cancel()
        time.sleep(0.002)


def _after_fork_in_child() -> None:
    release_after_fork()
    if not _state.used:
        return
    _leave_out_exit_handlers()
    _state.calls.clear()
    for reference in list(_state.engines.values()):
        engine = reference()
        core = None if engine is None else engine.abandon()
        if core is not None:
            _state.abandoned.append(core)
            _never_destroy(core)


def _leave_out_exit_handlers() -> None:
    """Let C's `exit` end this process before it comes to the handlers that were registered before the fork.

    Handlers run in reverse order, and `on_exit` gives them the exit status, which is what `_exit` takes. Python itself
    has been finalized by then, with its own exit handlers run and its streams flushed. Only the GNU C library has it.
    """
    import ctypes

    library = ctypes.CDLL(None)
    on_exit = getattr(library, "on_exit", None)
    if on_exit is not None:
        on_exit(library._exit, None)


def _never_destroy(value: object) -> None:
    """Add a reference that is never given back: module globals are cleared at exit, this is not."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


atexit.register(_at_exit)
if sys.platform != "win32":
    # What is registered last comes first before a fork: `logging`, imported above, takes its lock after this has waited
    # for whoever may have something to log.
    os.register_at_fork(before=hold_for_fork, after_in_parent=release_after_fork, after_in_child=_after_fork_in_child)
