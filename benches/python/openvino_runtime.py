"""Measures OpenVINO under oxembed against OpenVINO's own runtime and against the CPU path, in turn; prints medians.

    python benches/python/openvino_runtime.py --oxembed PYTHON --openvino PYTHON [--json results.json]

Both arguments are Python programs, since the two cannot share an environment: one that has oxembed with
`onnxruntime-openvino` (or, on an Intel processor, `onnxruntime-ep-openvino`), and one that has `openvino`. Every side
is a process of its own, asked in turn. OpenVINO's own runtime is given the token ids, and compiles oxembed's exported
graph for the one shape of each batch, which is what it likes best; oxembed is given the texts. All compute in float32
with as many threads. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "all-MiniLM-L6-v2"
# Rows and tokens of the batches, all of them batches that oxembed makes of many texts of that length, and one text.
SHAPES = ((1, 16), (32, 16), (16, 32), (4, 128))
TEXTS_OF_A_SHAPE = 64
OWN = "OpenVINO's own runtime"
OWN_STREAMS = "OpenVINO's own runtime, a stream a thread"


def oxembed_side(provider: str, threads: int) -> Callable[[Any], Any]:
    """Answer requests with oxembed: texts to vectors, or what it is asked about itself."""
    import oxembed

    model = oxembed.Embedder(MODEL, provider=provider, threads=threads)

    def work(request: Any) -> Any:
        match request:
            case {"export": file, "shape": shape}:
                # The graph for OpenVINO, except for the operator that looks tokens up.
                oxembed.export(MODEL, file, target="coreml", static=tuple(shape))
            case {"tokens": texts}:
                ids = model.tokenize(texts)["input_ids"]
                return [[int(token) for token in row] for row in ids]
            case {"count": texts}:
                return [int(count) for count in model.count_tokens(texts)]
            case {"placement": _}:
                return model.placement().as_dict()["sessions"]
            case {"texts": texts, "rows": 1}:
                return np.stack([model.encode(text) for text in texts])
            case {"texts": texts}:
                return model.encode(texts)
        return None

    return work


def own_side(streams: int, threads: int) -> Callable[[Any], Any]:
    """Answer requests with OpenVINO's own runtime: token ids to vectors, in batches of one shape."""
    import openvino

    core = openvino.Core()
    queues: dict[tuple[int, ...], Any] = {}

    def work(request: Any) -> Any:
        rows, tokens = request["shape"]
        if (rows, tokens) not in queues:
            settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams}
            compiled = core.compile_model(request["graph"], "CPU", settings)
            queues[rows, tokens] = openvino.AsyncInferQueue(compiled, streams)
        queue = queues[rows, tokens]
        ids = np.array(request["ids"], np.int64)
        vectors = np.empty((len(ids), 384), np.float32)

        def keep(finished: Any, start: int) -> None:
            # Every text has as many tokens, so that the mean is one of all of them.
            mean = finished.get_output_tensor(0).data.mean(axis=1)
            vectors[start : start + rows] = mean / np.linalg.norm(mean, axis=1, keepdims=True)

        queue.set_callback(keep)
        mask = np.ones((rows, tokens), np.int64)
        constant = {"attention_mask": mask, "token_type_ids": mask * 0, "position_ids": mask.cumsum(axis=1) - 1}
        for start in range(0, len(ids), rows):
            queue.start_async({"input_ids": ids[start : start + rows], **constant}, start)
            if rows == 1:  # a text alone, and the next when it is done, as oxembed is asked
                queue.wait_all()
        queue.wait_all()
        return vectors

    return work


def serve(side: str, threads: int) -> None:
    """Answer each line of standard input with the seconds it took and what came of it."""
    makers = {
        "openvino": lambda: oxembed_side("openvino", threads),
        "cpu": lambda: oxembed_side("cpu", threads),
        OWN: lambda: own_side(1, threads),
        OWN_STREAMS: lambda: own_side(threads, threads),
    }
    work = makers[side]()
    for line in sys.stdin:
        request = json.loads(line)
        start = time.perf_counter()
        outcome = work(request)
        seconds = time.perf_counter() - start
        outcome = outcome.tolist() if isinstance(outcome, np.ndarray) else outcome
        print(json.dumps([seconds, outcome if request.get("answer", True) else None]), flush=True)


