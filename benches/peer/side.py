"""What a program has to do to be compared."""

from __future__ import annotations

import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


class Side(ABC):
    """A program with its model loaded: `__init__` loads it, by the settings of its row.

    `settings` has the paths of models (`folder`, `onnx` and so on), `threads`, and what the row says besides. `batch`
    is None where the program's own default is measured.
    """

    packages: tuple[str, ...] = ()

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.batch: int | None = settings.get("batch")

    @abstractmethod
    def encode(self, texts: list[str]) -> Rows:
        """Rows of `texts`, in order, of length 1 each."""

    def versions(self) -> dict[str, str]:
        """The packages that do the work, with their versions."""
        return {name: metadata.version(name) for name in self.packages}

    def cpu_seconds(self) -> float:
        """Processor time of this program so far, on all cores."""
        return time.process_time()

    def peak_bytes(self) -> int:
        """The most memory that this program has had at once."""
        return peak_of(os.getpid())

    def note(self) -> str:
        """What a reader should know of how it ran."""
        return "" if self.batch is None else f"batches of {self.batch}"

    def close(self) -> None:  # noqa: B027 - most have nothing to end
        """End what must be ended by hand."""

    def choose_batch(self, batches: Sequence[int], texts: list[str]) -> None:
        """Keep the one of `batches` that is fastest for `texts`, as a user who measures would."""
        seconds = {}
        for self.batch in batches:
            start = time.perf_counter()
            self.encode(texts)
            seconds[self.batch] = time.perf_counter() - start
        self.batch = min(seconds, key=seconds.__getitem__)


def peak_of(process: int) -> int:
    """The most memory that a process has had at once, in bytes; on macOS only of this process, 0 of another."""
    status = Path(f"/proc/{process}/status")
    if status.exists():
        # Not getrusage: its figure begins with that of the process that started this one.
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process(process).memory_info().peak_wset)
    if process != os.getpid():
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS


def normalized(rows: Any) -> Rows:
    """Rows as an array of float32, each of length 1."""
    array = np.asarray(rows, dtype=np.float32)
    result: Rows = array / np.linalg.norm(array, axis=1, keepdims=True)
    return result
