"""int8 against float32 of the same model: how near the vectors are, how much faster they come, what a search notices.

    python benches/python/int8.py                                  # the embedded model
    python benches/python/int8.py --model path/to/folder --json results.json
    python benches/python/int8.py --dynamic                        # with onnxruntime's quantize_dynamic beside it

Measured, both sides in one process: cosines of texts that no calibration has seen, by kind (data/unseen.jsonl); whether
a text has the same bits alone and in a batch; times of short texts, of documents and of one text, in turn, as the
median over the rounds of the rounds' own ratios; what a search finds (data/retrieval.jsonl over data/jargon.txt) and
how pairs are ranked (data/pairs.jsonl); and, in processes of their own, the memory of either. The model needs its
int8.safetensors (`oxembed quantize MODEL`). `--dynamic` needs the package `onnx`.

docs/int8.md says how to read the figures. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import int8_measurements as measurements
import onnxruntime
from int8_report import as_text

import oxembed
from oxembed import Embedder
from oxembed._arguments.model import positive
from oxembed.exceptions import OxembedError

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="as for Embedder (default: the embedded model)")
    parser.add_argument("--threads", type=positive, metavar="N", help="threads for `all threads` (default: all)")
    parser.add_argument("--rounds", type=positive, default=9, help="rounds of every comparison (default: 9)")
    parser.add_argument("--limit", type=positive, metavar="N", help="only N texts of each kind and file (default: all)")
    parser.add_argument("--dynamic", action="store_true", help="measure onnxruntime's quantize_dynamic, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    return parser.parse_args()


def machine() -> dict[str, Any]:
    """Where this runs."""
    return {
        "processor": platform.processor() or platform.machine(),
        "processors": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "oxembed": oxembed.__version__,
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every measurement, each announced on stderr."""

    def load(dtype: str, threads: int | None = None) -> Embedder:
        return Embedder(arguments.model, provider="cpu", dtype=dtype, threads=threads or arguments.threads)

    sides = {dtype: load(dtype) for dtype in ("float32", "int8")}
    single = {dtype: load(dtype, 1) for dtype in sides}
    texts = measurements.read(DATA, arguments.limit)
    results: dict[str, Any] = {
        "machine": machine(),
        "model": sides["int8"].model_info().name,
        "threads": sides["int8"].model_info().threads,
        "rounds": arguments.rounds,
    }

    def announce(what: str) -> None:
        sys.stderr.write(f"measuring {what}\n")

    announce("quality")
    results["quality"] = measurements.quality(sides["float32"], sides["int8"], texts.unseen)
    announce("bits")
    results["bits"] = {dtype: measurements.bits(side, single[dtype], texts.all_unseen) for dtype, side in sides.items()}
    announce("retrieval")
    results["retrieval"] = measurements.retrieval(sides, texts)
    results["pairs"] = measurements.pairs(sides["float32"], sides["int8"], texts.pairs)
    if arguments.dynamic:
        announce("quantize_dynamic")
        with tempfile.TemporaryDirectory() as folder:
            dynamic = measurements.Dynamic(arguments.model, sides["float32"], Path(folder))
            results["dynamic"] = measurements.dynamic(dynamic, sides["float32"], texts, arguments.rounds)
    announce("speed")
    results["speed"] = measurements.speed(sides, single, texts, arguments.rounds)
    announce("memory")
    results["memory"] = measurements.memory(arguments.model, min(arguments.rounds, 5))
    return results


def main() -> int:
    """Measure, print, write; return 0, or 1 after a line about what keeps it from that, or 130 after Ctrl-C."""
    arguments = parse()
    # Documents that are cut are so on both sides.
    logging.getLogger("oxembed").setLevel(logging.ERROR)
    try:
        if arguments.json is not None:
            arguments.json.touch()  # now, not after minutes of measuring
        results = measure(arguments)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        sys.stdout.write(as_text(results))
    except (OxembedError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
