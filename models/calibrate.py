"""Measure the calibration of the embedded model, the ranges of its int8 and uint8 vectors, on the texts in data/.

    python models/calibrate.py             write models/all-MiniLM-L6-v2/calibration.json
    python models/calibrate.py --check     measure again, and compare with the file

Needs oxembed itself, so it comes after models/build.py, which holds the file to its sha256 sum. Processors differ in
the last bits of a vector; the ranges are rounded outwards to four decimals, so that the file does not.
Exit status: 0, or 1 with what differs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from oxembed import Calibration, Embedder

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "all-MiniLM-L6-v2"
FILE = FOLDER / "calibration.json"
TEXTS = ("jargon.txt", "sentences.txt", "short_texts.txt")
DECIMALS = 4


def measure() -> Calibration:
    """The calibration over every line of the texts."""
    texts: list[str] = []
    for name in TEXTS:
        texts += (HERE.parent / "data" / name).read_text(encoding="utf-8").splitlines()
    measured = Embedder(FOLDER, provider="cpu").calibrate(list(dict.fromkeys(texts)), show_progress_bar=False)
    scale = 10.0**DECIMALS
    minimum, maximum = measured.ranges.astype(np.float64) * scale
    ranges = np.stack([np.floor(minimum), np.ceil(maximum)]) / scale + 0.0  # no -0.0
    return Calibration(ranges, measured.normalized, measured.vectors, measured.model)


def main() -> int:
    """Write or check; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure the calibration of the embedded model on the texts in data/.")
    parser.add_argument("--check", action="store_true", help="compare with the file; write nothing")
    options = parser.parse_args()
    measured = measure()
    if not options.check:
        measured.save(FILE)
        print(f"{FILE}: ranges of {measured.dimension} dimensions, measured on {measured.vectors} texts")
        return 0
    stored = Calibration.load(FILE)
    if stored != measured:
        # One step of the rounding is what the last bits of another processor can come to.
        off = np.abs(stored.ranges - measured.ranges).max() if stored.dimension == measured.dimension else np.inf
        same = (stored.normalized, stored.vectors, stored.model) == (
            measured.normalized,
            measured.vectors,
            measured.model,
        )
        if not same or off > 1.5 * 10.0**-DECIMALS:
            print(f"error: {FILE} says {stored}, measured: {measured}; ranges differ by {off:.2g}", file=sys.stderr)
            return 1
    print(f"{FILE}: as measured on {measured.vectors} texts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
