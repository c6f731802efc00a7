"""What each part of the Rust core takes, by criterion: tokens, plans, pooling, graphs, int8, loading, embedding.

    make criterion                             # all of it, in about three minutes; writes .bench/criterion.json
    python benches/python/criterion.py         # the same
    python benches/python/criterion.py --only pooling --json .bench/pooling.json

Runs `cargo bench` of the package in benches/, which is built as the wheel is, and makes one file of what criterion
leaves in target/criterion: for each bench the seconds of one iteration (median, spread and rounds, which are its
samples), and how many elements or bytes that was. `ORT_DYLIB_PATH` names ONNX Runtime's library; without it, that is
the one that oxembed finds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import record

from oxembed.runtime import find_library

ROOT = Path(__file__).resolve().parents[2]
STEP = "criterion"
COMMAND = "make criterion"
FOUND = ROOT / "target" / "criterion"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME", help="benches whose name contains this (default: all)")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", default=ROOT / ".bench" / f"{STEP}.json", help="where the results go"
    )
    return parser.parse_args()


def run(only: str | None) -> None:
    """Measures, with criterion's own report on the way; raises CalledProcessError where a bench fails."""
    shutil.rmtree(FOUND, ignore_errors=True)  # else what an earlier run left would count
    command = ["cargo", "bench", "--manifest-path", "benches/Cargo.toml", "--target-dir", "target", "--bench", "parts"]
    environment = {
        **os.environ,
        "ORT_DYLIB_PATH": os.environ.get("ORT_DYLIB_PATH") or str(find_library()),
        "CRITERION_HOME": str(FOUND),
    }
    subprocess.run([*command, "--", *([only] if only else [])], cwd=ROOT, env=environment, check=True)


def collect(folder: Path) -> dict[str, dict[str, Any]]:
    """What criterion left in its folder: by group, then by the rest of a bench's name.

    Raises:
        FileNotFoundError: There is nothing.
    """
    groups: dict[str, dict[str, Any]] = {}
    for about in sorted(folder.glob("**/new/benchmark.json")):
        bench = json.loads(about.read_text(encoding="utf-8"))
        sample = json.loads(about.with_name("sample.json").read_text(encoding="utf-8"))
        times = zip(sample["times"], sample["iters"], strict=True)
        seconds = [nanoseconds / iterations / 1e9 for nanoseconds, iterations in times]
        name = "/".join(part for part in (bench["function_id"], bench["value_str"]) if part)
        of_one = {kind.lower(): amount for kind, amount in (bench["throughput"] or {}).items()}
        groups.setdefault(bench["group_id"], {})[name] = {"seconds": record.summary(seconds), **of_one}
    if not groups:
        raise FileNotFoundError(f"{folder} has no results: no bench was run")
    return groups


def main() -> int:
    """Measures and writes the file."""
    arguments = parse()
    started = time.perf_counter()
    try:
        run(arguments.only)
        results = collect(FOUND)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        print(f"criterion: {error}", file=sys.stderr)
        return 1
    rust = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    record.write(arguments.json, STEP, COMMAND, time.perf_counter() - started, results, versions={"rust": rust})
    print(f"Written to {arguments.json}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
