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
from typing import NamedTuple

import record

FOLDER = record.ROOT / ".bench"


class Step(NamedTuple):
    """A command that writes results."""

    name: str
    command: str
    """As a reader types it, from the root of the repository."""
    writes: tuple[str, ...]
    """Names of the files, without folder and ending."""
    what: str


STEPS = (
    Step(
        "suite",
        "python -m pytest benches/python -q --benchmark-json=.bench/pytest.json",
        ("throughput", "latency", "concurrency"),
        "one text, batches, corpora, many callers: against programs on onnxruntime",
    ),
    Step(
        "cold_start",
        "python benches/python/cold_start.py --json .bench/cold_start.json",
        ("cold_start",),
        "new processes",
    ),
    Step("growth", "python benches/python/growth.py --json .bench/growth.json", ("growth",), "from 1 text to many"),
    Step("limit", "python benches/python/limit.py --json .bench/limit.json", ("limit",), "what this processor can do"),
    Step(
        "peers", "python benches/python/peers.py --json .bench/peers.json", ("peers",), "other packages, each by itself"
    ),
    Step("int8", "python benches/python/int8.py --dynamic --json .bench/int8.json", ("int8",), "int8 against float32"),
    Step(
        "attempts", "python benches/python/attempts.py --json .bench/attempts.json", ("attempts",), "what did not help"
    ),
    Step(
        "criterion",
        "python benches/python/criterion.py --json .bench/criterion.json",
        ("criterion",),
        "parts of the core",
    ),
)


def is_done(step: Step, commit: str) -> bool:
    """Whether all of a step's files are there and of this commit, which has no changes on top."""
    try:
        found = {record.read(FOLDER / f"{name}.json").commit for name in step.writes}
    except record.RecordError:
        return False
    return found == {commit} and "+" not in commit and commit != record.UNKNOWN


def run(step: Step) -> bool:
    """Runs a step, with what it prints in its log; True if it has ended well and written its files."""
    log = FOLDER / f"{step.name}.log"
    words = [sys.executable if word == "python" else word for word in shlex.split(step.command)]
    if onnx := os.environ.get("ONNX"):
        words += ["--onnx", onnx] if step.name in ("suite", "attempts") else []
    sys.stdout.write(f"{step.name:<12}{step.what} … ")
    sys.stdout.flush()
    start = time.monotonic()
    with log.open("wb") as output:
        status = subprocess.run(words, cwd=record.ROOT, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    absent = [name for name in step.writes if not (FOLDER / f"{name}.json").exists()]
    if status == 0 and not absent:
        sys.stdout.write(f"{time.monotonic() - start:.0f} s\n")
        return True
    end = "\n  ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
    why = f"exit status {status}" if status else f"it did not write {', '.join(absent)}.json"
    sys.stdout.write(f"FAILED: {why}\n  {end}\n  All that it printed: {log.relative_to(record.ROOT)}\n")
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
