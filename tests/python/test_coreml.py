"""CoreML itself, on a Mac with Apple silicon; elsewhere these are skipped (`conftest.py`).

What is expected follows ONNX Runtime's sources, `onnxruntime/core/providers/coreml`: which operators its builders take,
by what it names a compiled model in the cache, and that it never looks whether a cached one is of the same weights.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import pytest
from conftest import FIXTURES, PATIENCE, Golden, read_golden, run_python
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

import oxembed
from oxembed import Embedder
from oxembed.providers import CoreML

pytestmark = pytest.mark.coreml

RUNTIME_NAME = "CoreMLExecutionProvider"
ROOT = Path(__file__).resolve().parents[2]
MODELS = sorted(
    path.parent.name for path in FIXTURES.glob("*/golden_texts.json") if (path.parent / "config.json").is_file()
)
SENTENCES = (ROOT / "data" / "sentences.txt").read_text(encoding="utf-8").splitlines()[:32]
LEAST_SHARE = 0.98

Rows = NDArray[np.float32]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of another test or of the user is found, and nothing is left."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("OXEMBED_CACHE", str(folder))
    return folder


def smallest_cosine(rows: Rows, reference: Rows) -> float:
    """The least cosine between rows of the same number, computed here; NaN where a row has one."""
    assert rows.shape == reference.shape
    one, other = rows.astype(np.float64), reference.astype(np.float64)
    return float(((one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)).min())


def check_parity(model: Embedder, folder: Path | None, texts: list[str], least: float = 0.999) -> None:
    """The provider's rows are the CPU's, and it was the provider that computed."""
    reference = Embedder(provider="cpu") if folder is None else Embedder(folder, provider="cpu")
    rows = model.encode(texts)
    assert np.isfinite(rows).all()
    assert smallest_cosine(rows, reference.encode(texts)) >= least
    placement = model.placement()
    assert (placement.not_used, placement.events) == ((), ())
    assert {one.provider for one in placement} == {"coreml"}


def label(rows: int, tokens: int | None = None) -> str:
    """How the placement names the session for a shape, or how that begins."""
    texts = "1 text of " if rows == 1 else f"{rows} texts of "
    return texts if tokens is None else f"{texts}{tokens} tokens"


def plain_session(graph: Path) -> onnxruntime.InferenceSession:
    """A session of ONNX Runtime's own Python package on CoreML, that falls back to nothing."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers = [(RUNTIME_NAME, {"ModelFormat": "MLProgram", "RequireStaticInputShapes": "1"}), "CPUExecutionProvider"]
    return onnxruntime.InferenceSession(str(graph), options, providers=providers, enable_fallback=0)


##### Placement


@pytest.mark.parametrize("name", MODELS)
def test_coreml_has_nearly_all_of_every_family(name: str) -> None:
    model = Embedder(FIXTURES / name, provider="coreml")
    model.encode(SENTENCES[:1])
    for one in model.placement():
        assert one.providers.get(RUNTIME_NAME, 0) / one.nodes >= LEAST_SHARE, one
        assert one.work[RUNTIME_NAME] >= LEAST_SHARE, one


def test_coreml_has_nearly_all_of_the_embedded_model() -> None:
    model = Embedder(provider="coreml")
    model.encode(SENTENCES)
    assert {one.session for one in model.placement()} >= {label(1, 16)}
    for one in model.placement():
        assert one.providers.get(RUNTIME_NAME, 0) / one.nodes >= LEAST_SHARE, one
        assert one.work[RUNTIME_NAME] == 1.0, one


# Embeddings looked up by Gather, and by GatherND.
@pytest.mark.parametrize("target", ["plain", "coreml"])
@pytest.mark.parametrize("name", [*MODELS, "the embedded model"])
def test_the_graph_is_one_partition(name: str, target: Literal["plain", "coreml"], tmp_path: Path) -> None:
    graph = tmp_path / "model.onnx"
    folder = ROOT / "models" / "all-MiniLM-L6-v2" if name == "the embedded model" else FIXTURES / name
    oxembed.export(folder, graph, target=target, static=(4, 32))
    parts = plain_session(graph).get_provider_graph_assignment_info()
    sizes = [len(part.get_nodes()) for part in parts if part.ep_name == RUNTIME_NAME]
    left = {node.op_type for part in parts if part.ep_name != RUNTIME_NAME for node in part.get_nodes()}
    assert len(sizes) == 1, f"{sizes} nodes in partitions; the CPU has {left}"


