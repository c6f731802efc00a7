"""The step "cold_start" of `make bench`: import, load and first call, each start in a process of its own.

    python benches/python/starts.py --json .bench/cold_start.json [--onnx path/to/onnx/model.onnx]

The sides start in turn, and beside them an interpreter that does nothing and one that imports numpy, which every side
does. The files are in the system's memory: what a disk takes is not measured. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import record
from corpora import MODEL_LIMIT
from record import summary
from sides import INT8, NAIVE, OXEMBED
from timing import in_turn

import oxembed
from oxembed._arguments.model import positive
from oxembed.diagnosis import doctor
from oxembed.exceptions import OxembedError

ROUNDS = 9
SIDES = (OXEMBED, INT8, NAIVE)
NOTHING = {"an interpreter alone": "pass", "importing numpy": "import numpy"}
PARTS = ("import", "load", "first_call")


class StartError(Exception):
    """A start failed; the message says how."""


def started(command: list[str]) -> str:
    """What a process prints; it must end well."""
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        raise StartError(f"a process that was to be measured failed: {done.stderr.strip()}")
    return done.stdout


def commands(onnx: Path, threads: int) -> dict[str, list[str]]:
    """What starts each side, and an interpreter without one."""
    script = str(Path(__file__).with_name("cold_start.py"))
    shared = {"side": "suite", "onnx": str(onnx), "threads": threads, "max_tokens": MODEL_LIMIT}
    sides = {name: [sys.executable, script, json.dumps({**shared, "name": name})] for name in SIDES}
    return {**sides, **{name: [sys.executable, "-c", code] for name, code in NOTHING.items()}}


def measure(onnx: Path, threads: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Milliseconds of every start, whole and in parts."""

    def prepare(command: list[str]) -> Callable[[int], Callable[[], str]]:
        return lambda _: lambda: started(command)

    runs = in_turn({name: prepare(command) for name, command in commands(onnx, threads).items()}, rounds)
    found: dict[str, dict[str, Any]] = {}
    for name, run in runs.items():
        found[name] = {"process_ms": summary([1e3 * seconds for seconds in run.seconds])}
        if name in SIDES:
            starts = [json.loads(printed) for printed in run.results]
            if not all(start["finite"] for start in starts):
                raise StartError(f"{name}: the first vector is not finite")
            found[name] |= {f"{part}_ms": summary([1e3 * start[part] for start in starts]) for part in PARTS}
    return found


def main() -> int:
    """Measure and write; return 0, or 1 after a line about what keeps it from that, or 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where to write the results")
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="ONNX export for the Python side (default: our own)")
    parser.add_argument("--rounds", type=positive, default=ROUNDS, metavar="N", help="starts of each (default: 9)")
    arguments = parser.parse_args()
    threads, begun = doctor().threads.used, time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder:
            onnx = arguments.onnx or Path(folder) / "all-MiniLM-L6-v2.onnx"
            if arguments.onnx is None:
                oxembed.export("all-MiniLM-L6-v2", onnx)
            sides = measure(onnx, threads, arguments.rounds)
        results = {
            "threads": threads,
            "onnx": "named by --onnx" if arguments.onnx else "written by oxembed's export",
            "sides": sides,
        }
        command = f"python benches/python/starts.py --json .bench/cold_start.json --rounds {arguments.rounds}"
        command += " --onnx path/to/onnx/model.onnx" if arguments.onnx else ""
        record.write(arguments.json, "cold_start", command, time.monotonic() - begun, results)
    except (OxembedError, StartError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was written\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
