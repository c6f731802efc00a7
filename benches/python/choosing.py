"""What `provider="auto"` costs at loading, against naming the provider; every load in a process of its own.

    python benches/python/choosing.py --python PYTHON [--provider openvino] [--rounds 6]

PYTHON is an interpreter that has oxembed and the provider, such as one with `onnxruntime-openvino`. The verdict, and
what a provider compiles, are kept in folders that are thrown away: the first load under "auto" finds its own empty.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LOAD = """
import sys, time
from oxembed import Embedder
start = time.perf_counter()
Embedder(provider=sys.argv[1])
print(time.perf_counter() - start)
"""


def milliseconds(python: str, provider: str, cache: Path) -> float:
    """A load in a new process that keeps what it learns in `cache`; the imports are not counted."""
    done = subprocess.run(
        [python, "-c", LOAD, provider],
        env={**os.environ, "OXEMBED_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    if done.returncode != 0:
        raise SystemExit(f"loading with provider={provider!r} failed:\n{done.stderr.strip()}")
    return float(done.stdout) * 1e3


def main() -> int:
    """Measures in turn and prints medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the interpreter (default: this one)")
    parser.add_argument("--provider", default="openvino", help="the provider that is installed (default: openvino)")
    parser.add_argument("--rounds", type=int, default=6, help="loads of each kind (default: 6)")
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder)
            for name, provider, where in (
                ('provider="cpu"', "cpu", cache),
                (f'provider="{arguments.provider}"', arguments.provider, cache / "named"),
                ('the first load under "auto"', "auto", cache / "auto"),
                ('later loads under "auto"', "auto", cache / "auto"),
            ):
                times.setdefault(name, []).append(milliseconds(arguments.python, provider, where))
    width = max(map(len, times))
    for name, found in times.items():
        sys.stdout.write(f"{name:<{width}}  {statistics.median(found):6.0f} ms\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
