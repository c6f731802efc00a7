"""`verify` and `oxembed verify`: good models pass, and each thing that can be wrong is found and said."""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import FIXTURES, PATIENCE, Golden, read_golden
from numpy.typing import NDArray
from reference import golden as factory
from reference.factory import GOLDEN_FIXTURES, make_model
from reference.sentence_transformer import SentenceTransformer
from safetensors.numpy import load_file, save_file

import oxembed._quality as quality
from oxembed import Check, Embedder, InvalidInputError, ModelNotFoundError, Verification, verify
from oxembed._encoding import encode_quietly
from oxembed._quality_texts import AWKWARD, PAIRS
from oxembed.cli import main

if sys.platform != "win32":
    import pty

OWN = ["dimension", "finite", "norms", "truncation", "repeatability", "batches"]
MEANING = ["similar pairs", "unrelated pairs", "separation"]


def by_name(found: Verification) -> dict[str, Check]:
    return {check.name: check for check in found.checks}


def failed(found: Verification) -> list[str]:
    return [check.name for check in found.failed]


# --- what is right passes ----------------------------------------------------------------------------------------


def test_the_embedded_model_passes(embedder: Embedder) -> None:
    found = verify(embedder)
    assert found.passed, found.failed
    assert found.model == "all-MiniLM-L6-v2"
    assert [check.name for check in found.checks] == OWN + MEANING
    assert {check.status for check in found.checks} == {"passed"}
    checks = by_name(found)
    first, second = (embedder.encode(list(texts)).astype(np.float64) for texts in zip(*PAIRS, strict=True))
    cosines = [[float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for b in second] for a in first]
    like = [cosines[place][place] for place in range(len(PAIRS))]
    unlike = [value for i, row in enumerate(cosines) for j, value in enumerate(row) if i != j]
    assert checks["similar pairs"].measured == pytest.approx(min(like), abs=1e-6)
    assert checks["unrelated pairs"].measured == pytest.approx(max(unlike), abs=1e-6)
    apart = sum(like) / len(like) - sum(unlike) / len(unlike)
    assert checks["separation"].measured == pytest.approx(apart, abs=1e-6)
    assert [checks[name].bound for name in MEANING] == [0.6, 0.4, 0.2]


def test_the_embedded_model_agrees_with_sentence_transformers(embedder: Embedder) -> None:
    folder = FIXTURES / "all-MiniLM-L6-v2-golden"
    found = verify(embedder, folder / "vectors.npz", pairs=False, reference_tolerance=1e-3)
    assert found.passed, found.failed
    assert [check.name for check in found.checks] == [*OWN, "reference embeddings"]
    strict = by_name(verify(embedder, folder / "vectors.npz", pairs=False, reference_tolerance=1e-9))
    expected = read_minilm(folder)
    apart = np.abs(embedder.encode(expected[0]) - expected[1]).max()
    assert strict["reference embeddings"].status == "failed"
    assert strict["reference embeddings"].measured == pytest.approx(apart, rel=1e-3), "its weights are rounded"


def read_minilm(folder: Path) -> tuple[list[str], NDArray[np.float32]]:
    with np.load(folder / "vectors.npz") as stored:
        return json.loads((folder / "texts.json").read_text(encoding="utf-8")), stored["embeddings"]


@pytest.mark.parametrize("name", GOLDEN_FIXTURES)
def test_random_weights_fail_in_meaning_alone(name: str) -> None:
    golden = read_golden(name)
    found = verify(golden.folder, golden.folder / "golden.npz")
    assert [check.name for check in found.checks] == [*OWN, *MEANING, *(f"reference {key}" for key in golden.vectors)]
    assert set() < set(failed(found)) <= set(MEANING)
    assert all("sentences are nearest to their like" in check.sentence for check in found.failed)
    assert verify(golden.folder, golden.folder / "golden.npz", pairs=False).passed
    for prompt in golden.vectors.keys() - {"embeddings"}:
        assert verify(golden.folder, pairs=False, prompt_name=prompt.removeprefix("prompt_")).passed


