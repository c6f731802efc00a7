"""A peer in a process of its own, spoken to as `benches/peer/protocol.py` says."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from peers_environment import PeerError, last_line

# What would lead a program to other code, other libraries, other thread counts than a plain start has.
NOT_INHERITED = (
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "ORT_DYLIB_PATH",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "TOKENIZERS_PARALLELISM",
)


def clean_environment(scratch: Path, modules: Sequence[Path]) -> dict[str, str]:
    """The variables that peers are started with: offline, with `scratch` for whatever they like to write."""
    home = scratch / "home"
    temporary = scratch / "temporary"
    for folder in (home, temporary):
        folder.mkdir(parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    return {
        **inherited,
        "HOME": str(home),
        "USERPROFILE": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "HF_HOME": str(home / "huggingface"),
        "TMPDIR": str(temporary),
        "TEMP": str(temporary),
        "TMP": str(temporary),
        "PYTHONPATH": os.pathsep.join(map(str, modules)),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "DO_NOT_TRACK": "1",
    }


class PeerProcess:
    """A running peer. Everything that goes wrong with it is a `PeerError`, after which it runs no longer."""

    def __init__(self, command: Sequence[str], variables: dict[str, str], log: Path, patience: float) -> None:
        self.log = log
        self.patience = patience
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log.open("wb") as stderr:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=variables,
                    text=True,
                    encoding="utf-8",
                )
        except OSError as error:
            raise PeerError(f"could not be started: {error}") from error
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, do: str, **details: Any) -> dict[str, Any]:
        """The answer to a request."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps({"do": do, **details}) + "\n")
            stdin.flush()
            line = self._lines.get(timeout=self.patience)
        except queue.Empty:
            self.kill()
            raise PeerError(f"no answer to '{do}' in {self.patience:.0f} seconds") from None
        except OSError:
            line = None
        if line is None:
            raise PeerError(f"died at '{do}': {self._end()}")
        return self._answer(do, line)

    def suspend(self) -> None:
        """Stop it where it is, so that nothing of it runs while others are measured."""
        with self._if_alive():
            for process in self._tree():
                process.suspend()

    def resume(self) -> None:
        """Let it go on."""
        with self._if_alive():
            for process in self._tree():
                process.resume()

    def kill(self) -> None:
        """End it and what it started, whatever it is doing."""
        with self._if_alive():
            for process in self._tree():
                process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        # The pipe may be closed under a thread that waits on it: the end, either way.
        with contextlib.suppress(ValueError, OSError):
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def _answer(self, do: str, line: str) -> dict[str, Any]:
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self.kill()
            raise PeerError(f"answered '{do}' with {line.strip()[:80]!r}, which is not a JSON object")
        if "error" in answer:
            self.kill()
            raise PeerError(f"failed at '{do}': {answer['error']}")
        return answer

    def _end(self) -> str:
        self.kill()
        status = self._process.returncode
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return f"{how}, {last_line(text, 'without a word')}"

    def _tree(self) -> list[psutil.Process]:
        if self._process.poll() is not None:
            # Its number may be another process's by now.
            return []
        process = psutil.Process(self._process.pid)
        return [*process.children(recursive=True), process]

    def _if_alive(self) -> contextlib.suppress:
        return contextlib.suppress(psutil.NoSuchProcess)
