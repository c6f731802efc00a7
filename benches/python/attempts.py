"""What was tried and did not help: other graphs, operators, token budgets and sessions against those in use.

    python benches/python/attempts.py --json .bench/attempts.json

Everything runs in plain ONNX Runtime sessions of one thread unless it says otherwise. The sides of a comparison take
turns in every round; a ratio is the median over the rounds of the other side's time through that of what is in use, so
above 1 the other side is slower. Graphs that compute something else (by more than 1e-5) end the program.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime
import record
from baseline import Best, session
from graph_variants import VARIANTS
from graphs import inputs
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from timing import Times, in_turn, interleaved

import oxembed

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "all-MiniLM-L6-v2"
SHAPES = ((36, 14), (4, 128), (1, 14), (2, 256))
BUDGETS = (128, 256, 384, 512, 768, 1024, 2048)
IN_USE = "in use"


def compared(times: Times) -> dict[str, dict[str, Any]]:
    """Milliseconds and the ratio to what is in use, of each side."""
    used = times[IN_USE]
    return {
        name: {
            "milliseconds": record.summary([each * 1e3 for each in seconds]),
            "ratio": median(own / base for own, base in zip(seconds, used, strict=True)),
        }
        for name, seconds in times.items()
    }


def whole_graphs(folder: Path, torch_export: Path | None, rounds: int) -> dict[str, Any]:
    """The model's graph in every variant, at several shapes."""
    written = folder / "written.onnx"
    oxembed.export(MODEL, written)
    model = onnx.load(written)
    files = {IN_USE: written}
    for number, (name, change) in enumerate(VARIANTS.items()):
        files[name] = folder / f"variant_{number}.onnx"
        onnx.save(change(model), files[name])
    if torch_export is not None:
        files["the torch export"] = torch_export
    sessions = {name: session(file, 1) for name, file in files.items()}
    results = {}
    for rows, tokens in SHAPES:
        feeds = {name: inputs({port.name for port in one.get_inputs()}, rows, tokens) for name, one in sessions.items()}
        right = sessions[IN_USE].run(None, feeds[IN_USE])[0]
        used = feeds[IN_USE]["attention_mask"].astype(bool)
        for name, one in sessions.items():
            error = float(np.abs(one.run(None, feeds[name])[0] - right)[used].max())
            # The torch export has its weights in 32 bits where the embedded model has 16.
            if error > (1e-2 if name == "the torch export" else 1e-5):
                raise SystemExit(f"{name} computes something else: {error:.2g} apart at {rows} x {tokens}")
        sides = {name: partial(one.run, None, feeds[name]) for name, one in sessions.items()}
        results[f"{rows} x {tokens}"] = compared(interleaved(sides, rounds, warm_ups=3))
    return results