class Side:
    """A process that does one side's work."""

    def __init__(self, python: str, name: str, threads: int) -> None:
        command = [python, str(Path(__file__).resolve()), "--serve", name, "--threads", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request: Any) -> tuple[float, Any]:
        """Seconds and answer of a request."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended; what it printed says why")
        seconds, answer = json.loads(line)
        return seconds, answer

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measured(sides: dict[str, tuple[Side, dict[str, Any]]], texts: int, rounds: int) -> dict[str, Any]:
    """Texts a second of every side, how much faster oxembed on OpenVINO was, and how near the vectors are."""
    vectors = {name: np.array(side.ask(**request)[1]) for name, (side, request) in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, (side, request) in sides.items():
            seconds[name].append(side.ask(**request, answer=False)[0])
    ours = seconds["openvino"]
    return {
        name: {
            "texts_per_second": texts / statistics.median(seconds[name]),
            "openvino_is_faster_by": statistics.median(
                other / own for own, other in zip(ours, seconds[name], strict=True)
            ),
            "smallest_cosine": float((vectors[name] * vectors["openvino"]).sum(axis=1).min()),
        }
        for name in sides
    }


def texts_of(side: Side, tokens: int, count: int) -> list[str]:
    """Different texts of so many tokens, of words that are one token each."""
    words = sorted({word for line in SHORT_TEXTS for word in line.lower().split() if word.isalpha()})
    counts = side.ask(count=words)[1]
    words = [word for word, tokens_of_word in zip(words, counts, strict=True) if tokens_of_word == 3]
    chance = random.Random(0)
    return [" ".join(chance.choices(words, k=tokens - 2)) for _ in range(count)]


SHORT_TEXTS = [line for line in (ROOT / "data" / "short_texts.txt").read_text(encoding="utf-8").splitlines() if line]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oxembed", default=sys.executable, help="the Python that has oxembed with OpenVINO")
    parser.add_argument("--openvino", default=sys.executable, help="the Python that has the package openvino")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.threads)
        return
    pythons = dict.fromkeys(("openvino", "cpu"), arguments.oxembed)
    pythons |= dict.fromkeys((OWN, OWN_STREAMS), arguments.openvino)
    sides = {name: Side(python, name, arguments.threads) for name, python in pythons.items()}
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for rows, tokens in SHAPES:
            graph = str(Path(folder) / f"{rows}x{tokens}.onnx")
            sides["cpu"].ask(export=graph, shape=[rows, tokens])
            texts = texts_of(sides["cpu"], tokens, TEXTS_OF_A_SHAPE)
            ids = sides["cpu"].ask(tokens=texts)[1]
            own = {"graph": graph, "shape": [rows, tokens], "ids": ids}
            requests = {name: {"texts": texts, "rows": rows} if name in ("openvino", "cpu") else own for name in sides}
            both = {name: (side, requests[name]) for name, side in sides.items()}
            results[f"{rows} x {tokens}"] = measured(both, len(texts), arguments.rounds)
        ours = {name: (sides[name], {"texts": SHORT_TEXTS, "rows": 0}) for name in ("openvino", "cpu")}
        results["2,000 short texts"] = measured(ours, len(SHORT_TEXTS), arguments.rounds)
    results["placement"] = sides["openvino"].ask(placement=True)[1]
    for side in sides.values():
        side.close()
    for what, outcome in results.items():
        if what == "placement":
            continue
        for name, numbers in outcome.items():
            speed, faster, cosine = numbers.values()
            compared = f"oxembed on OpenVINO is {faster:5.2f} times as fast, cosine {cosine:.7f}"
            print(f"{what:18} {name:42} {speed:8.1f} texts/s, {compared}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
