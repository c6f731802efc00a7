"""`oxembed.quantize`: the file and the report that it makes of a small model, held to numpy and to float32."""

from __future__ import annotations

import json
import os
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Golden, read_golden
from int8_models import FILE, ROOT, SMALL, copied, cosines, quantized, read_header, read_kinds, rough
from reference import bert
from reference.int8 import QuantizedLayers
from reference.sentence_transformer import SentenceTransformer
from reference.weights import read_model

from oxembed import Embedder, InvalidInputError, InvalidModelError, ModelNotFoundError, QuantizationReport, quantize
from oxembed.quantization_report import LayerError, SiteError

HELD_OUT = ROOT / "src" / "quantize" / "texts" / "held_out.jsonl"
LAYERS = 2
ROLES = ["qkv", "attention_output", "up", "down"]
STEMS = [
    f"encoder.layer.{layer}.{name}"
    for layer in range(LAYERS)
    for name in (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    )
]
TEXTS = [f"text number {number} tells of {word}" for number in range(20) for word in ("cats", "the weather", "code")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, QuantizationReport]:
    """A small model with random weights and its int8 file; never changed."""
    return quantized(tmp_path_factory.mktemp("made") / "model")


@pytest.fixture(scope="module")
def layers(made: tuple[Path, QuantizationReport]) -> QuantizedLayers:
    return QuantizedLayers(made[0] / FILE)


@pytest.fixture(scope="module")
def texts() -> Golden:
    return read_golden(SMALL.name)


# --- the file ----------------------------------------------------------------------------------------------------


def test_the_file_is_there_and_nothing_else(made: tuple[Path, QuantizationReport]) -> None:
    folder, report = made
    assert report.path == str(folder / FILE)
    assert report.bytes == (folder / FILE).stat().st_size
    assert {path.name for path in folder.iterdir()} == {path.name for path in SMALL.iterdir()} | {FILE}


def test_the_integers_stand_for_the_weights(layers: QuantizedLayers) -> None:
    weights = read_model(SMALL)
    assert [stem for stem in STEMS if stem not in layers] == []
    for stem in STEMS:
        exact, found = weights[f"{stem}.weight"], layers.weight(stem)
        # GPTQ moves a weight by some steps to make up for others; a step is a 127th of the largest at most.
        assert np.linalg.norm(found - exact) < 0.02 * np.linalg.norm(exact), stem
        assert np.abs(layers.tensors[f"{stem}.weight"].astype(int)).max() <= 127


def test_the_vectors_are_those_of_the_file(
    made: tuple[Path, QuantizationReport], layers: QuantizedLayers, texts: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole model again in numpy, with the file's integers in the place of its linear layers."""
    found = Embedder(made[0], provider="cpu", dtype="int8").encode(texts.texts)
    exact = texts.vectors["embeddings"]
    monkeypatch.setattr(bert, "linear", layers.linear)
    expected = SentenceTransformer(SMALL).encode(texts.texts)
    off, lost = np.linalg.norm(found - expected, axis=1), np.linalg.norm(expected - exact, axis=1)
    # A number on the edge of two bytes may fall to the other one in another precision, and nothing else.
    assert np.median(off) < 1e-5
    assert off.max() < lost.max()
    assert np.median(lost) > 1e-4


def test_the_metadata_say_what_was_made(made: tuple[Path, QuantizationReport]) -> None:
    import hashlib

    folder, report = made
    metadata = read_header(folder / FILE)["__metadata__"]
    weights = (folder / "model.safetensors").read_bytes()
    assert metadata["format"] == "oxembed-int8"
    assert metadata["recipe"] == report.recipe == "1"
    assert metadata["source_sha256"] == hashlib.sha256(weights).hexdigest()
    assert json.loads(metadata["quality"])["mean"] == report.quality.mean


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_same_model_same_bytes(made: tuple[Path, QuantizationReport], tmp_path: Path, threads: int) -> None:
    report = quantize(SMALL, output=tmp_path, force=True, threads=threads)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).read_bytes() == (made[0] / FILE).read_bytes()
    assert (report.quality, report.layers) == (made[1].quality, made[1].layers)