def _single(folder: Path, name: str, nodes: list[onnx.NodeProto], ports: dict[str, Any], **weights: Any) -> Path:
    """A file with a graph of these nodes: inputs as `ports` say, weights inside, the last node's output."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(port, kind, shape) for port, (kind, shape) in ports.items()],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
    file = folder / f"{name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), file)
    return file


def _random(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(len(shape) + shape[-1]).standard_normal(shape, dtype=np.float32) * np.float32(0.05)


def attention(folder: Path, rounds: int) -> dict[str, Any]:
    """The operator alone: 12 heads of 32, as in the embedded model."""
    heads, width = 12, 384
    ports: dict[str, Any] = dict.fromkeys("qkv", (TensorProto.FLOAT, ("b", "s", width)))
    ports["mask"] = (TensorProto.FLOAT, ("b", 1, "s", "s"))
    standard = helper.make_node("Attention", ["q", "k", "v", "mask"], ["y"], q_num_heads=heads, kv_num_heads=heads)
    microsoft = helper.make_node(
        "MultiHeadAttention", ["q", "k", "v", "", "", "mask"], ["y"], domain="com.microsoft", num_heads=heads
    )
    sides = {
        IN_USE: session(_single(folder, "attention", [standard], ports), 1),
        "com.microsoft.MultiHeadAttention": session(_single(folder, "multi_head", [microsoft], ports), 1),
    }
    results = {}
    for rows, tokens in ((1, 8), (32, 16), (16, 32), (4, 128), (1, 512)):
        feed = {name: _random(rows, tokens, width) for name in "qkv"}
        feed["mask"] = np.zeros((rows, 1, tokens, tokens), np.float32)
        results[f"{rows} x {tokens}"] = _timed(sides, feed, rounds)
    return results


def grouped_attention(folder: Path, rounds: int) -> dict[str, Any]:
    """For decoders: 16 heads of 128 over 8 of keys and values, causal."""
    queries, keys = 16 * 128, 8 * 128
    ports = {
        "q": (TensorProto.FLOAT, ("b", "s", queries)),
        "k": (TensorProto.FLOAT, ("b", "s", keys)),
        "v": (TensorProto.FLOAT, ("b", "s", keys)),
    }
    standard = helper.make_node("Attention", ["q", "k", "v"], ["y"], q_num_heads=16, kv_num_heads=8, is_causal=1)
    grouped = helper.make_node(
        "GroupQueryAttention",
        ["q", "k", "v", "past_k", "past_v", "lengths", "total"],
        ["y", "new_k", "new_v"],
        domain="com.microsoft",
        num_heads=16,
        kv_num_heads=8,
    )
    more = {
        "past_k": (TensorProto.FLOAT, ("b", 8, "p", 128)),
        "past_v": (TensorProto.FLOAT, ("b", 8, "p", 128)),
        "lengths": (TensorProto.INT32, ("b",)),
        "total": (TensorProto.INT32, ()),
    }
    sides = {
        IN_USE: session(_single(folder, "causal", [standard], ports), 1),
        "com.microsoft.GroupQueryAttention": session(_single(folder, "grouped", [grouped], ports | more), 1),
    }
    results = {}
    for rows, tokens in ((16, 32), (1, 512)):
        feed: dict[str, Any] = {"q": _random(rows, tokens, queries)}
        feed |= {name: _random(rows, tokens, keys) for name in "kv"}
        feed |= {name: np.zeros((rows, 8, 0, 128), np.float32) for name in ("past_k", "past_v")}
        feed |= {"lengths": np.full(rows, tokens - 1, np.int32), "total": np.array(tokens, np.int32)}
        results[f"{rows} x {tokens}"] = _timed(sides, feed, rounds)
    return results


def packing(folder: Path, rounds: int) -> dict[str, Any]:
    """Four layers' products at a width of 1,024: packed for the product when the session is made, or not."""
    width, products = 1024, 48
    # Twelve matrices of width x width a layer: four of attention, and a feed-forward block of four times the width.
    nodes = [
        helper.make_node("Gemm", [f"x{number}", f"w{number}"], [f"x{number + 1}"], transB=1)
        for number in range(products)
    ]
    weights = {f"w{number}": _random(width, width) for number in range(products)}
    file = _single(folder, "packing", nodes, {"x0": (TensorProto.FLOAT, ("n", width))}, **weights)
    sides = {IN_USE: session(file, 1), "not packed": session(file, 1, settings={"session.disable_prepacking": "1"})}
    return {str(rows): _timed(sides, {"x0": _random(rows, width)}, rounds) for rows in (8, 32, 128, 512)}


def gate_and_up(folder: Path, rounds: int) -> dict[str, Any]:
    """The two products of a gated feed-forward block, 1,024 to 3,072, apart and as one with a `Split`."""
    gate, up = _random(3072, 1024), _random(3072, 1024)[::-1].copy()
    ports = {"x": (TensorProto.FLOAT, ("n", 1024))}
    multiply = helper.make_node("Mul", ["gate", "up"], ["y"])
    apart = [helper.make_node("Gemm", ["x", f"{name}_weight"], [name], transB=1) for name in ("gate", "up")]
    together = [
        helper.make_node("Gemm", ["x", "weight"], ["both"], transB=1),
        helper.make_node("Split", ["both"], ["gate", "up"], axis=1, num_outputs=2),
    ]
    two = _single(folder, "apart", [*apart, multiply], ports, gate_weight=gate, up_weight=up)
    one = _single(folder, "together", [*together, multiply], ports, weight=np.concatenate([gate, up]))
    sides = {IN_USE: session(two, 1), "one product": session(one, 1)}
    return {str(rows): _timed(sides, {"x": _random(rows, 1024)}, rounds) for rows in (16, 512)}


def _timed(sides: dict[str, onnxruntime.InferenceSession], feed: dict[str, Any], rounds: int) -> dict[str, Any]:
    """The sides in turn on one input; those that differ end the program."""
    outputs = {
        name: one.run(
            ["y"] if any(port.name == "y" for port in one.get_outputs()) else None,
            {port.name: feed[port.name] for port in one.get_inputs()},
        )[0]
        for name, one in sides.items()
    }
    for name, output in outputs.items():
        if np.abs(output - outputs[IN_USE]).max() > 1e-4 * np.abs(outputs[IN_USE]).max():
            raise SystemExit(f"{name} computes something else than what is in use")
    calls = {
        name: partial(one.run, None, {port.name: feed[port.name] for port in one.get_inputs()})
        for name, one in sides.items()
    }
    return compared(interleaved(calls, rounds, warm_ups=2))


