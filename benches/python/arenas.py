"""ONNX Runtime's arena of memory against the allocator of the C library, with batches of varying shapes.

    python benches/python/arenas.py

One session of one thread over the written graph of the embedded model runs batches as plans make them: at most 512
padded tokens, lengths of a long tail. It prints how much more memory is in use than before the first batch, after 100
batches and at the end, in how many batches it rose by a MiB in between, and the ratio of the times, both sides in turn.
"""

from __future__ import annotations

import argparse
import runpy
import statistics
import sys
import tempfile
import time
from pathlib import Path

import baseline
import numpy as np
import onnxruntime
from graphs import inputs

import oxembed

ROOT = Path(__file__).resolve().parents[2]
BUDGET = 512
SETTLED = 100
IN_USE = runpy.run_path(str(ROOT / "tests" / "stress" / "heap.py"))["in_use"]


def in_use() -> float:
    """MiB that the allocator has handed out."""
    held = IN_USE()
    if held is None:
        raise SystemExit("memory in use is known with the GNU C library only; run this on Linux")
    return float(held) / (1 << 20)


def measured(session: onnxruntime.InferenceSession, shapes: list[tuple[int, int]]) -> tuple[str, list[float]]:
    """What memory did, in words, and the seconds of every batch."""
    names = {port.name for port in session.get_inputs()}
    start, held, seconds = in_use(), [], []
    for rows, tokens in shapes:
        feeds = inputs(names, rows, tokens)
        before = time.perf_counter()
        session.run(None, feeds)
        seconds.append(time.perf_counter() - before)
        held.append(in_use() - start)
    rises = sum(after - before > 1 for before, after in zip(held[SETTLED - 1 :], held[SETTLED:], strict=False))
    return f"{held[SETTLED - 1]:.1f} MiB after {SETTLED} batches, {held[-1]:.1f} at the end, {rises} rises", seconds


def main() -> None:
    """Measure both sides and print a line for each."""
    parser = argparse.ArgumentParser(description="ONNX Runtime's arena against the C library's allocator.")
    parser.add_argument("--batches", type=int, default=1000, help="batches to run (default: 1000)")
    batches = parser.parse_args().batches
    if batches <= SETTLED:
        parser.error(f"--batches has to be more than {SETTLED}")
    random = np.random.default_rng(3)
    lengths = np.clip(random.lognormal(2.8, 0.9, batches), 3, 256).astype(int)
    shapes = [(int(random.integers(1, max(2, BUDGET // length + 1))), int(length)) for length in lengths]
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "written.onnx"
        oxembed.export(ROOT / "models" / "all-MiniLM-L6-v2", written)
        times = {}
        for name, arena in (("arena", True), ("no arena", False)):
            described, times[name] = measured(baseline.session(written, 1, arena=arena), shapes)
            sys.stdout.write(f"{name:9}: {described}; {statistics.median(times[name]) * 1e3:.2f} ms for a batch\n")
    ratio = statistics.median(off / on for on, off in zip(times["arena"], times["no arena"], strict=True))
    sys.stdout.write(f"without the arena a batch takes {ratio:.3f} times as long\n")


if __name__ == "__main__":
    main()
