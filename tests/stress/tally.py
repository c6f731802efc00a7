"""What ran: counts of each kind, and the failures."""

from __future__ import annotations

import threading
import traceback
from collections import Counter


class Tally:
    """Counts from many threads; the first failure ends the run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.texts = 0
        self.failures: list[str] = []
        self.failed = threading.Event()

    def add(self, kind: str, texts: int = 0, times: int = 1) -> None:
        """Count a call of this kind that went as it should."""
        with self._lock:
            self.counts[kind] += times
            self.texts += texts

    def merge(self, counts: dict[str, int], texts: int) -> None:
        """Count what another process did."""
        with self._lock:
            self.counts.update(counts)
            self.texts += texts

    def fail(self, where: str, error: BaseException | str) -> None:
        """Remember a failure and let everybody stop."""
        lines = error if isinstance(error, str) else "".join(traceback.format_exception(error))
        with self._lock:
            self.failures.append(f"{where}: {lines.rstrip()}")
        self.failed.set()
