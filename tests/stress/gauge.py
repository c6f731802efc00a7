"""Memory, threads and open files of this process, and whether they are level."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from typing import NamedTuple

import heap
import numpy as np
import psutil

MIB = 1 << 20
# What a run of any length may seem to grow by. What is in use varies by what happens to be cached; what the process
# occupies also by the gaps between what is in use, which come to an end, so only the later half of a run counts.
IN_USE_GROWTH = 4 * MIB
OCCUPIED_GROWTH = 48 * MIB
# ONNX Runtime's arenas grow at once, by up to 8 MiB here, when a session meets a batch that does not fit into what it
# has, and keep that: one thread that calls one model meets such a batch 3 times in 2,400 calls after the first hundred.
# With the arenas switched off memory in use is level (docs/experiments.md). A leak comes again and again.
STEP = 1 * MIB
STEPS = 6
PATIENCE_S = 60.0
# So long a count has to stay the same to be one of a moment of quiet.
QUIET_S = 1.0


class Reading(NamedTuple):
    """What this process holds at a moment of quiet."""

    threads: int
    files: int
    occupied: int
    """Bytes of memory of the process."""
    in_use: int | None
    """Bytes that the allocator has handed out, where it tells."""

    def __str__(self) -> str:
        in_use = "" if self.in_use is None else f" ({self.in_use / MIB:.1f} in use)"
        return f"{self.occupied / MIB:.1f} MiB{in_use}, {self.threads} threads, {self.files} open files"


class Growth(NamedTuple):
    """What a straight line through the readings of memory says, in bytes over all of them."""

    rise: float
    error: float


def _now() -> Reading:
    process = psutil.Process()
    files = process.num_handles() if sys.platform == "win32" else process.num_fds()
    return Reading(process.num_threads(), files, process.memory_info().rss, heap.in_use())


def _trim() -> None:
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # the GNU C library's alone
        if trim is not None:
            trim(0)


def read(expected: Reading | None = None) -> Reading:
    """What the process holds now; threads that were joined may take the system a moment to be gone.

    So it is waited for `expected`, and where nothing is expected yet, until nothing changes any more.
    """
    _trim()
    start = since = time.monotonic()
    reading = _now()
    while (now := time.monotonic()) < start + PATIENCE_S:
        if reading[:2] == expected[:2] if expected else now >= since + QUIET_S:
            break
        time.sleep(0.05)
        before, reading = reading, _now()
        if reading[:2] != before[:2]:
            since = time.monotonic()
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


def without_steps(memory: list[int]) -> list[int]:
    """The readings without the largest few rises that came at once and stayed."""
    values = np.asarray(memory, dtype=np.int64)
    before, after = np.maximum.accumulate(values)[:-1], np.minimum.accumulate(values[::-1])[::-1][1:]
    rises = after - before
    steps = sorted((place for place in range(len(rises)) if rises[place] >= STEP), key=lambda place: -rises[place])
    for place in steps[:STEPS]:
        values[place + 1 :] -= rises[place]
    return [int(value) for value in values]


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
    later = readings[len(readings) // 2 :]
    found += _rise("memory", [reading.occupied for reading in later], OCCUPIED_GROWTH)
    in_use = [reading.in_use for reading in readings if reading.in_use is not None]
    return found + (_rise("memory in use", without_steps(in_use), IN_USE_GROWTH) if in_use else [])


def _rise(what: str, values: list[int], allowed: int) -> list[str]:
    if len(values) < 3:
        return []
    line = growth(values)
    # A rise that is within twice its own error may be none.
    if line.rise <= allowed or line.rise <= 2 * line.error:
        return []
    return [
        f"{what} is not level: it rises by {line.rise / MIB:.1f} MiB (± {line.error / MIB:.1f}) over {len(values) - 1} "
        f"rounds, from {values[0] / MIB:.1f} to {values[-1] / MIB:.1f} MiB; {allowed // MIB} are allowed"
    ]
