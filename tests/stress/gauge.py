"""Memory, threads and open files of this process, and whether they are level."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from typing import NamedTuple

import numpy as np
import psutil

MIB = 1 << 20
# What a run of any length may seem to grow by: the allocator's arenas and Python's own caches fill up slowly.
ALLOWED_GROWTH = 24 * MIB
PATIENCE_S = 10.0


class Reading(NamedTuple):
    """What this process holds at a moment of quiet."""

    memory: int
    threads: int
    files: int

    def __str__(self) -> str:
        return f"{self.memory / MIB:.1f} MiB, {self.threads} threads, {self.files} open files"


class Growth(NamedTuple):
    """What a straight line through the readings of memory says, in bytes over all of them."""

    rise: float
    error: float


def _now() -> Reading:
    process = psutil.Process()
    files = process.num_handles() if sys.platform == "win32" else process.num_fds()
    return Reading(process.memory_info().rss, process.num_threads(), files)


def _trim() -> None:
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # the GNU C library's alone
        if trim is not None:
            trim(0)


def read(expected: Reading | None = None) -> Reading:
    """What the process holds now; threads that were joined may take the system a moment to be gone."""
    _trim()
    deadline = time.monotonic() + PATIENCE_S
    reading = _now()
    while expected and reading[1:] != expected[1:] and time.monotonic() < deadline:
        time.sleep(0.05)
        reading = _now()
    return reading


def growth(memory: list[int]) -> Growth:
    """How far a straight line through the readings rises from the first to the last, with its standard error."""
    if len(memory) < 3:
        raise ValueError(f"a line takes at least 3 readings of memory; these are {len(memory)}")
    places = np.arange(len(memory), dtype=np.float64)
    values = np.asarray(memory, dtype=np.float64)
    slope, start = np.polyfit(places, values, 1)
    rest = values - (slope * places + start)
    variance = float((rest**2).sum()) / (len(memory) - 2)
    spread = float(((places - places.mean()) ** 2).sum())
    steps = len(memory) - 1
    return Growth(float(slope) * steps, (variance / spread) ** 0.5 * steps)


def complaints(readings: list[Reading]) -> list[str]:
    """What is not level in the readings of a run; the first was taken after the warm-up."""
    first = readings[0]
    found = [
        f"{what} are not level: {before} after the warm-up, {after} after round {number}"
        for number, reading in enumerate(readings[1:], 1)
        for what, before, after in (
            ("threads", first.threads, reading.threads),
            ("open files", first.files, reading.files),
        )
        if after != before
    ]
    line = growth([reading.memory for reading in readings])
    # A rise that is within twice its own error may be none.
    if line.rise > ALLOWED_GROWTH and line.rise > 2 * line.error:
        found.append(
            f"memory is not level: it rises by {line.rise / MIB:.1f} MiB (± {line.error / MIB:.1f}) over "
            f"{len(readings) - 1} rounds, from {first.memory / MIB:.1f} to {readings[-1].memory / MIB:.1f} MiB; "
            f"{ALLOWED_GROWTH // MIB} are allowed"
        )
    return found
