"""The steps "throughput", "latency" and "concurrency" of `make bench`: runs pytest-benchmark's suite and sums it up.

    python benches/python/suite.py throughput --json .bench/throughput.json
    python benches/python/suite.py latency --onnx path/to/all-MiniLM-L6-v2/onnx/model.onnx --json .bench/latency.json
    pytest benches/python --benchmark-json=.bench/pytest.json        # everything, as pytest-benchmark writes it
    python benches/python/suite.py latency --raw .bench/pytest.json --json .bench/latency.json

oxembed is compared with pure Python over onnxruntime and tokenizers, naive (batches of 32 in input order, one session
with all threads) and at its best (sorted by length, batches of 512 tokens, one one-thread session a core). Both run
the ONNX file that `--onnx` names, usually torch's export, `onnx/model.onnx` of sentence-transformers/all-MiniLM-L6-v2
on the Hugging Face Hub; else the graph that `oxembed export` writes of the embedded model. Nothing else should run on
the machine meanwhile.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import record

HERE = Path(__file__).resolve().parent
TESTS = {"throughput": "test_throughput", "latency": "test_latency", "concurrency": "test_concurrency"}


class SuiteError(Exception):
    """The suite gave no results; the message says why."""


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=TESTS)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where to write the results")
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="ONNX export for the Python sides (default: our own)")
    parser.add_argument("--threads", metavar="N", help="threads of every side (default: all)")
    parser.add_argument("--rounds", metavar="N", help="rounds of every workload (default: its own number)")
    parser.add_argument("--texts", metavar="N", help="only so many texts of each corpus, and callers of a crowd")
    parser.add_argument("--only", metavar="EXPRESSION", help="only some rows, as pytest -k picks them")
    parser.add_argument("--raw", type=Path, metavar="FILE", help="sum up this file of pytest-benchmark; run nothing")
    return parser.parse_args()


def run(arguments: argparse.Namespace, raw: Path) -> None:
    """Runs the step's tests, which write `raw`."""
    command = [sys.executable, "-m", "pytest", str(HERE / f"{TESTS[arguments.step]}.py"), f"--benchmark-json={raw}"]
    # No table wider than a window: all figures are in the file.
    command += ["--quiet", "--benchmark-columns=median,iqr,rounds", "--benchmark-sort=name"]
    for name in ("onnx", "threads", "rounds", "texts"):
        if (value := getattr(arguments, name)) is not None:
            command.append(f"--{name}={value}")
    command += ["-k", arguments.only] if arguments.only is not None else []
    if subprocess.run(command, cwd=record.ROOT, check=False).returncode != 0:
        raise SuiteError("a benchmark failed or gave wrong vectors, as pytest says above; nothing is written")


def results(raw: Path, step: str) -> dict[str, Any]:
    """The rows of a step, by workload and side, of a file that pytest-benchmark wrote."""
    try:
        rows = json.loads(raw.read_text(encoding="utf-8"))["benchmarks"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SuiteError(f"{raw} is not a file of pytest-benchmark: {error!r}") from None
    workloads: dict[str, Any] = {}
    for row in rows:
        if row["fullname"].partition("::")[0].endswith(f"{TESTS[step]}.py"):
            facts = dict(row["extra_info"])
            workload = workloads.setdefault(row["group"], {**facts.pop("workload"), "sides": {}})
            workload["sides"][facts.pop("side")] = facts
    if not workloads:
        raise SuiteError(f"{raw} has no benchmark of {TESTS[step]}.py")
    return {"workloads": workloads}


def seconds_in(raw: Path) -> float:
    """Seconds that pytest-benchmark's file tells of."""
    rows = json.loads(raw.read_text(encoding="utf-8"))["benchmarks"]
    return float(sum(row["stats"]["total"] for row in rows))


def command_of(arguments: argparse.Namespace) -> str:
    """What makes the results again, from the root of the repository; where a user has a file is not named."""
    words = ["python", "benches/python/suite.py", arguments.step, "--json", f".bench/{arguments.step}.json"]
    if arguments.raw is not None:
        return " ".join(
            [*words, "--raw .bench/pytest.json, after pytest benches/python --benchmark-json=.bench/pytest.json"]
        )
    words += ["--onnx", "path/to/onnx/model.onnx"] if arguments.onnx else []
    for name in ("threads", "rounds", "texts"):
        words += [f"--{name}", getattr(arguments, name)] if getattr(arguments, name) is not None else []
    words += ["--only", shlex.quote(arguments.only)] if arguments.only is not None else []
    return " ".join(words)


def main() -> int:
    """Measure and write; return 0, or 1 after a line about what keeps it from that, or 130 after Ctrl-C."""
    arguments = parse()
    start = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder:
            raw = arguments.raw or Path(folder) / "pytest.json"
            if arguments.raw is None:
                run(arguments, raw)
            found = results(raw, arguments.step)
            seconds = seconds_in(raw) if arguments.raw else time.monotonic() - start
        versions = {name: importlib.metadata.version(name) for name in ("tokenizers", "pytest-benchmark")}
        record.write(arguments.json, arguments.step, command_of(arguments), seconds, found, versions)
    except (SuiteError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was written\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
