"""Number formats of vectors: codes against sentence-transformers' own, and where their ranges come from."""

from __future__ import annotations

import asyncio
import copy
import csv
import json
import logging
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIXTURES, PATIENCE, Golden
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from reference import golden as factory
from reference import quantization

from oxembed import Calibration, Embedder, InvalidInputError, InvalidModelError, quantize_embeddings, similarity

DATA = FIXTURES.parent.parent / "data"
STORED = quantization.load()
RANGES = np.vstack(
    (STORED["calibration_embeddings"].min(axis=0), STORED["calibration_embeddings"].max(axis=0)), dtype=np.float32
)
numbers = st.floats(-100, 100, width=32)


def by_formula(value: float, low: float, high: float) -> int:
    """sentence-transformers' uint8 code of one number, in scalars of float32."""
    start, step = np.float32(low), (np.float32(high) - np.float32(low)) / np.float32(255)
    with np.errstate(over="ignore"):
        code = np.floor((np.float32(value) - start) / (step if step != 0 else np.float32(1)))
    return int(min(max(code, np.float32(0)), np.float32(255)))


def sentences() -> list[str]:
    return (DATA / "sentences.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def calibration(small: Embedder) -> Calibration:
    """Ranges of the small model on other texts than those the tests encode."""
    return small.calibrate(sentences()[:300])


# --- codes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["int8", "uint8"])
def test_codes_are_those_of_sentence_transformers(precision: str) -> None:
    embeddings = STORED["embeddings"]
    assert np.abs(embeddings).max() > np.abs(RANGES).max(), "some numbers are outside the ranges"
    calibrated = Calibration(RANGES)
    assert Calibration.from_embeddings(STORED["calibration_embeddings"]) == Calibration(RANGES, vectors=200)
    for vectors, name in (
        (embeddings, precision),
        (embeddings.astype(np.float64) * 1.0000001, f"{precision}_float64"),
    ):
        codes = calibrated.quantize(vectors, precision)
        assert codes.dtype == np.dtype(precision)
        np.testing.assert_array_equal(codes, STORED[name])
    own = Calibration.from_embeddings(embeddings).quantize(embeddings, precision)
    np.testing.assert_array_equal(own, STORED[f"{precision}_own"])
    for row, expected in zip(embeddings, STORED[precision], strict=True):
        np.testing.assert_array_equal(calibrated.quantize(row, precision), expected)


@pytest.mark.parametrize("precision", quantization.PRECISIONS)
def test_quantize_embeddings_is_the_function_of_sentence_transformers(precision: Any) -> None:
    embeddings, expected = STORED["embeddings"], STORED[precision]
    if precision.endswith("binary"):
        np.testing.assert_array_equal(quantize_embeddings(embeddings, precision), expected)
        np.testing.assert_array_equal(quantize_embeddings(embeddings[7], precision), expected[7])
        return
    of_vectors = {"calibration_embeddings": STORED["calibration_embeddings"]}
    ways: list[dict[str, Any]] = [{"ranges": RANGES}, of_vectors, {"calibration": Calibration(RANGES)}]
    for way in ways:
        np.testing.assert_array_equal(quantize_embeddings(embeddings, precision, **way), expected)
    assert quantize_embeddings(embeddings[:0], precision, RANGES).shape == (0, embeddings.shape[1])


@settings(deadline=None)
@given(ends=st.lists(st.tuples(numbers, numbers).map(sorted), min_size=1, max_size=5), data=st.data())
def test_codes_are_the_formula(ends: list[list[float]], data: st.DataObject) -> None:
    calibrated = Calibration(np.array(ends, dtype=np.float32).T)
    row = data.draw(st.lists(numbers, min_size=len(ends), max_size=len(ends)))
    expected = [by_formula(value, low, high) for value, (low, high) in zip(row, ends, strict=True)]
    codes = calibrated.quantize(np.array(row, dtype=np.float32), "uint8")
    assert codes.tolist() == expected
    signed = calibrated.quantize(np.array(row, dtype=np.float32), "int8")
    assert (signed.astype(int) + 128).tolist() == expected
    np.testing.assert_array_equal(calibrated.dequantize(codes), calibrated.dequantize(signed))
    for value, back, (low, high) in zip(row, calibrated.dequantize(codes).tolist(), ends, strict=True):
        if low < high:
            nearest = min(max(value, low), high)
            assert abs(back - nearest) <= (high - low) / 255 * 0.502 + 1e-5
        else:
            assert low >= high
            assert codes.dtype == np.uint8


def test_a_constant_dimension_comes_back_as_it_was() -> None:
    calibrated = Calibration([[0.25, -1.0], [0.25, 1.0]])
    codes = calibrated.quantize([[0.25, 0.3]], "int8")
    assert codes[0, 0] == -128
    assert calibrated.dequantize(codes)[0, 0] == 0.25


def test_what_cannot_be_quantized() -> None:
    vectors = np.ones((2, 19), dtype=np.float32)
    refused: list[tuple[Any, dict[str, Any], str]] = [
        (vectors, {"precision": "int8"}, "exactly one of"),
        (vectors, {"precision": "int8", "ranges": RANGES, "calibration": Calibration(RANGES)}, "exactly one of"),
        (vectors, {"precision": "binary", "ranges": RANGES}, "no ranges"),
        (vectors, {"precision": "int4"}, "int8"),
        (vectors[:, :5], {"precision": "int8", "ranges": RANGES}, "19 numbers"),
        (vectors * np.nan, {"precision": "uint8", "ranges": RANGES}, "not finite"),
        (vectors * np.inf, {"precision": "ubinary"}, "not finite"),
        (vectors[np.newaxis], {"precision": "ubinary"}, r"\(n, dim\)"),
    ]
    for embeddings, options, says in refused:
        with pytest.raises(InvalidInputError, match=says):
            quantize_embeddings(embeddings, **options)
    with pytest.raises(TypeError, match="floating point"):
        quantize_embeddings(vectors.astype(np.int8), "binary")
    with pytest.raises(InvalidInputError, match="int8 or uint8"):
        Calibration(RANGES).dequantize(vectors)
    with pytest.raises(InvalidInputError, match="19 numbers"):
        Calibration(RANGES).dequantize(np.zeros((2, 3), dtype=np.int8))


# --- encode ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["int8", "uint8"])
def test_encode_gives_the_codes_of_its_own_vectors(
    small: Embedder, golden: Golden, calibration: Calibration, precision: Any
) -> None:
    full, texts = small.encode(golden.texts), golden.texts
    expected = [
        [by_formula(value, low, high) for value, (low, high) in zip(row, calibration.ranges.T, strict=True)]
        for row in full
    ]
    codes = small.encode(texts, precision=precision, calibration=calibration)
    assert (codes.dtype.name, codes.shape) == (precision, full.shape)
    assert codes.flags.c_contiguous
    assert codes.flags.writeable
    np.testing.assert_array_equal(codes.astype(int) + (128 if precision == "int8" else 0), expected)
    assert small.encode([], precision=precision, calibration=calibration).shape == (0, small.dimension)


def test_codes_do_not_depend_on_the_batch(small: Embedder, golden: Golden, calibration: Calibration) -> None:
    options: dict[str, Any] = {"precision": "int8", "calibration": calibration}
    texts = golden.texts
    codes = small.encode(texts, **options)
    for text, row in zip(texts, codes, strict=True):
        np.testing.assert_array_equal(small.encode(text, **options), row)
    order = np.random.default_rng(0).permutation(len(texts))
    np.testing.assert_array_equal(small.encode([texts[place] for place in order], **options), codes[order])
    for size in (1, 7):
        np.testing.assert_array_equal(np.concatenate(list(small.encode_iter(texts, chunk_size=size, **options))), codes)
    np.testing.assert_array_equal(asyncio.run(small.aencode(texts, **options)), codes)
    queries = small.encode_query(texts, **options)
    np.testing.assert_array_equal(queries, calibration.quantize(small.encode_query(texts), "int8"))
    assert (queries != codes).any(), "the prompt for queries counts"


def test_where_a_calibration_comes_from(
    golden: Golden, small: Embedder, calibration: Calibration, tmp_path: Path
) -> None:
    texts = golden.texts[:9]
    expected = small.encode(texts, precision="uint8", calibration=calibration)
    file = tmp_path / "ranges.json"
    calibration.save(file)
    wide = Calibration(calibration.ranges * 2)
    folder = shutil.copytree(golden.folder, tmp_path / "model")
    wide.save(folder / "calibration.json")
    of_folder = Embedder(folder)
    of_call: list[Any] = [file, str(file), calibration]
    for given_calibration in of_call:
        made = Embedder(golden.folder, calibration=given_calibration)
        file.touch()
        for embedder in (made, pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
            np.testing.assert_array_equal(embedder.encode(texts, precision="uint8"), expected)
        for embedder in (of_folder, Embedder(golden.folder, calibration=wide)):
            codes = embedder.encode(texts, precision="uint8", calibration=given_calibration)
            np.testing.assert_array_equal(codes, expected)
    from_folder = of_folder.encode(texts, precision="uint8")
    np.testing.assert_array_equal(from_folder, wide.quantize(small.encode(texts), "uint8"))
    assert (from_folder != expected).any()
    np.testing.assert_array_equal(Embedder(folder, calibration=calibration).encode(texts, precision="uint8"), expected)


def test_without_a_calibration(small: Embedder, calibration: Calibration) -> None:
    for call in (small.encode, small.encode_query, small.encode_iter):
        with pytest.raises(InvalidInputError, match=r"model\.calibrate\(texts\) or `oxembed calibrate`"):
            call(["a", "b"], precision="int8")
    with pytest.raises(InvalidInputError, match="calibrated"):
        asyncio.run(small.aencode("a", precision="uint8"))
    with pytest.raises(InvalidInputError, match="no part in precision='float32'"):
        small.encode("a", calibration=calibration)
    with pytest.raises(TypeError, match=r"Calibration\.from_embeddings"):
        small.encode("a", precision="int8", calibration=calibration.ranges)  # type: ignore[call-overload]
    with pytest.raises(InvalidInputError, match="cannot be read"):
        small.encode("a", precision="int8", calibration="no/such/file.json")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        Embedder(calibration="no/such/file.json")


def test_a_broken_file_in_the_folder_is_a_broken_model(golden: Golden, tmp_path: Path) -> None:
    folder = shutil.copytree(golden.folder, tmp_path / "model")
    (folder / "calibration.json").write_text("{}")
    model = Embedder(folder)
    assert model.encode("a").shape == (model.dimension,), "it has no part in float vectors"
    with pytest.raises(InvalidModelError, match=r"calibration\.json is not a calibration"):
        model.encode("a", precision="int8")


def test_a_calibration_that_does_not_fit_is_told(
    small: Embedder, calibration: Calibration, caplog: pytest.LogCaptureFixture
) -> None:
    narrow = Calibration(calibration.ranges * 0.1)
    with caplog.at_level(logging.WARNING, logger="oxembed"):
        small.encode(sentences()[:50], precision="int8", calibration=calibration)
        assert not caplog.records
        small.encode(sentences()[:50], precision="int8", calibration=narrow)
        list(small.encode_iter(sentences()[:50], chunk_size=10, precision="int8", calibration=narrow))
    assert [record.name for record in caplog.records] == ["oxembed"] * 2
    outside = np.abs(small.encode(sentences()[:50]) - narrow.ranges.mean(axis=0)) > np.diff(narrow.ranges, axis=0) / 2
    assert narrow.outside(small.encode(sentences()[:50])) == pytest.approx(outside.mean(), abs=0.01)
    assert all(f"{100 * outside.mean():.0f}% of the numbers" in record.getMessage() for record in caplog.records)


# --- truncation, then length 1, then the precision -----------------------------------------------------------------


@pytest.mark.parametrize("case", ["bert", "dense", "dense_v6", "dense_sigmoid", "poolings_mpnet"])
def test_truncation_then_normalization_then_precision(case: str, tmp_path: Path) -> None:
    """`full` is sentence-transformers' own; of the cases, two end in Normalize and three do not, three have Dense."""
    full = factory.load()[case].astype(np.float64)
    model = Embedder(factory.CASES[case].make(tmp_path / "model"))
    ends_normalized = model.model_info().modules[-1] == "Normalize"
    assert ends_normalized == bool(np.allclose(np.linalg.norm(full, axis=1), 1, atol=1e-6))
    for dimension in (3, full.shape[1] // 2, full.shape[1], full.shape[1] + 7):
        cut = full[:, :dimension]
        unit = cut / np.linalg.norm(cut, axis=1, keepdims=True)
        plain = model.encode(factory.TEXTS, truncate_dim=dimension)
        np.testing.assert_allclose(plain, cut, rtol=1e-5, atol=1e-5)
        normalized = model.encode(factory.TEXTS, truncate_dim=dimension, normalize_embeddings=True)
        np.testing.assert_allclose(normalized, unit, rtol=0, atol=2e-5)
        for vectors, normalize in ((plain, None), (normalized, True)):
            options: dict[str, Any] = {"truncate_dim": dimension, "normalize_embeddings": normalize}
            packed = np.packbits(vectors > 0, axis=1)
            np.testing.assert_array_equal(model.encode(factory.TEXTS, precision="ubinary", **options), packed)
            calibrated = model.calibrate(factory.TEXTS * 20, **options)
            codes = model.encode(factory.TEXTS, precision="uint8", calibration=calibrated, **options)
            np.testing.assert_array_equal(
                codes, Calibration.from_embeddings(np.tile(vectors, (20, 1))).quantize(vectors, "uint8")
            )


@pytest.mark.parametrize("case", ["dense", "dense_v6"])
def test_a_calibration_is_cut_only_where_that_is_right(case: str, tmp_path: Path) -> None:
    model = Embedder(factory.CASES[case].make(tmp_path / "model"))
    texts = factory.TEXTS * 20
    ends_normalized = case == "dense"
    full = model.calibrate(texts)
    cut = model.encode(factory.TEXTS, truncate_dim=10, precision="uint8", calibration=full)
    np.testing.assert_array_equal(cut, model.encode(factory.TEXTS, precision="uint8", calibration=full)[:, :10])
    unknown = Calibration(full.ranges)
    np.testing.assert_array_equal(
        model.encode(factory.TEXTS, truncate_dim=10, precision="uint8", calibration=unknown), cut
    )
    unit = model.calibrate(texts, normalize_embeddings=True)
    assert unit.normalized is not ends_normalized
    unit_cut = model.calibrate(texts, normalize_embeddings=True, truncate_dim=10)
    assert unit_cut.normalized is True

    def fits(calibrated: Calibration, **options: Any) -> bool:
        try:
            model.encode("a", precision="int8", calibration=calibrated, **options)
        except InvalidInputError:
            return False
        return True

    assert fits(unit, normalize_embeddings=True)
    assert fits(unit_cut, normalize_embeddings=True, truncate_dim=10)
    assert fits(full, normalize_embeddings=True) is ends_normalized
    assert fits(unit) is ends_normalized
    assert fits(unit, truncate_dim=10) is ends_normalized
    assert not fits(unknown, normalize_embeddings=True, truncate_dim=10)
    assert not fits(full, normalize_embeddings=True, truncate_dim=10)
    assert not fits(unit, normalize_embeddings=True, truncate_dim=10)
    assert not fits(unit_cut, truncate_dim=10)
    assert not fits(unit_cut)
    assert not fits(full.truncate(10))
    narrow = Embedder(tmp_path / "model", truncate_dim=10, calibration=full)
    np.testing.assert_array_equal(narrow.encode(factory.TEXTS, precision="uint8"), cut)


# --- calibrations ------------------------------------------------------------------------------------------------


def test_calibrate_measures_minimum_and_maximum(small: Embedder, golden: Golden) -> None:
    texts = sentences()[:300]
    vectors = small.encode(texts)
    found = small.calibrate(text for text in texts)
    np.testing.assert_allclose(found.ranges, [vectors.min(axis=0), vectors.max(axis=0)], rtol=0, atol=1e-6)
    assert (found.vectors, found.model, found.normalized) == (300, golden.folder.name, False)
    assert small.calibrate(texts, prompt_name="query") != found
    chunks = [vectors[:1], vectors[:0], vectors[1:200], vectors[200:]]
    assert Calibration.from_chunks(chunks) == Calibration.from_embeddings(vectors)


def test_what_cannot_be_calibrated_with(small: Embedder, caplog: pytest.LogCaptureFixture) -> None:
    for texts in ([], ["one"]):
        with pytest.raises(InvalidInputError, match=f"got {len(texts)}"):
            small.calibrate(texts)
    with pytest.raises(TypeError, match="got one text"):
        small.calibrate("one")
    for name in ("precision", "calibration", "nonsense"):
        with pytest.raises(TypeError, match=name):
            small.calibrate(["one", "two"], **{name: "int8"})  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="3 and of 4 numbers"):
        Calibration.from_chunks([np.zeros((2, 3)), np.zeros((2, 4))])
    with pytest.raises(InvalidInputError, match=r"\(n, dim\)"):
        Calibration.from_embeddings([1.0, 2.0])
    for bad in ([["a"], ["b"]], np.zeros((3, 3), np.int8)):
        with pytest.raises(TypeError, match="floating point"):
            Calibration.from_embeddings(bad)
    with pytest.raises(InvalidInputError, match="one length"):
        Calibration.from_embeddings([[1.0], [1.0, 2.0]])
    with caplog.at_level(logging.WARNING, logger="oxembed"):
        small.calibrate(["one", "two"])
    assert "calibrated with 2 vectors" in caplog.text


@pytest.mark.parametrize(
    ("ranges", "says"),
    [
        ([1.0, 2.0], r"shape \(2, dim\)"),
        ([[1.0], [2.0], [3.0]], r"shape \(2, dim\)"),
        ([[], []], r"shape \(2, dim\)"),
        ([[0.0, np.nan], [1.0, 1.0]], "dimension 1 are not finite"),
        ([[0.0], [np.inf]], "dimension 0 are not finite"),
        ([[0.0], [1e39]], "dimension 0 are not finite"),
        ([[-3e38], [3e38]], "dimension 0 are not finite"),
        ([[0.0, 2.0], [1.0, 1.0]], "dimension 1 are crossed: from 2.0 to 1.0"),
    ],
)
def test_ranges_that_are_none(ranges: Any, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        Calibration(ranges)


@settings(deadline=None)
@given(
    ends=st.lists(st.tuples(numbers, numbers).map(sorted), min_size=1, max_size=5),
    normalized=st.none() | st.booleans(),
    vectors=st.none() | st.integers(2, 1 << 40),
    model=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
)
def test_a_file_brings_everything_back(
    ends: list[list[float]],
    normalized: bool | None,
    vectors: int | None,
    model: str | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    file = tmp_path_factory.mktemp("files") / "calibration.json"
    calibrated = Calibration(np.array(ends, dtype=np.float32).T, normalized, vectors, model)
    calibrated.save(file)
    for back in (Calibration.load(file), pickle.loads(pickle.dumps(calibrated))):
        assert back == calibrated
        assert hash(back) == hash(calibrated)
        assert repr(back) == repr(calibrated)
        with pytest.raises(ValueError, match="read-only"):
            back.ranges[0, 0] = 1.0
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    values = json.loads(file.read_text(encoding="utf-8"))
    np.testing.assert_array_equal(np.array(values["minimum"], dtype=np.float32), calibrated.ranges[0])
    assert calibrated != Calibration(calibrated.ranges + 1, normalized, vectors, model)


GOOD: dict[str, Any] = {
    "format": "oxembed-calibration",
    "version": 1,
    "dimension": 2,
    "minimum": [0, -1.5],
    "maximum": [1, 1],
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "other"}, "format"),
        ({"version": 2}, "reads version 1 only"),
        ({"version": None}, "reads version 1 only"),
        ({"dimension": 3}, "2 minima and 2 maxima"),
        ({"dimension": None}, "2 minima"),
        ({"minimum": [0]}, "1 minima"),
        ({"minimum": 3}, '"minimum" is not a list of numbers'),
        ({"maximum": [1, "1"]}, '"maximum" is not a list of numbers'),
        ({"maximum": [1, True]}, '"maximum" is not a list of numbers'),
        ({"maximum": [1, [1]]}, '"maximum" is not a list of numbers'),
        ({"maximum": [1, float("nan")]}, "not finite"),
        ({"maximum": [1, 10**400]}, "too large"),
        ({"maximum": [1, -2]}, "crossed"),
        ({"minimum": [], "maximum": [], "dimension": 0}, "shape"),
        ({"normalized": "yes"}, "normalized"),
        ({"vectors": 1.5}, "vectors"),
        ({"model": 3}, "model"),
    ],
)
def test_files_that_are_no_calibration(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps(GOOD))
    assert Calibration.load(file) == Calibration([[0.0, -1.5], [1.0, 1.0]])
    file.write_text(json.dumps({**GOOD, **change}))
    with pytest.raises(InvalidInputError, match=r"calibration\.json is not a calibration") as caught:
        Calibration.load(file)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"[" * 100_000, b"[1]", b"null", b'{"format"', b"PK\x03\x04"]
)
def test_files_that_are_something_else(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ranges.json"
    file.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"ranges\.json is not a calibration"):
        Calibration.load(file)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        Calibration.load(tmp_path)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        Calibration.load("nul\0.json")


