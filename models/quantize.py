"""Quantize the embedded model: the int8 layers for `dtype="int8"`, learned from the texts that come with the package.

    python models/quantize.py             write models/all-MiniLM-L6-v2/int8.safetensors
    python models/quantize.py --check     measure the vectors of the stored file again, and compare with what it says

Needs oxembed itself, so it comes after models/build.py, which holds the file to its sha256 sum. Processors differ in
the last bits of single precision, in which the model is learned from, so that another machine's file may differ in a
few weights: the check compares what the file promises with what it keeps.
Exit status: 0, or 1 with what differs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

import oxembed

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "all-MiniLM-L6-v2"
FILE = FOLDER / "int8.safetensors"
HELD_OUT = HERE.parent / "src" / "quantize" / "texts" / "held_out.jsonl"
# What the last bits of another processor's single precision can come to, in a mean of cosines and in one of them.
MEAN_TOLERANCE, MINIMUM_TOLERANCE = 1e-6, 2e-5


def measure() -> tuple[float, float]:
    """Mean and least cosine of the stored file's vectors, on the texts that were kept apart."""
    texts = [json.loads(line)["text"] for line in HELD_OUT.read_text(encoding="utf-8").split("\n") if line]
    rows = [oxembed.Embedder(FOLDER, provider="cpu", dtype=dtype).encode(texts) for dtype in ("float32", "int8")]
    full, quantized = (row.astype(np.float64) for row in rows)
    cosines = (full * quantized).sum(1) / np.linalg.norm(full, axis=1) / np.linalg.norm(quantized, axis=1)
    return float(cosines.mean()), float(cosines.min())


def main() -> int:
    """Write or check; return the exit status."""
    parser = argparse.ArgumentParser(description="Quantize the embedded model on the texts that come with the package.")
    parser.add_argument("--check", action="store_true", help="measure the stored file; write nothing")
    options = parser.parse_args()
    if not options.check:
        report = oxembed.quantize(FOLDER, show_progress_bar=False)
        print(report)
        return 0 if report.passed else 1
    said = oxembed.Embedder(FOLDER, provider="cpu", dtype="int8").model_info().quality
    if said is None:
        print(f"error: {FILE} says nothing of its quality", file=sys.stderr)
        return 1
    mean, minimum = measure()
    if abs(mean - said["mean"]) > MEAN_TOLERANCE or abs(minimum - said["minimum"]) > MINIMUM_TOLERANCE:
        print(f"error: {FILE} says {said}, measured: mean {mean:.6f}, minimum {minimum:.6f}", file=sys.stderr)
        return 1
    print(f"{FILE}: mean cosine {mean:.6f}, minimum {minimum:.6f}, as it says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