def budgets(folder: Path, threads: int, rounds: int) -> dict[str, Any]:
    """Token budgets, and one session with all threads, over the short texts in the best Python program."""
    texts = (ROOT / "data" / "short_texts.txt").read_text(encoding="utf-8").splitlines()
    file = folder / "written.onnx"
    programs = {
        (IN_USE if budget == 512 else f"{budget} tokens"): Best(MODEL, file, threads, token_budget=budget)
        for budget in BUDGETS
    }
    programs["one session with all threads"] = Best(MODEL, file, 1, threads_each=threads)
    calls = {name: partial(one.encode, texts) for name, one in programs.items()}
    return compared(interleaved(calls, rounds))


def _lone_text(file: Path, threads: int, spins: bool) -> Callable[[], object]:
    """A run of one text of 14 tokens by a session with all threads, which wait asleep or spin until the run ends."""
    spinning = {"session.intra_op.allow_spinning": "1", "session.force_spinning_stop": "1"}
    one = session(file, threads, settings=spinning if spins else None)
    return partial(one.run, None, inputs({port.name for port in one.get_inputs()}, 1, 14))


def _neighbour(file: Path, threads: int, spins: bool, ready: Barrier, is_wanted: Event) -> None:
    """Another process that does the same for as long as it is wanted."""
    call = _lone_text(file, threads, spins)
    ready.wait()
    while True:
        is_wanted.wait()
        call()


def spinning(folder: Path, threads: int, rounds: int) -> dict[str, Any]:
    """Lone texts, by threads that sleep and that spin: one after the other, with pauses, and in two processes."""
    file = folder / "written.onnx"
    sides = {IN_USE: False, "spinning threads": True}
    calls = {name: _lone_text(file, threads, spins) for name, spins in sides.items()}

    def twenty(call: Callable[[], object]) -> None:
        for _ in range(20):
            call()

    def in_a_row(name: str, _: int) -> Callable[[], object]:
        return partial(twenty, calls[name])

    def paused(name: str, _: int) -> Callable[[], object]:
        calls[name]()
        time.sleep(0.01)
        return calls[name]

    processes = multiprocessing.get_context("spawn")
    wanted = {name: processes.Event() for name in sides}
    ready = processes.Barrier(len(sides) + 1)
    neighbours = [
        processes.Process(target=_neighbour, args=(file, threads, spins, ready, wanted[name]), daemon=True)
        for name, spins in sides.items()
    ]

    def beside_another(name: str, _: int) -> Callable[[], object]:
        for other, event in wanted.items():
            event.set() if other == name else event.clear()
        twenty(calls[name])
        return partial(twenty, calls[name])

    def measured(way: Callable[[str, int], Callable[[], object]], times: int) -> dict[str, dict[str, Any]]:
        runs = in_turn({name: partial(way, name) for name in sides}, times, warm_ups=3)
        return compared({name: run.seconds for name, run in runs.items()})

    results = {"20 in a row": measured(in_a_row, rounds), "each after 10 ms": measured(paused, 10 * rounds)}
    for neighbour in neighbours:
        neighbour.start()
    ready.wait()
    results["20 in a row, in two processes"] = measured(beside_another, rounds)
    for neighbour in neighbours:
        neighbour.terminate()
        neighbour.join()
    return results


def main() -> int:
    """Runs everything and writes one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file for the results")
    parser.add_argument("--onnx", type=Path, help="the torch export of all-MiniLM-L6-v2, to stand beside the variants")
    parser.add_argument("--rounds", type=int, default=12, help="rounds of each comparison [12]")
    parser.add_argument("--threads", type=int, default=2, help="threads of the comparisons that take several [2]")
    arguments = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = {
            "graphs": whole_graphs(folder, arguments.onnx, arguments.rounds),
            "attention": attention(folder, arguments.rounds),
            "grouped_attention": grouped_attention(folder, arguments.rounds),
            "gate_and_up": gate_and_up(folder, arguments.rounds),
            "packing": packing(folder, arguments.rounds),
            "spinning": spinning(folder, arguments.threads, arguments.rounds),
            "budgets": budgets(folder, arguments.threads, max(3, arguments.rounds // 4)),
        }
    record.write(
        arguments.json,
        step="attempts",
        command="python benches/python/attempts.py --json .bench/attempts.json",
        seconds=time.perf_counter() - start,
        results=results,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
