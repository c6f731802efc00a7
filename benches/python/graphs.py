"""Written graphs against torch's exports of the same models, both in a plain ONNX Runtime session.

    python benches/python/torch_export.py FOLDER     # with a Python that has torch
    python benches/python/graphs.py FOLDER           # with a Python that has oxembed

One round runs each graph once; the figure is the median over the rounds of the ratio of their processor times.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from baseline import session
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

import oxembed

SHAPES = ((1, 16), (16, 32), (4, 128), (1, 512))


def inputs(names: set[str], batch: int, sequence: int) -> dict[str, NDArray[np.int64]]:
    """Texts of nearly the same length, padded behind."""
    random = np.random.default_rng(0)
    lengths = np.maximum(1, sequence - np.arange(batch) % 3)
    mask = (np.arange(sequence)[None] < lengths[:, None]).astype(np.int64)
    feeds = {
        "input_ids": random.integers(5, 1000, (batch, sequence)),
        "attention_mask": mask,
        "token_type_ids": np.zeros_like(mask),
        "position_ids": np.arange(sequence)[None] * mask,
    }
    return {name: value for name, value in feeds.items() if name in names}


def compare(written: Path, exported: Path, rounds: int, threads: int) -> None:
    """Print a line for each shape of batches."""
    sessions = [session(path, threads) for path in (written, exported)]
    for batch, sequence in SHAPES:
        feeds = [inputs({port.name for port in one.get_inputs()}, batch, sequence) for one in sessions]
        try:
            first, second = (one.run(None, feed)[0] for one, feed in zip(sessions, feeds, strict=True))
        except RuntimeException as error:  # torch's export of ModernBERT fails beyond its first lengths
            sys.stdout.write(f"  {batch:3d} x {sequence:3d}  torch's export fails: {str(error).splitlines()[0][:90]}\n")
            continue
        mask = feeds[0]["attention_mask"][..., None]
        difference = float(np.abs((first - second) * mask).max())
        ratios, times = [], []
        for number in range(rounds):
            seconds = [0.0, 0.0]
            for index in (0, 1) if number % 2 else (1, 0):
                started = time.process_time()
                sessions[index].run(None, feeds[index])
                seconds[index] = time.process_time() - started
            ratios.append(seconds[1] / seconds[0])
            times.append(seconds[0])
        sys.stdout.write(
            f"  {batch:3d} x {sequence:3d}  {statistics.median(times) * 1e3:8.1f} ms  "
            f"{statistics.median(ratios):5.2f} x torch's export  (largest difference {difference:.1e})\n"
        )


def main() -> int:
    """Compare every folder that has both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    for folder in sorted(path.parent for path in arguments.folder.glob("*/torch.onnx")):
        sys.stdout.write(f"{folder.name}, {arguments.threads} threads\n")
        with tempfile.TemporaryDirectory() as temporary:
            written = Path(temporary) / "written.onnx"
            oxembed.export(folder, written)
            compare(written, folder / "torch.onnx", arguments.rounds, arguments.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