def test_a_calibration_is_not_written_where_it_cannot(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="folder does not exist"):
        Calibration(RANGES).save(tmp_path / "none" / "calibration.json")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - another class on every system
        Calibration(RANGES).save(tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


# --- the embedded model ------------------------------------------------------------------------------------------


def top(scores: NDArray[np.floating[Any]], count: int = 10) -> list[set[int]]:
    return [set(row.argsort()[-count:].tolist()) for row in scores]


def recall(truth: list[set[int]], found: list[set[int]]) -> float:
    return float(np.mean([len(one & other) / len(one) for one, other in zip(truth, found, strict=True)]))


def test_int8_of_the_embedded_model_finds_what_float32_finds(embedder: Embedder) -> None:
    queries = json.loads((FIXTURES / "all-MiniLM-L6-v2-golden" / "texts.json").read_text(encoding="utf-8"))
    lines = sentences()[:1200]
    documents, wanted = embedder.encode(lines), embedder.encode(queries)
    truth = top(wanted @ documents.T)
    stored = Calibration.load(Path(embedder.model_info().path) / "calibration.json")
    codes = embedder.encode(lines[:100], precision="int8")
    assert (codes.dtype.name, codes.shape) == ("int8", (100, embedder.dimension))
    np.testing.assert_array_equal(codes, stored.quantize(documents[:100], "int8"))
    restored = stored.dequantize(stored.quantize(documents, "int8"))
    assert recall(truth, top(wanted @ restored.T)) > 0.95
    of_codes = stored.dequantize(embedder.encode(queries, precision="int8"))
    assert recall(truth, top(of_codes @ restored.T)) > 0.95
    assert stored.outside(documents) < 1e-4, "these are among the texts that were measured"
    assert stored.outside(wanted) < 0.01, "these are not"
    half = Calibration.from_embeddings(documents[::2])
    unseen = half.dequantize(half.quantize(documents[1::2], "int8"))
    assert recall(top(wanted @ documents[1::2].T), top(wanted @ unseen.T)) > 0.95


# --- packed binary vectors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["binary", "ubinary"])
def test_hamming_counts_signs_that_differ(small: Embedder, golden: Golden, precision: Any) -> None:
    vectors = small.encode(golden.texts)
    expected = [[-sum((x > 0) != (y > 0) for x, y in zip(a, b, strict=True)) for b in vectors] for a in vectors[:9]]
    packed = small.encode(golden.texts, precision=precision)
    scores = similarity.similarity(packed[:9], packed, "hamming")
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, expected)
    np.testing.assert_array_equal(
        similarity.pairwise(packed[:9], packed[9:18], "hamming"), np.diag(np.array(expected)[:, 9:18])
    )
    np.testing.assert_array_equal(similarity.similarity(packed[0], packed[1], "hamming"), [[expected[0][1]]])


