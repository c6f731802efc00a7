"""`make bench`: runs the steps whose results are not there yet, one after the other, and keeps what each has printed.

    python benches/python/steps.py [--only throughput,limit] [--again] [--list]

A step writes `.bench/NAME.json`. Where that file is of the commit at hand the step is not run again, so that an
interrupted run goes on where it was. With changes that are not committed every step runs.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import record

FOLDER = record.ROOT / ".bench"


class Step(NamedTuple):
    """A command that writes results."""

    name: str
    command: str
    """As a reader types it, from the root of the repository."""
    what: str
    takes_onnx: bool
    """Whether it compares with torch's export, where the variable ONNX names one."""

    @property
    def file(self) -> Path:
        """What it writes."""
        return FOLDER / f"{self.name}.json"


def _step(name: str, script: str, what: str, *, takes_onnx: bool = False) -> Step:
    return Step(name, f"python benches/python/{script} --json .bench/{name}.json", what, takes_onnx)


STEPS = (
    _step("throughput", "suite.py throughput", "whole corpora, against programs on onnxruntime", takes_onnx=True),
    _step("latency", "suite.py latency", "one text and batches", takes_onnx=True),
    _step("concurrency", "suite.py concurrency", "many callers at once", takes_onnx=True),
    _step("cold_start", "starts.py", "new processes", takes_onnx=True),
    _step("growth", "growth.py", "more texts, cores and tokens"),
    _step("limit", "limit.py", "what this processor can do, and where the time goes"),
    _step("peers", "peers.py", "other packages, each in an environment of its own"),
    _step("attempts", "attempts.py", "what was tried and did not help", takes_onnx=True),
    _step("criterion", "criterion.py", "parts of the Rust core"),
)


def is_done(step: Step, commit: str) -> bool:
    """Whether a step's file is there and of this commit, which has no changes on top."""
    try:
        found = record.read(step.file).commit
    except record.RecordError:
        return False
    return found == commit and "+" not in commit and commit != record.UNKNOWN


def run(step: Step) -> bool:
    """Runs a step, with what it prints in its log; True if it has ended well and written its file."""
    log = FOLDER / f"{step.name}.log"
    words = [sys.executable if word == "python" else word for word in shlex.split(step.command)]
    if step.takes_onnx and (onnx := os.environ.get("ONNX")):
        words += ["--onnx", onnx]
    sys.stdout.write(f"{step.name:<12}{step.what} … ")
    sys.stdout.flush()
    start = time.monotonic()
    with log.open("wb") as output:
        status = subprocess.run(words, cwd=record.ROOT, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    if status == 0:
        sys.stdout.write(f"{time.monotonic() - start:.0f} s\n")
        return True
    end = "\n  ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
    sys.stdout.write(f"FAILED: exit status {status}\n  {end}\n  All that it printed: {log.relative_to(record.ROOT)}\n")
    return False


def main() -> int:
    """Runs what is to be run; 1 where a step failed, after all others have had their turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="names of steps, with commas between them")
    parser.add_argument("--again", action="store_true", help="run steps whose results are there, too")
    parser.add_argument("--list", action="store_true", help="show the steps and their commands")
    arguments = parser.parse_args()
    names = [step.name for step in STEPS]
    chosen = arguments.only.split(",") if arguments.only else names
    if unknown := sorted(set(chosen) - set(names)):
        parser.error(f"there is no step {', '.join(unknown)}; there are {', '.join(names)}")
    if arguments.list:
        sys.stdout.writelines(f"{step.name:<12}{step.what}\n{'':<12}{step.command}\n" for step in STEPS)
        return 0
    FOLDER.mkdir(exist_ok=True)
    commit = record.commit()
    failed = []
    for step in STEPS:
        if step.name not in chosen:
            continue
        if is_done(step, commit) and not arguments.again:
            sys.stdout.write(f"{step.name:<12}is there, of this commit\n")
        elif not run(step):
            failed.append(step.name)
    if failed:
        sys.stdout.write(
            f"Failed: {', '.join(failed)}. The other steps' results are kept: `make bench` runs these again.\n"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; what is done is kept, `make bench` goes on from here\n")
        sys.exit(130)
