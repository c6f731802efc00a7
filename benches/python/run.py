"""Measures oxembed against pure-Python onnxruntime, both sides in the same process, interleaved; prints medians.

    python benches/python/run.py --onnx path/to/all-MiniLM-L6-v2/onnx/model.onnx [--json results.json]

The ONNX file is the usual torch export of sentence-transformers/all-MiniLM-L6-v2 (the file `onnx/model.onnx` of its
repository on the Hugging Face Hub). With sentence-transformers installed, it is measured too. Nothing else should run
on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import baseline
import numpy as np
import onnxruntime
import psutil
from cold_start import QUERY
from timing import interleaved, ratio

import oxembed
from oxembed import Embedder

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "all-MiniLM-L6-v2"


def throughput(sides: dict[str, Any], texts: list[str], rounds: int) -> dict[str, Any]:
    """Texts per second of every side on the same texts, and the smallest cosine to oxembed's vectors."""
    reference = sides["oxembed"].encode(texts)
    cosines = {name: float((side.encode(texts) * reference).sum(1).min()) for name, side in sides.items()}
    times = interleaved({name: (lambda side=side: side.encode(texts)) for name, side in sides.items()}, rounds)
    return {
        name: {
            "texts_per_second": len(texts) / statistics.median(seconds),
            "oxembed_is_faster_by": ratio(times, "oxembed", name),
            "smallest_cosine": cosines[name],
        }
        for name, seconds in times.items()
    }


def one_text(model: Embedder, onnx_file: Path, threads: int, rounds: int) -> dict[str, float]:
    """Milliseconds for one text."""
    session, tokenizer = baseline.session(onnx_file, threads), baseline.tokenizer(MODEL)
    times = interleaved(
        {
            "oxembed": lambda: model.encode(QUERY),
            "tokenizers + onnxruntime": lambda: baseline.run(session, [tokenizer.encode(QUERY).ids]),
        },
        rounds,
    )
    p50 = {name: statistics.median(seconds) * 1e3 for name, seconds in times.items()}
    p99 = {name: float(np.quantile(seconds, 0.99)) * 1e3 for name, seconds in times.items()}
    time_ratio = p50["oxembed"] / p50["tokenizers + onnxruntime"]
    return {
        "oxembed_p50_ms": p50["oxembed"],
        "python_p50_ms": p50["tokenizers + onnxruntime"],
        "oxembed_p99_ms": p99["oxembed"],
        "python_p99_ms": p99["tokenizers + onnxruntime"],
        "time_ratio": time_ratio,
    }


def overhead(rounds: int) -> float:
    """Microseconds of a one-text call besides the session's run: both sides run the same small ONNX file."""
    folder, file = ROOT / "tests" / "fixtures" / "bert-cls", "onnx/model.onnx"
    model = Embedder(folder, threads=1, onnx_file=file)
    session = baseline.session(folder / file, 1)
    ids = np.array([model.tokenize(["word"])["input_ids"][0]])
    every = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    feeds = {port.name: every[port.name] for port in session.get_inputs()}
    times = interleaved({"oxembed": lambda: model.encode("word"), "run": lambda: session.run(None, feeds)}, rounds)
    return (statistics.median(times["oxembed"]) - statistics.median(times["run"])) * 1e6


def whole_process(code: str, rounds: int = 7) -> float:
    """Seconds of `python -c code`, from start to exit."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


STREAM = """
import itertools, json, psutil, sys
from oxembed import Embedder
lines = [line for line in open(sys.argv[1], encoding="utf-8").read().splitlines() if line]
texts = (f"{line} {number}" for number, line in zip(range(int(sys.argv[2])), itertools.cycle(lines)))
process, done, marks = psutil.Process(), 0, []
for rows in Embedder().encode_iter(texts):
    done += len(rows)
    marks.append((done, process.memory_info().rss))
print(json.dumps(marks))
"""


def streaming(texts: int) -> dict[str, float]:
    """Resident memory of a process of its own that streams `texts` texts."""
    command = [sys.executable, "-c", STREAM, str(ROOT / "data" / "sentences.txt"), str(texts)]
    marks = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    early = max(rss for done, rss in marks if done <= max(20_000, marks[0][0]))
    late = [rss for done, rss in marks if done > 20_000] or [early]
    return {"texts": texts, "peak_mib": max(rss for _, rss in marks) / 2**20, "growth": max(late) / early - 1}


def crowd(model: Embedder, callers: int, texts: list[str]) -> dict[str, float]:
    """`callers` threads that each embed one text at the same moment; every row is checked."""
    expected = model.encode(texts[:callers])
    waits, wrong = [0.0] * callers, []
    barrier = threading.Barrier(callers + 1)

    def call(index: int) -> None:
        barrier.wait()
        start = time.perf_counter()
        row = model.encode(texts[index])
        waits[index] = time.perf_counter() - start
        if not np.array_equal(row, expected[index]):
            wrong.append(index)

    threads = [threading.Thread(target=call, args=(index,)) for index in range(callers)]
    for thread in threads:
        thread.start()
    before = psutil.Process().memory_info().rss
    barrier.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    gc.collect()
    return {
        "callers": callers,
        "wrong": len(wrong),
        "texts_per_second": callers / seconds,
        "longest_wait_s": max(waits),
        "growth_mib": (psutil.Process().memory_info().rss - before) / 2**20,
    }


def loop_delay(model: Embedder, texts: list[str]) -> float:
    """Longest time in milliseconds for which `aencode` of `texts` kept the event loop from running."""

    async def measure() -> float:
        task = asyncio.ensure_future(model.aencode(texts))
        longest = 0.0
        while not task.done():
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - start - 0.001)
        return longest * 1e3

    return asyncio.run(measure())


def sides(args: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Everything that can be measured here."""
    yield "oxembed", Embedder(threads=args.threads)
    yield "onnxruntime, sorted, 512 tokens, 1 thread a session", baseline.Best(MODEL, args.onnx, args.threads)
    yield "onnxruntime, batches of 32 in input order", baseline.Usual(MODEL, args.onnx, args.threads)
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        return
    yield "sentence-transformers", SentenceTransformer(str(MODEL), device="cpu", model_kwargs={"dtype": "float32"})


def main() -> None:
    """Runs every measurement and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onnx", type=Path, required=True, help="torch export of all-MiniLM-L6-v2")
    parser.add_argument("--texts", type=Path, default=ROOT / "data" / "short_texts.txt", help="a text a line")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--stream", type=int, default=200_000, help="texts to stream; 0 leaves it out")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    args = parser.parse_args()
    texts = [line for line in args.texts.read_text(encoding="utf-8").splitlines() if line]
    results: dict[str, Any] = {
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "threads": args.threads,
            "python": platform.python_version(),
            "onnxruntime": onnxruntime.__version__,
            "oxembed": oxembed.__version__,
        },
    }
    measured = dict(sides(args))
    results["throughput"] = throughput(measured, texts, args.rounds)
    model = measured["oxembed"]
    results["one_text"] = one_text(model, args.onnx, args.threads, 400)
    results["overhead_microseconds"] = overhead(2000)
    results["crowd"] = crowd(model, 1000, texts)
    results["event_loop_delay_ms"] = loop_delay(model, texts)
    results["process_s"] = {
        "from oxembed import Embedder; Embedder().encode('x')": whole_process(
            "from oxembed import Embedder; Embedder().encode('x')"
        ),
        "import oxembed, beyond numpy": whole_process("import numpy, oxembed") - whole_process("import numpy"),
    }
    if args.stream:
        results["streaming"] = streaming(args.stream)
    print(json.dumps(results, indent=2))
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