def test_codes_are_not_compared_as_numbers(small: Embedder) -> None:
    packed = np.zeros((2, 6), dtype=np.uint8)
    for bad in (packed.astype(np.int8), packed.astype(np.float32), packed[:, :5]):
        for function in (similarity.similarity, similarity.pairwise):
            with pytest.raises(InvalidInputError):
                function(packed, bad, "hamming")
    with pytest.raises(InvalidInputError, match="the same"):
        similarity.pairwise(packed, packed[:1], "hamming")
    with pytest.raises(InvalidInputError, match=r"Calibration\.dequantize"):
        small.similarity(packed, packed)


# --- the command line --------------------------------------------------------------------------------------------


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "oxembed", *arguments],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


MODEL = str(FIXTURES / "bert-mean-prompts")


def test_calibrate_and_embed(tmp_path: Path, small: Embedder) -> None:
    texts = [text for text in sentences() if len(text) < 60][:300]
    source, ranges = tmp_path / "texts.txt", tmp_path / "ranges.json"
    source.write_text("\n".join(texts), encoding="utf-8")
    options = ["--prompt-name", "query", "--truncate-dim", "12", "--normalize", "-m", MODEL]
    done = run("calibrate", "-i", str(source), "-o", str(ranges), "--json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "output": str(ranges),
        "model": "bert-mean-prompts",
        "vectors": 300,
        "dimension": 12,
        "normalized": True,
    }
    keywords: dict[str, Any] = {"prompt_name": "query", "truncate_dim": 12, "normalize_embeddings": True}
    vectors = small.encode(texts, **keywords)
    measured = Calibration.load(ranges)
    np.testing.assert_allclose(measured.ranges, [vectors.min(axis=0), vectors.max(axis=0)], rtol=0, atol=1e-6)
    for suffix, precision in ((".npy", "int8"), (".jsonl", "uint8"), (".csv", "int8")):
        output = tmp_path / f"codes{suffix}"
        command = ["embed", "-i", str(source), "-o", str(output), "--precision", precision, *options]
        done = run(*command, "--calibration", str(ranges))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        if suffix == ".npy":
            codes = np.load(output)
            assert codes.dtype == np.int8
        elif suffix == ".jsonl":
            codes = np.array(
                [json.loads(line)["embedding"] for line in output.read_text(encoding="utf-8").split("\n")[:-1]]
            )
        else:
            with output.open(encoding="utf-8", newline="") as stream:
                codes = np.array([[int(value) for value in row[2:]] for row in list(csv.reader(stream))[1:]])
        np.testing.assert_array_equal(codes, measured.quantize(vectors, precision))