def test_doctor_says_that_it_works() -> None:
    [coreml] = [one for one in oxembed.doctor().providers if one.name == "coreml"]
    assert coreml.works, coreml


##### Parity


@pytest.mark.parametrize("name", MODELS)
def test_all_golden_texts_on_every_family(name: str) -> None:
    golden = read_golden(name)
    check_parity(Embedder(golden.folder, provider="coreml"), golden.folder, golden.texts)


def test_all_golden_texts_on_the_embedded_model() -> None:
    texts = json.loads((FIXTURES / "all-MiniLM-L6-v2-golden" / "texts.json").read_text(encoding="utf-8"))
    assert len(texts) >= 60
    check_parity(Embedder(provider="coreml"), None, texts)


# Above 9 texts a batch, some versions of macOS compute attention wrongly on the graphics processor
# (https://github.com/apple/coremltools/issues/2650).
@pytest.mark.parametrize("size", [1, 8, 16, 32])
def test_batches(size: int) -> None:
    model = Embedder(provider=CoreML(max_sessions=64))
    # Of one length, so that they are one batch.
    texts = [f"The committee meets on day {number} in the small hall." for number in range(10, 10 + size)]
    check_parity(model, None, texts)
    assert any(one.session.startswith(label(size)) for one in model.placement()), model.placement()


@pytest.mark.parametrize(
    ("provider", "least"),
    [
        (CoreML(compute_units="cpu_only"), 0.9999),
        (CoreML(compute_units="cpu_and_gpu"), 0.999),
        (CoreML(compute_units="cpu_and_neural_engine"), 0.999),
        (CoreML(compute_units="all", specialization_strategy="fast_prediction"), 0.999),
        (CoreML(low_precision_accumulation=True), 0.999),
        (CoreML(embedding_lookup="gather"), 0.999),
        (CoreML(embedding_lookup="gather_nd"), 0.999),
    ],
    ids=repr,
)
def test_options(provider: CoreML, least: float) -> None:
    check_parity(Embedder(provider=provider), None, SENTENCES, least)


def test_half_precision() -> None:
    check_parity(Embedder(provider="coreml", dtype="float16"), None, SENTENCES)


def test_the_lookups_give_the_same_vectors(golden: Golden) -> None:
    gather = CoreML(compute_units="cpu_only", embedding_lookup="gather")
    gather_nd = CoreML(compute_units="cpu_only", embedding_lookup="gather_nd")
    rows, others = (Embedder(golden.folder, provider=provider).encode(golden.texts) for provider in (gather, gather_nd))
    np.testing.assert_allclose(rows, others, atol=1e-4)


def test_a_text_does_not_depend_on_the_others(golden: Golden) -> None:
    model = Embedder(golden.folder, provider=CoreML(compute_units="cpu_only"))
    together = model.encode(golden.texts)
    alone = np.stack([model.encode(text) for text in golden.texts])
    assert smallest_cosine(alone, together) >= 0.9999


def test_auto_is_right_whatever_it_picks(golden: Golden) -> None:
    expected = Embedder(golden.folder, provider="cpu").encode(golden.texts)
    for _ in range(2):
        # The second time by the verdict that the first one left.
        model = Embedder(golden.folder)
        assert smallest_cosine(model.encode(golden.texts), expected) >= 0.999, model.placement()


##### The cache of compiled models