def test_what_has_no_meaning_is_skipped(tmp_path: Path) -> None:
    folder = factory.CASES["dense_v6"].make(tmp_path / "no_normalize")
    found = verify(folder, pairs=False)
    assert found.passed
    norms = by_name(found)["norms"]
    assert (norms.status, norms.measured, norms.passed) == ("skipped", None, True)
    assert "does not normalize" in norms.sentence
    cut = by_name(verify(Embedder(factory.CASES["bert"].make(tmp_path / "cut"), truncate_dim=9), pairs=False))
    assert cut["norms"].status == "skipped"
    assert "cut from 48 to 9" in cut["norms"].sentence
    long = make_model(tmp_path / "long", "bert", seed=3, max_position_embeddings=1500, max_seq_length=1400)
    limit = by_name(verify(long, pairs=False))["truncation"]
    assert limit.status == "skipped"
    assert "1,400 tokens" in limit.sentence
    low = by_name(verify(Embedder(long, max_seq_length=20), pairs=False))["truncation"]
    assert low.status == "passed"
    tokens = Embedder(long).count_tokens([*AWKWARD, *(one for pair in PAIRS[:4] for one in pair)])
    assert low.measured == sum(count > 20 for count in tokens) + 2, "and the two longest"


def test_bounds_are_the_callers(embedder: Embedder) -> None:
    checks = by_name(verify(embedder, similar_above=0.99, unrelated_below=-0.5, separation_above=0.9))
    assert [name for name, check in checks.items() if check.status == "failed"] == MEANING
    for name in MEANING:
        assert "the ranking is sound and only the level of the cosines is this model's own" in checks[name].sentence
    assert "bound 0.99" in checks["similar pairs"].sentence


def test_progress_reaches_the_end(small: Embedder, golden: Golden) -> None:
    calls: list[tuple[int, int]] = []
    verify(small, golden.folder / "golden.npz", progress=lambda done, total: calls.append((done, total)))
    assert len({total for _, total in calls}) == 1
    assert calls[-1][0] == calls[-1][1]
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})


# --- what is wrong is found: models ------------------------------------------------------------------------------


def test_a_wrong_pooling_is_found(golden: Golden, tmp_path: Path) -> None:
    folder = shutil.copytree(golden.folder, tmp_path / "model")
    pooling = folder / "1_Pooling" / "config.json"
    config = json.loads(pooling.read_text(encoding="utf-8"))
    config.update(pooling_mode_mean_tokens=False, pooling_mode_cls_token=True)
    pooling.write_text(json.dumps(config), encoding="utf-8")
    found = verify(folder, golden.folder / "golden.npz", pairs=False)
    assert failed(found) == [f"reference {key}" for key in golden.vectors]
    check = by_name(found)["reference embeddings"]
    truth = golden.vectors["embeddings"]
    apart = np.abs(SentenceTransformer(folder).encode(golden.texts) - truth).max(axis=1)
    assert check.measured == pytest.approx(apart.max(), rel=1e-3)
    assert f"text {apart.argmax()}" in check.sentence
    assert main(["verify", str(folder), "--no-pairs", "--reference", str(golden.folder / "golden.npz")]) == 1


