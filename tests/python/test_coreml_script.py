"""`benches/python/coreml.py`, here on the CPU and on the test provider: the figures, the tables, what can go wrong."""

from __future__ import annotations

import json
import re
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import provider_plugin
import pytest
from conftest import FIXTURES, PATIENCE

import oxembed
from oxembed import Embedder
from oxembed.providers import PlugIn

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benches" / "python" / "coreml.py"
MODEL = FIXTURES / "bert-mean-prompts"
TEXTS = 60

Bench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> str:
    """The test provider, where scripts find it; its name."""
    monkeypatch.setenv("OXEMBED_PLUG_INS", f"{provider_plugin.library()}={provider_plugin.NAME}")
    return provider_plugin.NAME


def results_of(bench: Bench, folder: Path, *arguments: str) -> tuple[dict[str, Any], str, str]:
    """The JSON file, what was printed, and the summary."""
    results, summary = folder / "results.json", folder / "summary.md"
    done = bench("--model", str(MODEL), "--json", str(results), "--summary", str(summary), *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(results.read_text(encoding="utf-8")), done.stdout, summary.read_text(encoding="utf-8")


def assert_one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """It failed, and says why in a line on stderr, after those of its progress."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("measuring ")]
    assert (done.returncode, len(lines), done.stdout) == (1, 1, ""), done.stderr
    for part in ("error: ", *parts):
        assert part in lines[0]


def test_figures_are_what_they_are_said_to_be(bench: Bench, plug_in: str, tmp_path: Path) -> None:
    # A provider that is a little wrong: cosines of 1 would prove nothing.
    found, _, _ = results_of(
        bench, tmp_path, "--provider", plug_in, "--provider-option", "runtime.wrong=0.2", "--runs", "7"
    )
    assert [batch["texts"] for batch in found["latency"]] == [1, 4, 8, 16, 32]
    for batch in found["latency"]:
        seconds = {name: side["seconds"] for name, side in batch["sides"].items()}
        assert {name: len(each) for name, each in seconds.items()} == {"provider": 7, "cpu": 7}
        for name, each in seconds.items():
            for share in (50, 95, 99):
                assert batch["sides"][name][f"p{share}_ms"] == pytest.approx(1000 * np.percentile(each, share))
        ratios = np.array(seconds["cpu"]) / np.array(seconds["provider"])
        assert batch["faster"] == {"cpu": pytest.approx(np.median(ratios))}
    for side in found["throughput"]["sides"].values():
        assert side["texts_per_second"] == pytest.approx(TEXTS / statistics.median(side["seconds"]))

    lines = (ROOT / "data" / "short_texts.txt").read_text(encoding="utf-8").splitlines()
    texts = list(dict.fromkeys(line for line in lines if line))[:TEXTS]
    model = Embedder(MODEL, provider=PlugIn(name=plug_in, options={"wrong": "0.2"}))
    rows, reference = model.encode(texts), Embedder(MODEL, provider="cpu").encode(texts)
    expected = np.array(
        [np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)) for a, b in zip(rows, reference, strict=True)]
    )
    assert expected.min() < 0.999, "the provider was to be wrong"
    quality = found["quality"]["sides"]["provider"]
    np.testing.assert_allclose(quality["cosines"], expected, atol=1e-5)
    assert quality["smallest_cosine"] == min(quality["cosines"]) == quality["cosines"][quality["worst_text"]]
    assert quality["mean_cosine"] == pytest.approx(np.mean(quality["cosines"]))
    assert quality["rows_not_finite"] == 0


def test_placement_is_counted_by_nodes_and_multiply_adds(bench: Bench, plug_in: str, tmp_path: Path) -> None:
    found, _, _ = results_of(bench, tmp_path, "--provider", plug_in)
    graph = tmp_path / "model.onnx"
    oxembed.export(MODEL, graph, target="coreml", static=(1, 16))
    exported = onnx.load(graph).graph
    weights = {tensor.name: int(np.prod(tensor.dims)) for tensor in exported.initializer}
    # The provider takes products of matrices; those of attention, of four axes, are the CPU's.
    linear = [weights[node.input[1]] for node in exported.node if node.op_type == "Gemm"]
    hidden = Embedder(MODEL).dimension
    attention = sum(node.op_type == "MatMul" for node in exported.node)
    sessions = found["placement"]["sessions"]
    assert sessions
    for one in sessions:
        tokens = int(re.fullmatch(r"\d+ texts? of (\d+) tokens", one["session"])[1])  # type: ignore[index]
        own, others = tokens * sum(linear), attention * tokens**2 * hidden
        assert one["provider_nodes"] == len(linear)
        assert one["node_share"] == len(linear) / one["nodes"]
        assert one["work_share"] == pytest.approx(own / (own + others))


def test_tables_show_the_figures(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "summary.md").write_text("# before\n", encoding="utf-8")
    found, text, summary = results_of(bench, tmp_path, "--provider", "cpu")
    assert max(map(len, text.splitlines())) <= 80
    assert summary.startswith("# before\n"), "the summary is added to"
    machine = found["machine"]
    for shown in (text, summary):
        assert f"ONNX Runtime {machine['onnxruntime']}" in " ".join(shown.split())
        assert "optimum-cli export onnx" in " ".join(shown.split()), "how to get the export"
        for batch in found["latency"]:
            cells = [f"{batch['sides']['provider'][key]:.2f}" for key in ("p50_ms", "p95_ms", "p99_ms")]
            assert re.search(r"[ |]+".join(cells), shown)
    for block in summary.split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}) == 1, block


def test_the_usual_export_beside_it(bench: Bench, tmp_path: Path) -> None:
    graph = MODEL / "onnx" / "model.onnx"
    found, text, _ = results_of(bench, tmp_path, "--provider", "cpu", "--onnx", str(graph))
    assert found["export"] == {"file": "model.onnx", "options": {}, "problem": None}
    assert found["quality"]["sides"]["export"]["smallest_cosine"] > 0.99999
    assert set(found["starts"]) == {"provider", "cpu", "export"}
    assert "usual export" in text


@pytest.mark.parametrize(
    ("model", "content", "problem"),
    [
        ("bert-mean-prompts", b"no graph", "cannot be run: "),
        ("bert-cls", None, "not measured: the plain program pools by the mean only"),
    ],
)
def test_an_export_that_cannot_be_measured(
    bench: Bench, tmp_path: Path, model: str, content: bytes | None, problem: str
) -> None:
    graph, results = tmp_path / "model.onnx", tmp_path / "results.json"
    graph.write_bytes(content or (FIXTURES / model / "onnx" / "model.onnx").read_bytes())
    options = ["--provider", "cpu", "--model", str(FIXTURES / model), "--onnx", str(graph), "--batches", "1"]
    done = bench(*options, "--json", str(results))
    assert done.returncode == 0, done.stderr
    found = json.loads(results.read_text(encoding="utf-8"))
    assert found["export"]["problem"].startswith(problem)
    assert set(found["latency"][0]["sides"]) == {"provider", "cpu"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--runs", "0"],
        ["--runs", "-1"],
        ["--runs", "many"],
        ["--runs", "²"],
        ["--batches", "1,,4"],
        ["--batches", "0"],
        ["--starts", "-1"],
        ["--threads", "0"],
        ["--provider", "coreml,cpu"],
        ["--provider", "auto"],
        ["--provider-option", "compute_units"],
        ["--onnx", "there/is/none.onnx"],
        ["--unknown"],
    ],
)
def test_nonsense_is_wrong_usage(bench: Bench, arguments: list[str]) -> None:
    done = bench("--provider", "cpu", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("coreml.py: error: ")
    assert "Traceback" not in done.stderr


def test_a_provider_that_is_not_here_is_one_line(bench: Bench, tmp_path: Path) -> None:
    name, what_it_takes = ("directml", "directml") if sys.platform == "darwin" else ("coreml", "Apple silicon")
    done = bench("--provider", name, "--model", str(MODEL), "--json", str(tmp_path / "results.json"))
    assert_one_line(done, name, what_it_takes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--provider", "nonsense"], "no provider is called so"),
        (["--provider", "cpu", "--provider-option", "compute_units=all"], "compute_units"),
        (["--model", "no/such/folder"], "no/such/folder"),
        (["--texts", "no/such/file.txt"], "no/such/file.txt"),
        (["--json", "no/such/folder/results.json"], "no/such/folder/results.json"),
        (["--limit", "3"], "fewer than a batch"),
    ],
)
def test_what_cannot_be_measured_is_one_line(bench: Bench, arguments: list[str], part: str) -> None:
    assert_one_line(bench("--provider", "cpu", "--model", str(MODEL), *arguments), part)


@pytest.mark.parametrize("failure", ["fail_after=40", "nan_after=40"])
def test_a_provider_that_fails_ends_it(bench: Bench, plug_in: str, failure: str, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    options = ["--provider", plug_in, "--provider-option", f"runtime.{failure}", "--json", str(results)]
    assert_one_line(bench("--model", str(MODEL), *options))
    assert not results.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send Ctrl-C to another one alone")
def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    command = [sys.executable, str(SCRIPT), "--provider", "cpu", "--runs", "1000000", "--json", str(results)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert first.startswith("measuring ")
    assert (process.returncode, out, err) == (130, "", "stopped; nothing was written\n")
    assert not results.exists()