def test_a_file_in_another_folder_is_used_beside_the_weights(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    quantize(SMALL, output=output, force=True)
    folder = copied(tmp_path / "model")
    (output / FILE).rename(folder / FILE)
    assert Embedder(folder, dtype="int8").model_info().dtype == "int8"


# --- the report --------------------------------------------------------------------------------------------------


def test_the_quality_is_that_of_the_held_out_texts(made: tuple[Path, QuantizationReport]) -> None:
    folder, report = made
    int8, float32 = Embedder(folder, provider="cpu", dtype="int8"), Embedder(folder, provider="cpu")
    kinds = read_kinds(HELD_OUT)
    found = {kind: cosines(int8.encode(texts), float32.encode(texts)) for kind, texts in kinds.items()}
    assert {kind: one.texts for kind, one in report.quality.by_kind.items()} == {k: len(v) for k, v in found.items()}
    for kind, each in found.items():
        said = report.quality.by_kind[kind]
        assert (said.mean, said.minimum) == pytest.approx((each.mean(), each.min()), abs=1e-6)
        assert said.first_percentile == pytest.approx(np.sort(each)[len(each) // 100], abs=1e-6)
    every = np.sort(np.concatenate(list(found.values())))
    quality = report.quality
    assert (quality.mean, quality.minimum) == pytest.approx((every.mean(), every[0]), abs=1e-6)
    assert every[len(every) // 100 - 1] - 1e-6 <= quality.first_percentile <= every[len(every) // 100 + 1] + 1e-6
    assert quality.texts == len(every)
    assert quality.tokens == sum(
        min(count, int8.max_seq_length) for t in kinds.values() for count in int8.count_tokens(t)
    )
    assert quality.passed == report.passed == (quality.mean >= 0.9995 and quality.minimum >= 0.998)


def test_the_errors_are_of_every_layer_and_site(made: tuple[Path, QuantizationReport]) -> None:
    report = made[1]
    assert [layer.layer for layer in report.layers] == list(range(LAYERS))
    for layer in report.layers:
        assert [site.role for site in layer.sites] == ROLES
        assert 0 < layer.error < 0.1
        # What it is for: the products are nearer than with weights that are only rounded.
        assert all(0 < site.error < site.rounded < 0.1 for site in layer.sites)


def test_the_rest_of_the_report(made: tuple[Path, QuantizationReport]) -> None:
    folder, report = made
    weights = read_model(folder)
    assert report.parameters_quantized == sum(weights[f"{stem}.weight"].size for stem in STEMS)
    assert report.calibration_texts > 500
    assert report.calibration_tokens > 10_000
    assert report.seconds > 0
    assert min(report.speed.float32, report.speed.int8, report.speed.ratio, report.speed.single) > 0
    assert report.fast == (report.instructions in {"avx512-vnni", "avx-vnni", "neon-dotprod"})


def test_the_report_is_typed_frozen_and_json(made: tuple[Path, QuantizationReport]) -> None:
    report = made[1]
    assert isinstance(report.layers[0], LayerError)
    assert isinstance(report.layers[0].sites[0], SiteError)
    with pytest.raises(FrozenInstanceError):
        report.passed = True  # type: ignore[misc]
    values: dict[str, Any] = json.loads(json.dumps(report.as_dict()))
    assert values["layers"][1]["sites"][3] == {
        "role": "down",
        "error": report.layers[1].sites[3].error,
        "rounded": report.layers[1].sites[3].rounded,
    }
    assert values["quality"]["by_kind"]["code"]["texts"] == report.quality.by_kind["code"].texts


def test_the_table_says_every_figure(made: tuple[Path, QuantizationReport]) -> None:
    report = made[1]
    lines = str(report).splitlines()
    for kind, one in report.quality.by_kind.items():
        [line] = [line for line in lines if line.startswith(f"{kind} ")]
        words = line.split()
        assert int(words[1]) == one.texts
        assert one.mean - 1e-6 <= float(words[2]) <= one.mean
        assert one.first_percentile - 1e-6 <= float(words[3]) <= one.first_percentile
        assert one.minimum - 1e-6 <= float(words[4]) <= one.minimum
    [head] = [line for line in lines if line.startswith("layer ")]
    assert head.split() == ["layer", "error", *" ".join(ROLES).replace("_", " ").split()]
    first = lines[lines.index(head) + 1].split()
    assert first[:2] == ["0", f"{report.layers[0].error:.2%}"]
    assert first[2] == f"{report.layers[0].sites[0].error:.2%}"
    assert f"{report.speed.ratio:.2f} times as fast" in str(report)
    assert max(map(len, lines)) <= 120


# --- the gate ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def beyond(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that int8 cannot keep; never changed."""
    return rough(tmp_path_factory.mktemp("beyond") / "model")


def test_below_the_promise_nothing_is_written(beyond: Path) -> None:
    report = quantize(beyond)
    assert (report.path, report.passed, report.bytes) == (None, False, 0)
    assert {path.name for path in beyond.iterdir()} == {path.name for path in SMALL.iterdir()}
    assert "MISSED" in str(report)


def test_who_insists_has_the_file_and_its_quality(beyond: Path, tmp_path: Path) -> None:
    folder = copied(tmp_path / "model", beyond)
    report = quantize(folder, force=True)
    assert (report.path, report.passed) == (str(folder / FILE), False)
    assert json.loads(read_header(folder / FILE)["__metadata__"]["quality"])["passed"] is False
    vectors = [Embedder(folder, provider="cpu", dtype=dtype).encode(TEXTS) for dtype in ("int8", "float32")]
    assert cosines(*vectors).min() < 0.998
    np.testing.assert_allclose(vectors[1], Embedder(SMALL, provider="cpu").encode(TEXTS), atol=1e-4)


def test_an_older_file_stays_where_nothing_new_is_written(beyond: Path, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"an older file")
    assert quantize(beyond, output=tmp_path).path is None
    assert (tmp_path / FILE).read_bytes() == b"an older file"
    assert quantize(beyond, output=tmp_path, force=True).path is not None
    assert (tmp_path / FILE).stat().st_size > 1_000


# --- texts to learn from -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_own_texts(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file that comes of the texts above as a list."""
    output = tmp_path_factory.mktemp("own")
    report = quantize(SMALL, calibration=TEXTS, output=output, force=True)
    assert report.calibration_texts == len(TEXTS)
    return (output / FILE).read_bytes()


def test_own_texts_count(made: tuple[Path, QuantizationReport], of_own_texts: bytes) -> None:
    assert of_own_texts != (made[0] / FILE).read_bytes()


@pytest.mark.parametrize("form", ["pairs", "generator", "array", "lines", "windows", "objects"])
def test_every_form_of_texts_is_the_same(of_own_texts: bytes, tmp_path: Path, form: str) -> None:
    file = tmp_path / ("texts.jsonl" if form == "objects" else "texts.txt")
    calibration: Any = file
    match form:
        case "pairs":
            calibration = [("kind", text) for text in TEXTS]
        case "generator":
            calibration = (text for text in TEXTS)
        case "array":
            calibration = np.array(TEXTS)
        case "lines":
            file.write_text("\n\n".join(TEXTS), encoding="utf-8")
        case "windows":
            file.write_bytes("".join(f"{text}\r\n" for text in TEXTS).encode())
            calibration = str(file)
        case _:
            lines = [
                json.dumps({"text": text, "kind": "kind"} if text in TEXTS[:9] else {"text": text}) for text in TEXTS
            ]
            file.write_text("\n".join(lines), encoding="utf-8")
    output = tmp_path / "output"
    output.mkdir()
    quantize(SMALL, calibration=calibration, output=output, force=True)
    assert (output / FILE).read_bytes() == of_own_texts


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        ("one\ntwo\n", "texts.txt", ["texts.txt", "2 texts are too few", "32"]),
        ("", "texts.txt", ["texts.txt", "too few"]),
        ('{"text": "a"}\n{"txt": "b"}\n', "texts.jsonl", ["texts.jsonl", "line 2", "txt"]),
        ('{"text": "a"}\nnonsense\n', "texts.jsonl", ["texts.jsonl", "line 2"]),
        ('{"text": 3}\n', "texts.jsonl", ["texts.jsonl", "line 1"]),
        (None, "texts.txt", ["texts.txt", "cannot be read"]),
    ],
)
def test_files_that_do_not_work(tmp_path: Path, content: str | None, name: str, says: list[str]) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidInputError) as caught:
        quantize(SMALL, calibration=file, output=tmp_path)
    for words in says:
        assert words in str(caught.value)


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes("Grüße\n".encode("latin-1") * 40)
    with pytest.raises(InvalidInputError, match=r"texts\.txt.*UTF-8"):
        quantize(SMALL, calibration=file, output=tmp_path)


@pytest.mark.parametrize(
    ("calibration", "error", "says"),
    [
        ([], InvalidInputError, "too few"),
        (["one", "two"], InvalidInputError, "too few"),
        (["one", 2], TypeError, "text 1 "),
        (["one", ("kind", 2)], TypeError, "text 1 "),
        (["one", (3, "text")], TypeError, "text 1 "),
        (["one", ("kind", "text", "more")], TypeError, "text 1 "),
        (["one", "\ud800"], InvalidInputError, "text 1 "),
        (b"bytes", TypeError, "bytes"),
        ({"kind": "text"}, TypeError, "dict"),
        (3, TypeError, "int"),
    ],
)
def test_texts_that_do_not_work(tmp_path: Path, calibration: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        quantize(SMALL, calibration=calibration, output=tmp_path)


# --- models and folders ------------------------------------------------------------------------------------------


def test_the_embedded_model_needs_an_output() -> None:
    for name in ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"):
        with pytest.raises(InvalidInputError, match="output="):
            quantize(name)


def test_no_such_model() -> None:
    with pytest.raises(ModelNotFoundError):
        quantize("no/such/model/anywhere")
    with pytest.raises(TypeError):
        quantize(3)  # type: ignore[arg-type]


def test_an_onnx_file_cannot_be_taken_apart(tmp_path: Path) -> None:
    folder = copied(tmp_path / "model", SMALL.with_name("bert-cls"))
    (folder / "model.safetensors").unlink()
    with pytest.raises(InvalidModelError, match=r"onnx.*model\.safetensors"):
        quantize(folder)


def test_an_output_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"nowhere.*output="):
        quantize(SMALL, output=tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    folder = copied(tmp_path / "model")
    folder.chmod(0o500)
    try:
        with pytest.raises(InvalidInputError, match="output="):
            quantize(folder)
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("name", ["threads", "show_progress_bar"])
def test_arguments_of_the_wrong_type(name: str) -> None:
    arguments: dict[str, Any] = {name: "2"}
    with pytest.raises(TypeError, match=name):
        quantize(SMALL, **arguments)


def test_progress_is_shown_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quantize(SMALL, output=tmp_path, show_progress_bar=True)
    assert "quantizing" in capsys.readouterr().err
    quantize(SMALL, output=tmp_path)
    assert capsys.readouterr().err == ""