def test_calibrate_says_what_it_did_and_what_is_wrong(tmp_path: Path) -> None:
    output = tmp_path / "calibration.json"
    done = run("calibrate", "-i", "-", "-o", str(output), "-m", MODEL, stdin="a\nb\n" * 60)
    assert (done.returncode, done.stdout) == (0, "")
    assert "measured on 120 texts" in done.stderr
    kept = output.read_text()
    for arguments, says in (
        (["calibrate", "-i", "-", "-o", str(output), "-m", MODEL], "got 0"),
        (["calibrate", "-i", "-", "-o", str(tmp_path / "none" / "c.json"), "-m", MODEL], "folder does not exist"),
        (["calibrate", "-i", "-", "-o", str(tmp_path), "-m", MODEL], "directory"),
        (["embed", "x", "--precision", "int8", "-m", MODEL], "oxembed calibrate"),
        (["embed", "x", "--precision", "int8", "-m", MODEL, "--calibration", "none.json"], "none.json"),
        (["embed", "x", "--precision", "int8", "--calibration", str(output)], "384"),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert says.lower() in done.stderr.lower()
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr
    assert output.read_text() == kept
    done = run("embed", "x", "--precision", "uint8")
    assert done.returncode == 0
    assert all(0 <= value <= 255 for value in json.loads(done.stdout)["embedding"])
