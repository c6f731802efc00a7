"""`oxembed bench`: are its figures consistent with each other and with the model, and are mistakes told in a line?"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import FIXTURES, PATIENCE
from safetensors import safe_open

from oxembed import Embedder
from oxembed._bench.breakdown import Breakdown, breakdown
from oxembed._bench.figures import Figure
from oxembed._bench.limit import Products, Shape, limit
from oxembed._bench.measurement import Measurement, measure
from oxembed._bench.report import advice, lines
from oxembed._bench.texts import built_in
from oxembed.exceptions import InternalError

MODEL = FIXTURES / "bert-cls"


def run(*arguments: str, folder: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "oxembed", "bench", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
        cwd=folder,
    )


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One round with the texts that the package brings, in a folder that has nothing to do with it."""
    done = run(
        *(str(MODEL), "--rounds", "1", "--threads", "2", "--provider", "cpu", "--profile", "--json"),
        folder=tmp_path_factory.mktemp("elsewhere"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def found() -> Measurement:
    return measure(Embedder(MODEL, provider="cpu", threads=1), built_in(40), 2, profile=True)


def test_facts(figures: dict[str, Any]) -> None:
    facts = {name: figures[name] for name in ("model", "provider", "dtype", "threads", "rounds", "texts_from", "texts")}
    assert facts == {
        "model": "bert-cls",
        "provider": "cpu",
        "dtype": "float32",
        "threads": 2,
        "rounds": 1,
        "texts_from": "oxembed",
        "texts": 2_000,
    }
    model = Embedder(MODEL, provider="cpu")
    assert figures["tokens"] == sum(min(length, model.max_seq_length) for length in model.count_tokens(built_in()))
    cut = sum(length > model.max_seq_length for length in model.count_tokens(built_in()))
    assert figures["truncated_texts"] == cut > 0
    assert figures["peak_memory_mib"] > 20


def test_speed(figures: dict[str, Any]) -> None:
    speed = figures["all_texts"]
    texts, tokens = speed["texts_per_second"]["median"], speed["tokens_per_second"]["median"]
    assert tokens / texts == pytest.approx(figures["tokens"] / 2_000)
    assert speed["texts_per_second"]["rounds"] == 1
    assert speed["cpu_seconds_per_1000_texts"]["median"] > 0
    one = figures["one_text"]
    assert one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"]
    assert one["calls"] >= 20
    assert 0 < one["besides_the_run_us"] < one["p99_ms"] * 1e3
    assert list(figures["batches"]) == ["1", "4", "8", "16", "32"]
    for size, batch in figures["batches"].items():
        assert batch["texts_per_second"]["median"] == pytest.approx(int(size) / batch["ms"]["median"] * 1e3)


def test_limit(figures: dict[str, Any]) -> None:
    """The work of a token is what the stored matrices say; the rest follows from the rates of the products."""
    with safe_open(MODEL / "model.safetensors", framework="numpy") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys() if "encoder.layer" in name]  # noqa: SIM118
    work = sum(shape[0] * shape[1] for shape in shapes if len(shape) == 2)
    limit = figures["limit"]
    assert limit["multiply_adds_per_token"] == work
    assert (limit["of"], limit["rows"]) == ("float32", 512)
    seconds = 0.0
    for shape in limit["shapes"]:
        rate = shape["multiply_adds_per_second"]["median"]
        assert rate == max(shape["medians"].values()) == shape["medians"][shape["by"]]
        assert set(shape["medians"]) == {"onnxruntime", "numpy"}
        seconds += shape["inputs"] * shape["outputs"] * shape["layers"] / rate
    assert sum(shape["share"] for shape in limit["shapes"]) == pytest.approx(1)
    assert limit["peak_multiply_adds_per_second"]["median"] == pytest.approx(work / seconds)
    assert limit["peak_tokens_per_second"] == pytest.approx(1 / seconds)
    reached = figures["all_texts"]["tokens_per_second"]["median"] * seconds
    assert limit["reached"]["median"] == pytest.approx(reached)


def test_profile_adds_up(figures: dict[str, Any]) -> None:
    parts = figures["profile"]["parts"]
    stages = {part["name"]: part for part in parts if part["inside"] is None}
    assert list(stages) == ["tokenize", "plan", "copy", "run", "pool", "wait", "rest"]
    assert sum(part["share"] for part in stages.values()) == pytest.approx(1)
    milliseconds = sum(part["ms_per_1000_texts"] for part in stages.values())
    assert milliseconds == pytest.approx(1e6 / figures["all_texts"]["texts_per_second"]["median"])
    inside = {part["name"]: part["share"] for part in parts if part["inside"] == "run"}
    assert list(inside) == ["linear layers", "padding", "slower products", "others"]
    assert sum(inside.values()) == pytest.approx(stages["run"]["share"])
    assert inside["linear layers"] == pytest.approx(figures["limit"]["reached"]["median"])
    assert stages["run"]["share"] == pytest.approx(1 - figures["all_texts"]["besides_the_run"]["median"])
    operators = figures["profile"]["operators"]
    assert sum(one["share"] for one in operators) == pytest.approx(1)
    products = sum(one["share"] for one in operators if one["name"] == "Gemm") * stages["run"]["share"]
    assert products == pytest.approx(stages["run"]["share"] - inside["others"])


def test_for_people_and_int8(tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"{text}\n\n" for text in [*built_in(20), *built_in(20)]), encoding="utf-8")
    done = run("--texts", "texts.txt", "--dtype", "int8", "--rounds", "1", "--profile", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    head, *_ = done.stdout.splitlines()
    assert head.startswith("all-MiniLM-L6-v2 on cpu in int8, ")
    assert "20 texts of texts.txt" in done.stdout, "equal texts and empty lines are left out"
    words = " ".join(done.stdout.split())
    assert "times what this CPU could do in float32" in words
    assert "a comparison, not a limit" in words
    assert "384 to 1536, 6 layers" in words
    for title in ("All texts in one call", "Texts in a call", "What is not ONNX Runtime", "Where the time goes"):
        assert f"\n\n{title}" in done.stdout
    assert "QuantizedLinear" in done.stdout
    assert done.stdout.splitlines()[-1].strip()
    assert "\n\nTo do: " in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 100


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no/such/folder"], "there is no folder"),
        ([str(MODEL), "--texts", "absent.txt"], "absent.txt: No such file"),
        ([str(MODEL), "--texts", "empty.txt"], "there is no text in empty.txt; put one on each line"),
        ([str(MODEL), "--texts", "latin.txt"], "latin.txt: line 1 is not UTF-8"),
        ([str(MODEL), "--provider", "nonsense"], "nonsense"),
        ([str(MODEL), "--dtype", "int8"], "int8"),
    ],
)
def test_mistakes_are_a_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "empty.txt").write_text("\n  \n", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes("grün".encode("latin-1"))
    done = run(*arguments, "--rounds", "1", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("oxembed: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--rounds", "0"], ["--rounds", "many"], ["--threads", "0"], ["--dtype", "int3"]]
)
def test_wrong_usage(tmp_path: Path, arguments: list[str]) -> None:
    done = run(str(MODEL), *arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: oxembed bench" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_ends_it_and_its_processes(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "oxembed",
            "bench",
            str(MODEL),
            "--rounds",
            "1000",
            "--threads",
            "2",
            "--provider",
            "cpu",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    watched = psutil.Process(process.pid)
    deadline = time.monotonic() + PATIENCE
    while len(children := watched.children()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(children) == 2, "numpy's processes, one a thread"
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=PATIENCE) == (b"", b"oxembed: interrupted\n")
    assert process.returncode == 130
    assert psutil.wait_procs(children, timeout=PATIENCE)[1] == []


def test_a_process_that_ends_early_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    program = shutil.which("false")
    if program is None:
        pytest.skip("there is no program that fails")
    monkeypatch.setattr(sys, "executable", program)
    with Products(1, rows=8) as products, pytest.raises(InternalError, match="ended early: exit status 1"):
        products.rates(Shape(16, 16, 1), 0.001)


def test_the_faster_way_counts_for_each_shape() -> None:
    wide, narrow = Shape(10, 30, 2), Shape(10, 10, 4)
    rounds = [
        {wide: {"onnxruntime": 600.0, "numpy": 500.0}, narrow: {"onnxruntime": 100.0, "numpy": 400.0}},
        {wide: {"onnxruntime": 600.0, "numpy": 500.0}, narrow: {"onnxruntime": 900.0, "numpy": 400.0}},
        {wide: {"onnxruntime": 300.0, "numpy": 500.0}, narrow: {"onnxruntime": 100.0, "numpy": 400.0}},
    ]
    found = limit(rounds, [0.25, 0.25, 0.25])
    assert found.ways == {wide: "onnxruntime", narrow: "numpy"}
    # 600 multiply-adds by the first and 400 by the second: 1 + 1 seconds, in the last round 2 + 1.
    assert (found.work, found.peak.median, found.peak.rounds) == (1_000, 500, 3)
    assert found.reached.median == pytest.approx(0.5)


def with_reached(found: Measurement, share: float, speeds: tuple[float, ...] = (1.0, 1.0)) -> Measurement:
    """The same, with another share of the limit, in passes of these times."""
    assert found.limit is not None
    passes = tuple(replace(found.passes[0], seconds=seconds) for seconds in speeds)
    return replace(found, passes=passes, limit=replace(found.limit, reached=Figure(share, 0.0, len(speeds))))


def test_advice(found: Measurement) -> None:
    assert "measure again" in advice(with_reached(found, 0.9, (1.0, 2.0)), None)
    assert "nothing is wrong" in advice(with_reached(found, 0.9), None)
    assert "40% of the limit is low; --profile" in advice(with_reached(found, 0.4), None)
    parts = breakdown(found).parts
    for name, words in {"padding": "one length", "rest": "several threads", "tokenize": "cut texts"}.items():
        changed = tuple(replace(part, share=0.5 if part.name == name else 0.01) for part in parts)
        told = advice(with_reached(found, 0.4), Breakdown(changed, None, None))
        assert f"{name!r} is the largest loss with 50%" in told
        assert words in told
    small = tuple(replace(part, share=0.01) for part in parts)
    assert "no single part" in advice(with_reached(found, 0.4), Breakdown(small, None, None))


def test_without_known_layers_or_profile(found: Measurement) -> None:
    unknown = replace(found, limit=None, operators=None, why_no_operators="it is another device")
    text = "\n".join(lines(unknown, breakdown(unknown)))
    assert "not measured: the linear layers" in text
    assert "it is another device" in text
    parts = {part.name: part.share for part in breakdown(unknown).parts if part.inside == "run"}
    tokens = sum(one.stages.tokens for one in found.passes)
    padded = sum(one.stages.padded_tokens for one in found.passes)
    assert parts["texts"] / (parts["texts"] + parts["padding"]) == pytest.approx(tokens / padded)


def test_texts_are_different_and_always_the_same() -> None:
    texts = built_in()
    assert len(set(texts)) == len(texts) == 2_000
    assert texts == built_in()
    assert all(text.strip() == text and text for text in texts)
