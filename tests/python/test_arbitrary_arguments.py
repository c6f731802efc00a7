"""Whatever a caller passes: rows, or an error that is one of ours or a `TypeError`, with a message that can be read."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIXTURES
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from oxembed import Calibration, Embedder, hub
from oxembed import calibration as calibrations
from oxembed._options import UNNAMED, check_options
from oxembed._precision import convert
from oxembed._provider import check_provider
from oxembed.exceptions import InvalidInputError, ModelNotFoundError, OxembedError
from oxembed.providers import CUDA

LONGEST_MESSAGE = 4_000
# What is named here takes the place of the profile's: how long drawing takes depends on the machine.
UNCHECKED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

# What is found in the wild, where another thing is expected.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 2**31, 2**63, 2**64, -(2**63) - 1, 10**30])
    | st.floats()
    | st.text()
    | st.sampled_from(["\ud800", "a\0b", "query", "float32", "int8", "error", "cpu", "sentence_embedding"])
    | st.binary(max_size=8)
)
ARRAYS = st.sampled_from([np.zeros(0), np.ones(2), np.array(3), np.array(["float32", "int8"]), np.int64(5), np.nan])
ODD = st.sampled_from([object(), int, len, Ellipsis, range(3), Path("none"), Ellipsis])
VALUES = st.recursive(
    SCALARS | ARRAYS | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
OPTIONS = (
    "prompt_name",
    "prompt",
    "normalize_embeddings",
    "truncate_dim",
    "precision",
    "calibration",
    "truncation",
    "show_progress_bar",
    "batch_size",
    "convert_to_numpy",
    "convert_to_tensor",
    "device",
    "output_value",
)
TEXTS = st.text() | st.lists(st.text() | st.just("\ud800 half a character") | VALUES, max_size=4) | VALUES


@pytest.fixture(scope="module")
def model() -> Embedder:
    return Embedder(FIXTURES / "bert-mean-st6", provider="cpu", threads=1)


def outcome(call: Callable[[], Any]) -> Any:
    """What the call returns; `None` where it refuses, with an error that somebody can read."""
    try:
        return call()
    except (OxembedError, TypeError) as error:
        message = str(error)
        assert message.strip()
        assert len(message) <= LONGEST_MESSAGE, message[:200]
        return None


@settings(deadline=None, max_examples=150, suppress_health_check=UNCHECKED)
@given(texts=TEXTS, options=st.dictionaries(st.sampled_from(OPTIONS), VALUES, max_size=3))
@example(texts=["a"], options={"truncate_dim": 10**30})
@example(texts=["a"], options={"prompt": "\ud800"})
@example(texts=["a"], options={"prompt_name": "\ud800"})
@example(texts=["a"], options={"precision": np.array(["float32", "int8"])})
@example(texts=["a"], options={"truncation": np.array([1, 2])})
@example(texts=["a"], options={"convert_to_tensor": np.array([1, 2])})
@example(texts=["a"], options={"convert_to_numpy": np.array([1, 2])})
@example(texts=["a"], options={"output_value": np.array([1, 2])})
def test_encode_takes_or_refuses_anything(model: Embedder, texts: Any, options: dict[str, Any]) -> None:
    vectors = outcome(lambda: model.encode(texts, **options))
    if vectors is None:
        return
    rows = 1 if isinstance(texts, str) else len(texts)
    assert vectors.shape[: vectors.ndim - 1] == (() if isinstance(texts, str) else (rows,))
    assert np.isfinite(vectors).all()


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["provider", "threads", "max_seq_length", "truncate_dim", "dtype", "onnx_file", "device"])
        | st.sampled_from(["calibration", "local_files_only"]),
        VALUES,
        min_size=1,
        max_size=2,
    )
)
@example({"threads": 10**30})
@example({"provider": "\ud800"})
@example({"provider": ["cpu", "\ud800"]})
@example({"dtype": "\ud800"})
@example({"onnx_file": "\ud800"})
@example({"local_files_only": np.array([1, 2])})
def test_a_model_loads_or_refuses_with_anything(arguments: dict[str, Any]) -> None:
    found = outcome(lambda: Embedder(FIXTURES / "bert-mean-st6", **{"provider": "cpu", "threads": 1, **arguments}))
    assert found is None or found.encode("a text").shape == (found.dimension,)


@given(VALUES, st.dictionaries(VALUES.filter(lambda value: getattr(value, "__hash__", None) is not None), VALUES))
@example(None, {"a": "\ud800"})
@example(None, {"\ud800": 1})
def test_provider_options_are_taken_or_refused(value: Any, options: dict[Any, Any]) -> None:
    outcome(lambda: check_provider(value))
    outcome(lambda: CUDA(device_id=value))
    provider = outcome(lambda: CUDA(options=options))
    if provider is not None:
        assert set(provider.options) == set(options)


@settings(deadline=None)
@given(
    name=st.text() | st.from_regex(r"~[a-z\0/]{0,8}|[./]{1,6}|[a-z]{1,3}/[a-z]{1,300}"), revision=st.none() | st.text()
)
@example(name="~nobody-of-that-name/model", revision=None)
@example(name="\ud800", revision=None)
@example(name="a" * 5000, revision=None)
def test_a_name_is_found_or_not_found(
    name: str, revision: str | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    empty = tmp_path_factory.getbasetemp() / "no cache"
    try:
        found = hub.resolve(name, revision=revision, cache_dir=empty, local_files_only=True)
    except ModelNotFoundError:
        return
    assert Path(found.folder).is_dir()


def test_a_number_that_python_does_not_write_is_refused_in_words(model: Embedder) -> None:
    huge = 10**5000
    calls: list[Callable[[], Any]] = [
        lambda: model.encode("a", truncate_dim=huge),
        lambda: model.encode("a", truncate_dim=-huge),
        lambda: model.encode("a", batch_size=huge),
        lambda: model.warm_up(max_length=huge),
        lambda: Embedder(FIXTURES / "bert-mean-st6", threads=huge),
        lambda: CUDA(device_id=huge),
        lambda: CUDA(options={"a": huge}),
        lambda: CUDA(minimum_share=huge),
    ]
    for call in calls:
        with pytest.raises(InvalidInputError, match="too large"):
            call()


KEYS = ("format", "version", "dimension", "minimum", "maximum", "normalized", "vectors", "model", "other")
GOOD = {"format": "oxembed-calibration", "version": 1, "dimension": 2, "minimum": [0, -1.5], "maximum": [1, 1]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([10**400, "x" * 100_000]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    content=st.binary()
    | st.dictionaries(st.sampled_from(KEYS), JSON).map(lambda change: json.dumps(GOOD | change).encode())
)
@example(content=json.dumps(GOOD | {"version": "x" * 100_000}).encode())
@example(content=json.dumps(GOOD | {"vectors": "x" * 100_000}).encode())
@example(content=b'{"format":' * 100_000)
@example(content=json.dumps(GOOD).encode("utf-16"))
def test_a_calibration_file_is_read_or_refused(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("calibrations") / calibrations.FILE_NAME
    file.write_bytes(content)
    found = outcome(lambda: Calibration.load(file))
    if found is None:
        return
    assert np.isfinite(found.ranges).all()
    assert (found.ranges[0] <= found.ranges[1]).all()
    found.save(file)
    assert Calibration.load(file) == found


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_bits_are_signs_one_by_one(row: list[float]) -> None:
    vectors = np.array([row, [-value for value in row]], dtype=np.float32)
    packed, signed = convert(vectors, "ubinary"), convert(vectors, "binary")
    assert packed.shape == signed.shape == (2, math.ceil(len(row) / 8))
    np.testing.assert_array_equal(signed.astype(int) + 128, packed)
    for bits, values in zip(packed.tolist(), vectors.tolist(), strict=True):
        expected = [int(value > 0) for value in values] + [0] * (-len(values) % 8)
        found = [byte >> (7 - place) & 1 for byte in bits for place in range(8)]
        assert found == expected


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=10))
def test_halves_are_the_nearest_or_an_error(row: list[float]) -> None:
    vectors = np.array([row], dtype=np.float32)
    with np.errstate(over="ignore"):
        nearest = vectors.astype(np.float16)
    if np.isfinite(nearest).all():
        np.testing.assert_array_equal(convert(vectors, "float16"), nearest)
    else:
        with pytest.raises(InvalidInputError, match="65,504"):
            convert(vectors, "float16")


def test_options_that_nobody_names_are_those_of_the_signature() -> None:
    parameters = inspect.signature(Embedder.encode).parameters.values()
    keywords = {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}
    del keywords["sentences"]  # another name of the texts
    assert keywords == UNNAMED


def test_every_option_is_tried() -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        check_options("encode", {"no such option": 1})
    for name in OPTIONS:
        outcome(partial(check_options, "encode", {name: None}))
    from oxembed import _options

    assert set(_options._CHECKS) == set(OPTIONS)