def compiled(folder: Path) -> set[Path]:
    """The compiled models in a folder."""
    return {path.relative_to(folder) for path in folder.rglob("*.mlmodelc")}


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """Every file with its size and the time of its last change."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def with_other_weights(folder: Path, copy: Path) -> Path:
    """The same model with each matrix changed, and no shape, name or size of a file."""
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    random = np.random.default_rng(0)
    changed = {
        name: tensor + (0.05 * random.standard_normal(tensor.shape)).astype(tensor.dtype) if tensor.ndim > 1 else tensor
        for name, tensor in weights.items()
    }
    save_file(changed, copy / "model.safetensors")
    return copy


def test_a_second_load_compiles_nothing(golden: Golden, tmp_path: Path) -> None:
    provider = CoreML(cache_folder=tmp_path / "compiled")
    first = Embedder(golden.folder, provider=provider).encode(golden.texts)
    before = state(tmp_path / "compiled")
    assert compiled(tmp_path / "compiled")
    second = Embedder(golden.folder, provider=provider).encode(golden.texts)
    assert state(tmp_path / "compiled") == before
    np.testing.assert_array_equal(second, first)


def test_other_weights_of_the_same_shapes_are_compiled_anew(golden: Golden, tmp_path: Path) -> None:
    provider = CoreML(cache_folder=tmp_path / "compiled", compute_units="cpu_only")
    other = with_other_weights(golden.folder, tmp_path / "other")
    check_parity(Embedder(golden.folder, provider=provider), golden.folder, golden.texts, 0.9999)
    before = compiled(tmp_path / "compiled")
    check_parity(Embedder(other, provider=provider), other, golden.texts, 0.9999)
    assert compiled(tmp_path / "compiled") > before
    # That the two differ is what makes this a test.
    rows = [Embedder(folder, provider="cpu").encode(golden.texts) for folder in (golden.folder, other)]
    assert smallest_cosine(*rows) < 0.999


def test_another_model_and_another_shape_are_compiled_anew(golden: Golden, tmp_path: Path) -> None:
    provider = CoreML(cache_folder=tmp_path / "compiled", compute_units="cpu_only")
    counts = []
    for folder in (golden.folder, FIXTURES / "bert-cls"):
        model = Embedder(folder, provider=provider)
        for text in ("rain", " ".join(["rain"] * 40)):
            check_parity(model, folder, [text], 0.9999)
            counts.append(len(compiled(tmp_path / "compiled")))
    assert counts == sorted(set(counts)), counts


def test_by_default_it_is_in_the_users_cache(golden: Golden, own_cache: Path) -> None:
    Embedder(golden.folder, provider="coreml").encode("a text")
    assert compiled(own_cache)


##### Sessions, threads, processes


def test_warm_up_compiles_what_the_calls_need() -> None:
    model = Embedder(provider="coreml")
    ready = model.warm_up(max_length=16, batch_sizes=[1, 4])
    sessions = {one.session for one in model.placement()}
    assert ready == len(sessions)
    assert sessions >= {label(rows, tokens) for rows in (1, 4) for tokens in (4, 6, 8, 12, 16)}
    model.encode("rain")
    model.encode(["rain", "snow", "hail", "fog"])
    assert {one.session for one in model.placement()} == sessions


def test_no_more_sessions_than_asked_for(golden: Golden) -> None:
    model = Embedder(golden.folder, provider=CoreML(max_sessions=2))
    check_parity(model, golden.folder, golden.texts)
    assert len(model.placement()) <= 2


def test_threads_share_it(golden: Golden) -> None:
    model = Embedder(golden.folder, provider="coreml")
    expected = Embedder(golden.folder, provider="cpu").encode(golden.texts)
    found: dict[int, Rows] = {}

    def work(number: int) -> None:
        found[number] = model.encode(golden.texts)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [smallest_cosine(found[number], expected) >= 0.999 for number in range(4)] == [True] * 4


FORK = """
import os, sys
from oxembed import Embedder
model = Embedder(sys.argv[1], provider="coreml")
model.encode("a text")
child = os.fork()
if child == 0:
    # Apple's frameworks may not be used in a forked process; a child that only ends must be able to.
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(model.encode("another text")) > 0)
"""

SPAWN = """
import multiprocessing, pickle, sys
import numpy as np
from oxembed import Embedder
if __name__ == "__main__":
    model = Embedder(sys.argv[1], provider="coreml")
    here = model.encode(["a text"])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(model.encode, (["a text"],))
    print(float((here * there).sum()) > 0.999)
"""


def test_a_forked_child_ends_and_the_parent_goes_on(golden: Golden) -> None:
    done = run_python(FORK, str(golden.folder))
    assert (done.returncode, done.stdout.split()) == (0, ["7", "True"]), done.stderr


def test_a_spawned_process_has_its_own(golden: Golden, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SPAWN, encoding="utf-8")
    command = [sys.executable, str(script), str(golden.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=dict(os.environ))
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


##### The script


def test_the_script_measures_it(golden: Golden, tmp_path: Path, bench: Callable[..., Any]) -> None:
    summary, results = tmp_path / "summary.md", tmp_path / "results.json"
    done = bench(
        "--provider", "coreml", "--model", str(golden.folder), "--summary", str(summary), "--json", str(results)
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(results.read_text(encoding="utf-8"))
    assert [batch["texts"] for batch in found["latency"]] == [1, 4, 8, 16, 32]
    assert found["quality"]["sides"]["provider"]["smallest_cosine"] >= 0.999
    assert found["placement"]["partitions"]["Gather"]["partitions"] == 1
    assert "| P50 | P95 | P99 |" in summary.read_text(encoding="utf-8")