def with_weights(source: Path, folder: Path, change: Callable[[dict[str, NDArray[Any]]], None]) -> Path:
    shutil.copytree(source, folder)
    shutil.rmtree(folder / "onnx", ignore_errors=True)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_nan_in_the_weights_is_found(
    golden: Golden, small: Embedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = next(one for one in AWKWARD if "SELECT" in one)
    others = {number for one in AWKWARD if one != text for number in small.tokenize(one)["input_ids"].ravel().tolist()}
    of_pairs = {
        number for pair in PAIRS for one in pair for number in small.tokenize(one)["input_ids"].ravel().tolist()
    }
    rare = [number for number in small.tokenize(text)["input_ids"][0].tolist() if number not in others | of_pairs]
    assert rare

    def one_token(tensors: dict[str, NDArray[Any]]) -> None:
        tensors["embeddings.word_embeddings.weight"][rare[0]] = np.nan

    def everything(tensors: dict[str, NDArray[Any]]) -> None:
        tensors["embeddings.LayerNorm.weight"][3] = np.inf

    for change, count, first in ((one_token, 1, repr(text)), (everything, None, repr(AWKWARD[0]))):
        folder = with_weights(golden.folder, tmp_path / change.__name__, change)
        found = verify(folder)
        assert failed(found) == ["finite"]
        (check,) = found.checks
        assert check.measured == (count or len(quality._texts_for(small)))
        assert first[:40] in check.sentence
        assert "NaN" in check.sentence
        assert main(["verify", str(folder)]) == 1
        output = capsys.readouterr().out
        assert "✗ finite" in output
        assert "1 of 1 checks failed" in output


def test_texts_of_a_reference_that_cannot_be_embedded(golden: Golden, small: Embedder, tmp_path: Path) -> None:
    used = {number for one in quality._texts_for(small) for number in small.tokenize(one)["input_ids"].ravel().tolist()}
    text = next(one for one in golden.texts if set(small.tokenize(one)["input_ids"].ravel().tolist()) - used)
    rare = next(iter(set(small.tokenize(text)["input_ids"].ravel().tolist()) - used))

    def one_token(tensors: dict[str, NDArray[Any]]) -> None:
        tensors["embeddings.word_embeddings.weight"][rare] = np.nan

    folder = with_weights(golden.folder, tmp_path / "model", one_token)
    found = verify(folder, golden.folder / "golden.npz", pairs=False)
    assert "reference embeddings" in failed(found)
    assert "cannot be embedded" in by_name(found)["reference embeddings"].sentence


# --- what is wrong is found: the engine --------------------------------------------------------------------------


class Usage(NamedTuple):
    truncated_inputs: int
    total_tokens: int


Spoil = Callable[[int, list[str], NDArray[np.float32], Usage], tuple[NDArray[np.float32], Usage]]


def spoiled(monkeypatch: pytest.MonkeyPatch, spoil: Spoil) -> None:
    """Put something wrong between the engine and the suite; `spoil` is told how many calls went before."""
    honest = encode_quietly
    calls = 0

    def encode(model: Any, texts: Sequence[str], **options: object) -> Any:
        nonlocal calls
        vectors, usage = honest(model, texts, **options)
        calls += 1
        return spoil(calls - 1, list(texts), vectors, Usage(usage.truncated_inputs, usage.total_tokens))

    monkeypatch.setattr(quality, "encode_quietly", encode)


def wider_alone(calls: int, texts: list[str], vectors: NDArray[np.float32], usage: Usage) -> Any:
    return vectors * np.float32(1 + 1e-4 * (len(texts) == 1)), usage


def by_neighbour(calls: int, texts: list[str], vectors: NDArray[np.float32], usage: Usage) -> Any:
    vectors = vectors.copy()
    vectors[1:, 0] += [1e-3 * len(text) for text in texts[:-1]]
    return vectors, usage


def drifting(calls: int, texts: list[str], vectors: NDArray[np.float32], usage: Usage) -> Any:
    return vectors + np.float32(1e-4 * calls), usage


def swapped(calls: int, texts: list[str], vectors: NDArray[np.float32], usage: Usage) -> Any:
    return (vectors[::-1].copy() if calls > 1 else vectors), usage


def longer(calls: int, texts: list[str], vectors: NDArray[np.float32], usage: Usage) -> Any:
    return vectors * np.float32(1.002), usage


def not_a_number(calls: int, texts: list[str], vectors: NDArray[np.float32], usage: Usage) -> Any:
    vectors = vectors.copy()
    for place, text in enumerate(texts):
        if text == "🙂":
            vectors[place, 3] = np.nan
    return vectors, usage


def narrow(calls: int, texts: list[str], vectors: NDArray[np.float32], usage: Usage) -> Any:
    return vectors[:, :-1], usage


def silent_cut(calls: int, texts: list[str], vectors: NDArray[np.float32], usage: Usage) -> Any:
    return vectors, Usage(0, usage.total_tokens)


def miscounted(calls: int, texts: list[str], vectors: NDArray[np.float32], usage: Usage) -> Any:
    return vectors, Usage(usage.truncated_inputs, usage.total_tokens + 1)


@pytest.mark.parametrize(
    ("spoil", "names", "says"),
    [
        (wider_alone, ["batches"], "numbers differ by up to"),
        (by_neighbour, ["batches", "norms"], "numbers differ by up to"),
        (drifting, ["batches", "repeatability"], "the same call twice: numbers differ"),
        (swapped, ["batches"], "numbers differ by up to"),
        (longer, ["norms"], "where 1 ± 0.001 is due"),
        (not_a_number, ["batches", "finite", "norms", "repeatability"], "the first of them that of '🙂'"),
        (narrow, ["dimension"], "model_info() says 48 numbers"),
        (silent_cut, ["truncation"], "0 texts reported as cut"),
        (miscounted, ["truncation"], "tokens as used"),
    ],
)
def test_what_the_engine_does_wrong_is_found(
    small: Embedder, monkeypatch: pytest.MonkeyPatch, spoil: Spoil, names: list[str], says: str
) -> None:
    assert verify(small, pairs=False).passed
    spoiled(monkeypatch, spoil)
    found = verify(small, pairs=False)
    assert sorted(failed(found)) == sorted(names)
    assert any(says in check.sentence for check in found.failed), found.failed
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_small_difference_is_told_and_passes(small: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    def little(calls: int, texts: list[str], vectors: NDArray[np.float32], usage: Usage) -> Any:
        return vectors * np.float32(1 + 3e-6 * (len(texts) == 1)), usage

    assert by_name(verify(small, pairs=False))["batches"].sentence.endswith("the same bits")
    spoiled(monkeypatch, little)
    check = by_name(verify(small, pairs=False))["batches"]
    assert check.status == "passed"
    assert "the same bits" not in check.sentence
    assert by_name(verify(small, pairs=False, batch_tolerance=1e-7))["batches"].status == "failed"


# --- references that are none ------------------------------------------------------------------------------------


def reference_file(folder: Path, beside: object = ("one", "two"), **arrays: Any) -> Path:
    folder.mkdir(exist_ok=True)
    if beside is not None:
        (folder / "golden_texts.json").write_text(json.dumps(beside), encoding="utf-8")
    np.savez(folder / "golden.npz", **arrays)
    return folder / "golden.npz"


@pytest.mark.parametrize(
    ("texts", "arrays", "says"),
    [
        (("one", "two"), {"embeddings": (3, 48)}, "3 rows, and there are 2 texts"),
        (("one", "two"), {"embeddings": (1, 48)}, "1 rows, and there are 2 texts"),
        (("one", "two"), {"embeddings": (2, 48), "prompt_query": (3, 48)}, "'prompt_query' has 3 rows"),
        (("one", "two"), {"embeddings": (2, 40)}, "vectors of 40 numbers, and those of the model have 48"),
        (("one", "two"), {"embeddings": (96,)}, r"shape \(96,\)"),
        (("one", "two"), {"embeddings": (2, 0)}, r"shape \(2, 0\)"),
        (("one", "two"), {"vectors": (2, 48)}, "array 'vectors', which means nothing"),
        (("one", "two"), {"prompt_": (2, 48)}, "array 'prompt_', which means nothing"),
        (("one", "two"), {"prompt_none": (2, 48)}, "no prompt 'none'; its prompts: 'query', 'document'"),
        (("one", "two"), {}, "no vectors"),
        (("one", 2), {"embeddings": (2, 48)}, "not a JSON list of strings"),
        ({"one": "two"}, {"embeddings": (1, 48)}, "not a JSON list of strings"),
        (None, {"embeddings": (2, 48)}, "has no texts: looked for .*golden_texts.json and .*texts.json"),
    ],
)
def test_references_that_do_not_fit(
    small: Embedder, tmp_path: Path, texts: object, arrays: dict[str, tuple[int, ...]], says: str
) -> None:
    file = reference_file(tmp_path / "of", texts, **{key: np.ones(shape, np.float32) for key, shape in arrays.items()})
    with pytest.raises(InvalidInputError, match=says):
        verify(small, file)


def test_references_of_other_content(small: Embedder, tmp_path: Path) -> None:
    ones = np.ones((2, 48), dtype=np.float32)
    for array, says in (
        (ones * np.nan, "not finite"),
        (ones.astype(np.int64), "int64"),
        (np.array([["a"], ["b"]], dtype=object), "allow_pickle"),
    ):
        with pytest.raises(InvalidInputError, match=says):
            verify(small, reference_file(tmp_path / "of", embeddings=array))
    file = tmp_path / "file.npz"
    for content in (b"", b"not a zip", (tmp_path / "of" / "golden.npz").read_bytes()[:-30]):
        file.write_bytes(content)
        with pytest.raises(InvalidInputError, match=r"file\.npz (is not an \.npz file|cannot be read)"):
            verify(small, file)
    for missing in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(InvalidInputError, match="cannot be read"):
            verify(small, missing)
    good = reference_file(tmp_path / "good", embeddings=ones)
    (tmp_path / "bad.json").write_bytes(b"\xff")
    for texts, says in ((tmp_path / "bad.json", "not JSON"), (tmp_path / "none.json", "has no texts")):
        with pytest.raises(InvalidInputError, match=says):
            verify(small, good, reference_texts=texts)


def test_where_the_texts_of_a_reference_lie(small: Embedder, golden: Golden, tmp_path: Path) -> None:
    texts, vectors = golden.texts[:20], golden.vectors["embeddings"][:20]
    inside = tmp_path / "inside.npz"
    np.savez(inside, embeddings=vectors, texts=np.array(texts))
    assert verify(small, inside, pairs=False).passed
    with pytest.raises(InvalidInputError, match="not an array of n strings"):
        verify(small, reference_file(tmp_path / "of", None, embeddings=vectors, texts=np.zeros(20)))
    file = reference_file(tmp_path / "beside", None, embeddings=vectors.astype(np.float64))
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text(json.dumps(texts), encoding="utf-8")
    assert verify(small, file, reference_texts=elsewhere, pairs=False).passed
    (file.parent / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    assert verify(small, str(file), pairs=False).passed
    (file.parent / "golden_texts.json").write_text(json.dumps(texts[::-1]), encoding="utf-8")
    assert failed(verify(small, file, pairs=False)) == ["reference embeddings"], "the nearer name wins"


def test_arguments_that_are_none(small: Embedder, golden: Golden) -> None:
    with pytest.raises(ModelNotFoundError):
        verify("no/such/model")
    with pytest.raises(InvalidInputError, match="without a reference"):
        verify(small, reference_texts="texts.json")
    with pytest.raises(InvalidInputError, match="no prompt 'none'"):
        verify(small, prompt_name="none")
    with pytest.raises(InvalidInputError, match="finite"):
        verify(small, similar_above=float("nan"))
    for bad in ("0.5", True, None):
        with pytest.raises(TypeError, match="batch_tolerance must be a number"):
            verify(small, batch_tolerance=bad)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="prompt_name"):
        verify(small, prompt_name=3)  # type: ignore[arg-type]


# --- the command line --------------------------------------------------------------------------------------------


def test_command_says_what_passed(golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["verify", str(golden.folder), "--no-pairs", "-r", str(golden.folder / "golden.npz")])
    output = capsys.readouterr()
    assert (status, output.err) == (0, "")
    *lines, last = output.out.splitlines()
    assert [line[:2] for line in lines] == ["✓ "] * (len(OWN) + len(golden.vectors))
    assert last == f"{golden.folder.name}: all {len(lines)} checks passed"


def test_command_says_what_failed(golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = str(read_golden("bert-cls").folder / "golden.npz")
    assert main(["verify", str(golden.folder), "--no-pairs", "--reference", wrong, "--json"]) == 1
    values = json.loads(capsys.readouterr().out)
    assert values["passed"] is False
    outcomes = {check["name"]: check for check in values["checks"]}
    assert outcomes["batches"]["status"] == "passed"
    assert outcomes["reference embeddings"]["status"] == "failed"
    truth, other = golden.vectors["embeddings"], read_golden("bert-cls").vectors["embeddings"]
    assert outcomes["reference embeddings"]["measured"] == pytest.approx(np.abs(truth - other).max(), rel=1e-3)
    assert main(["verify", str(golden.folder), "--no-pairs", "--reference", wrong]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("✗ reference embeddings") and "the worst is text" in line for line in lines)
    assert lines[-1] == f"{golden.folder.name}: 2 of 8 checks failed"


def test_command_bounds(golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    loose = ["--similar-above", "-1.1", "--unrelated-below", "1.1", "--separation-above", "-1"]
    assert main(["verify", str(golden.folder), "--prompt-name", "query", *loose, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [check["bound"] for check in values["checks"]][-3:] == [-1.1, 1.1, -1.0]
    strict = ["--batch-tolerance", "-1", "--reference-tolerance", "1e-12", "-r", str(golden.folder / "golden.npz")]
    assert main(["verify", str(golden.folder), "--no-pairs", *strict, "--json"]) == 1
    outcomes = {check["name"]: check["status"] for check in json.loads(capsys.readouterr().out)["checks"]}
    wrong = {name for name, status in outcomes.items() if status == "failed"}
    assert wrong == {"repeatability", "batches", *(f"reference {key}" for key in golden.vectors)}


@pytest.mark.parametrize(
    "arguments", [["--similar-above", "much"], ["--batch-tolerance", "inf"], ["a", "b"], ["--nonsense"]]
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["verify", *arguments])
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_failures_are_one_line(golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["no/such/model"],
        [str(golden.folder), "-r", "none.npz"],
        [str(golden.folder), "--prompt-name", "x"],
    ):
        assert main(["verify", *arguments]) == 1
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith("oxembed: ")
        assert output.err.count("\n") == 1


def test_marks_that_the_terminal_can_show(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, mark in (("utf-8", "✓ finite"), ("ascii", "ok   finite"), ("latin-1", "ok   finite")):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["verify", str(golden.folder), "--no-pairs"]) == 0
        stream.flush()
        output = stream.buffer.getvalue().decode(encoding)
        assert f"{mark} " in output
        assert output.count("\n") == len(OWN) + 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX terminals")
def test_on_a_terminal_it_fits(golden: Golden) -> None:
    main_end, other_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "oxembed", "verify", str(golden.folder)],
        stdin=subprocess.DEVNULL,
        stdout=other_end,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "60", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"},
    )
    os.close(other_end)
    output, deadline = b"", time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not select.select([main_end], [], [], 1)[0]:
            continue
        try:
            part = os.read(main_end, 65_536)
        except OSError:  # Linux: the other side is closed
            break
        if not part:
            break
        output += part
    os.close(main_end)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (1, b"")
    lines = output.decode().replace("\r\n", "\n").splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert sum(line.startswith(("✓", "✗")) for line in lines) == len(OWN + MEANING)
    assert any(line.startswith("✗ unrelated pairs") for line in lines)
