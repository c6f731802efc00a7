"""The steps of `make bench` on a few texts: do they run, write what is promised, and refuse wrong vectors?"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import script_module

ROOT = Path(__file__).resolve().parents[2]
BENCHES = ROOT / "benches" / "python"


def module(name: str) -> Any:
    """A module of the benchmarks that imports no other of them; they are in no package."""
    return script_module(BENCHES / f"{name}.py")


RECORD, SIDES_MODULE, TIMING = module("record"), module("sides"), module("timing")


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a step."""
    command = [sys.executable, str(BENCHES / f"{script}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=600, check=False)


def numbers(value: Any) -> Iterator[float]:
    """Every number in a result."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from numbers(one)
    elif isinstance(value, int | float):
        yield value


def results(step: str, script: str, file: Path, *arguments: str) -> dict[str, Any]:
    """Runs a step; the results in its file, which has the form that the reports read."""
    done = run(script, *arguments, "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    written: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    assert list(written) == ["step", "command", "commit", "date", "machine", "versions", "seconds", "results"]
    assert written["step"] == step
    assert written["command"].startswith(f"python benches/python/{script}.py ")
    assert str(file.parent) not in json.dumps(written)
    assert {"oxembed", "onnxruntime", "python"} <= written["versions"].keys()
    assert written["machine"]["cores"] >= 1
    assert all(math.isfinite(number) for number in numbers(written))
    found: dict[str, Any] = written["results"]
    return found


def check_summary(found: dict[str, float], rounds: int) -> None:
    assert found.keys() == {"median", "spread", "rounds"}
    assert found["median"] > 0
    assert found["rounds"] == rounds


def test_throughput(tmp_path: Path) -> None:
    arguments = ["throughput", "--rounds", "2", "--texts", "3", "--only", "short and (int8 or naive)"]
    found = results("throughput", "suite", tmp_path / "throughput.json", *arguments)
    (workload,) = found["workloads"].values()
    assert workload["file"] == "data/short_texts.txt"
    assert workload["texts"] == 3
    assert workload["sides"].keys() == {"oxembed int8", "onnxruntime naive"}
    for name, row in workload["sides"].items():
        for figure in ("texts_per_second", "tokens_per_second", "cpu_seconds_per_1000_texts", "oxembed_is_faster_by"):
            check_summary(row[figure], 2)
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert row["tokens_per_second"]["median"] == pytest.approx(
            row["texts_per_second"]["median"] * workload["tokens"] / 3
        )
        assert row["peak_memory_mib"] > 20
        assert (0.98 if "int8" in name else 0.999) < row["smallest_cosine"] <= 1 + 1e-6


def test_latency_and_concurrency(tmp_path: Path) -> None:
    """By pytest's own command, whose file the steps take as well."""
    raw = tmp_path / "pytest.json"
    picked = "beside or (test_latency and 4- and naive) or (int8 and (test_threads and 2- or test_tasks))"
    options = ["--rounds=2", "--texts=4", f"--benchmark-json={raw}", "-k", picked]
    tests = [str(BENCHES / f"test_{step}.py") for step in ("latency", "concurrency")]
    command = [sys.executable, "-m", "pytest", *tests, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout
    found = results("latency", "suite", tmp_path / "latency.json", "latency", "--raw", str(raw))
    assert found["workloads"].keys() == {"a batch of 4", "beside the session's run"}
    assert found["workloads"]["a batch of 4"]["sides"].keys() == {"onnxruntime naive"}
    (beside,) = found["workloads"]["beside the session's run"]["sides"].values()
    assert beside["microseconds_beside_the_run"]["rounds"] == 2
    found = results("concurrency", "suite", tmp_path / "concurrency.json", "concurrency", "--raw", str(raw))
    threads, tasks = found["workloads"]["2 threads"], found["workloads"]["aencode, 64 tasks"]
    for workload in (threads, tasks):
        row = workload["sides"]["oxembed int8"]
        assert row["timed_calls"] == 2 * 4
        assert row["smallest_cosine"] > 0.98
    assert tasks["sides"]["oxembed int8"]["longest_loop_delay_ms"]["rounds"] == 2


def test_cold_start(tmp_path: Path) -> None:
    found = results("cold_start", "starts", tmp_path / "cold_start.json", "--rounds", "1")
    for name in ("oxembed", "oxembed int8", "onnxruntime naive"):
        parts = found["sides"][name]
        inside = sum(parts[f"{part}_ms"]["median"] for part in ("import", "load", "first_call"))
        assert 0 < inside < parts["process_ms"]["median"]
    assert found["sides"]["importing numpy"]["process_ms"]["median"] > 0


def test_growth(tmp_path: Path) -> None:
    arguments = ["--dtypes", "int8=12", "--texts", "1", "--rounds", "1", "--threads", "1", "--lengths", "8,512"]
    found = results("growth", "growth", tmp_path / "growth.json", *arguments)
    streams = found["texts"]["by_dtype"]["int8"]
    assert [row["texts"] for row in streams] == [1, 10, 12]
    assert all(0.98 < row["cosine_of_the_last_text"] <= 1 + 1e-6 for row in streams)
    assert found["cores"]["by_dtype"]["int8"].keys() == {"1"}
    lengths = found["lengths"]["by_dtype"]["int8"]
    assert [int(length) for length in lengths] == [8, 512]
    assert all(row["tokens"] == int(length) * row["texts"] for length, row in lengths.items())
    assert all(row["smallest_cosine"] > 0.98 for row in lengths.values())


def wrong_model(file: Path) -> None:
    """A graph that takes what an export takes and gives vectors that have nothing to do with the texts."""
    chance = np.random.default_rng(0).standard_normal((1, 384)).astype(np.float32)
    helper, int64, single = onnx.helper, onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["input_ids"], ["ids"], to=single),
            helper.make_node("Unsqueeze", ["ids", "last"], ["column"]),
            helper.make_node("MatMul", ["column", "chance"], ["last_hidden_state"]),
        ],
        "wrong",
        [helper.make_tensor_value_info(name, int64, ["b", "s"]) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("last_hidden_state", single, ["b", "s", 384])],
        [onnx.numpy_helper.from_array(chance, "chance"), onnx.numpy_helper.from_array(np.array([2]), "last")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)


def test_wrong_vectors_are_no_result(tmp_path: Path) -> None:
    wrong_model(tmp_path / "wrong.onnx")
    file = tmp_path / "latency.json"
    few = ["--rounds", "1", "--texts", "4", "--only", "test_latency and 1- and naive"]
    done = run("suite", "latency", *few, "--onnx", str(tmp_path / "wrong.onnx"), "--json", str(file))
    assert done.returncode == 1
    assert "the smallest cosine to oxembed's vectors is" in done.stdout
    assert "nothing is written" in done.stderr
    assert not file.exists()


@pytest.mark.parametrize("broken", [[[0, 1]], [[float("nan"), 0]], [[1, 0], [1, 0]]])
def test_what_disqualifies(broken: list[list[float]]) -> None:
    with pytest.raises(SIDES_MODULE.WrongVectorsError, match=r"^onnxruntime naive: "):
        SIDES_MODULE.smallest_cosine("onnxruntime naive", np.array(broken), np.array([[1, 0]]))


def test_every_round_begins_with_another_side() -> None:
    calls: list[str] = []

    def side(name: str) -> Callable[[int], Callable[[], int]]:
        def prepare(number: int) -> Callable[[], int]:
            def call() -> int:
                calls.append(f"{name}{number}")
                return number

            return call

        return prepare

    runs = TIMING.in_turn({"a": side("a"), "b": side("b")}, rounds=2, warm_ups=1)
    assert calls == ["b-1", "a-1", "a0", "b0", "b1", "a1"]
    assert [run.results for run in runs.values()] == [[0, 1], [0, 1]]
    assert all(len(run.seconds) == len(run.processor_seconds) == 2 for run in runs.values())


def test_a_slow_side_leaves_the_last_rounds_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    clock = SimpleNamespace(perf_counter=lambda: now, process_time=lambda: now)
    monkeypatch.setattr(TIMING, "time", clock)

    def side(seconds: float) -> Callable[[int], Callable[[], None]]:
        def call() -> None:
            nonlocal now
            now += seconds

        return lambda _: call

    sides = {"quick": side(1.0), "slow": side(6.0), "reference": side(20.0)}
    runs = TIMING.in_turn(sides, rounds=4, budget=10, always={"reference"})
    assert {name: run.seconds for name, run in runs.items()} == {
        "quick": [1.0] * 4,
        "slow": [6.0] * 2,
        "reference": [20.0] * 4,
    }


def test_a_ratio_is_one_of_the_same_round() -> None:
    times = {"a": [1.0, 2.0, 4.0], "b": [2.0, 6.0, 4.0], "slow": [5.0]}
    assert TIMING.ratios(times, "a", "b") == [2.0, 3.0, 1.0]
    assert TIMING.ratios(times, "a", "slow") == [5.0]
    # The rounds' ratios are 3, 1 and 1; the ratio of the medians would be 3.
    assert TIMING.ratio({"a": [1.0, 10.0, 1.0], "b": [3.0, 10.0, 1.0]}, "a", "b") == 1.0


GOOD = {
    "step": "latency",
    "command": "python x",
    "commit": "unknown",
    "date": "2026-11-22",
    "machine": {"processor": "p", "cores": 2, "instructions": [], "memory_gib": None, "system": "s"},
    "versions": {"python": "3.11"},
    "seconds": 1.5,
    "results": {},
}


def test_the_reader_reads(tmp_path: Path) -> None:
    file = tmp_path / "latency.json"
    file.write_text(json.dumps(GOOD), encoding="utf-8")
    assert RECORD.read(file)._asdict() == GOOD


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"seconds": "long"}, "seconds has a value of the wrong kind: 'long'"),
        ({"seconds": -1.0}, "seconds must be a time, not -1.0"),
        ({"seconds": True}, "seconds has a value of the wrong kind: True"),
        ({"extra": 1}, "nothing is known of extra"),
        ({"versions": {"python": 3}}, "versions: python must be text, not 3"),
        ({"machine": {"cores": 2}}, "machine: instructions, memory_gib, processor, system is absent"),
    ],
)
def test_the_reader_is_strict(change: dict[str, Any], problem: str, tmp_path: Path) -> None:
    file = tmp_path / "latency.json"
    file.write_text(json.dumps({**GOOD, **change}), encoding="utf-8")
    with pytest.raises(RECORD.RecordError, match=re.escape(problem)):
        RECORD.read(file)


def test_what_is_no_file_of_a_step(tmp_path: Path) -> None:
    with pytest.raises(RECORD.RecordError, match=r"there is no file .*: run `make bench`"):
        RECORD.read(tmp_path / "absent.json")
    (tmp_path / "text.json").write_text("{", encoding="utf-8")
    with pytest.raises(RECORD.RecordError, match="is not JSON"):
        RECORD.read(tmp_path / "text.json")


def test_what_is_no_number_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        RECORD.write(tmp_path / "new.json", "latency", "python x", 1.0, {"rate": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_summary() -> None:
    # The quartiles of 1, 2, 4, 8, 16 are 2 and 8.
    assert RECORD.summary([16, 1, 8, 2, 4]) == {"median": 4, "spread": 1.5, "rounds": 5}
