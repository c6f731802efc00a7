"""The `Embedder` as its users see it: results, options, awkward inputs, and what it tells about itself.

Truth comes from the golden vectors of sentence-transformers, from the `tokenizers` library, and from formulas written
out here in numpy.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections import UserDict, deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import FIXTURES, PATIENCE, TOLERANCE, Golden
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from tokenizers import Tokenizer

from oxembed import (
    BatchEmbeddingRequest,
    Embedder,
    InvalidInputError,
    InvalidModelError,
    ModelNotFoundError,
    ProviderUnavailableError,
    Usage,
)
from oxembed import similarity as similarities


def close(actual: NDArray[Any], expected: NDArray[Any], tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(actual, expected, atol=tolerance, rtol=0)


# --- results -----------------------------------------------------------------------------------------------------


def test_golden_vectors(small: Embedder, golden: Golden) -> None:
    close(small.encode(golden.texts), golden.vectors["embeddings"])


@pytest.mark.parametrize("name", ["query", "document"])
def test_prompts(small: Embedder, golden: Golden, name: str) -> None:
    texts, expected = golden.texts[:8], golden.vectors[f"prompt_{name}"]
    close(small.encode(texts, prompt_name=name), expected)
    close(small.encode(texts, prompt=small.prompts[name]), expected)
    close(getattr(small, f"encode_{name}")(texts), expected)
    close(small.encode_query(texts, prompt_name=name), expected)
    with pytest.raises(AssertionError):
        close(small.encode(texts), expected)


def test_one_text_is_the_row_of_a_list(small: Embedder, golden: Golden) -> None:
    for text, row in zip(golden.texts, golden.vectors["embeddings"], strict=True):
        vector = small.encode(text)
        assert vector.shape == (small.dimension,)
        close(vector, row)


@pytest.mark.parametrize("texts", ["one", ["one"], ["one", "two"], [], (), iter([])])
def test_layout(small: Embedder, texts: Any) -> None:
    expected = (small.dimension,) if isinstance(texts, str) else (len(list(texts)) if texts else 0, small.dimension)
    vectors = small.encode(texts)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    assert vectors.flags.writeable
    if not hasattr(texts, "__next__"):
        assert vectors.shape == expected
    vectors += 1


def test_a_result_is_the_callers_own(small: Embedder) -> None:
    first = small.encode(["one"])
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(small.encode(["one"]), kept)


@pytest.mark.parametrize("dimension", [1, 5, 16])
def test_truncate_dim(golden: Golden, small: Embedder, dimension: int) -> None:
    expected = golden.vectors["embeddings"][:, :dimension]
    close(small.encode(golden.texts, truncate_dim=dimension), expected)
    narrow = Embedder(golden.folder, truncate_dim=dimension)
    assert narrow.dimension == narrow.get_sentence_embedding_dimension() == dimension
    close(narrow.encode(golden.texts), expected)
    unit = narrow.encode(golden.texts, normalize_embeddings=True)
    close(unit, expected / np.linalg.norm(expected, axis=1, keepdims=True))


def test_precisions(small: Embedder, golden: Golden) -> None:
    texts = golden.texts
    full = small.encode(texts)
    np.testing.assert_array_equal(small.encode(texts, precision="float16"), full.astype(np.float16))
    width = -(-small.dimension // 8)
    bits = np.zeros((len(texts), width * 8), dtype=np.int64)
    bits[:, : small.dimension] = full > 0
    expected = (bits.reshape(len(texts), width, 8) * [128, 64, 32, 16, 8, 4, 2, 1]).sum(axis=2)
    unsigned = small.encode(texts, precision="ubinary")
    signed = small.encode(texts, precision="binary")
    assert (unsigned.dtype.name, signed.dtype.name) == ("uint8", "int8")
    np.testing.assert_array_equal(unsigned, expected)
    np.testing.assert_array_equal(signed, expected - 128)
    np.testing.assert_array_equal(small.encode(texts[0], precision="binary"), expected[0] - 128)
    assert small.encode([], precision="ubinary").shape == (0, width)


def test_iter_gives_the_same_rows(small: Embedder, golden: Golden) -> None:
    for size in (1, 7, 60, 1000):
        chunks = list(small.encode_iter(iter(golden.texts), chunk_size=size))
        assert [len(chunk) for chunk in chunks[:-1]] == [size] * (len(chunks) - 1)
        close(np.concatenate(chunks), golden.vectors["embeddings"])
    assert list(small.encode_iter([])) == []
    assert next(small.encode_iter(["a"], precision="binary")).dtype == np.int8


def test_iter_takes_one_chunk_at_a_time(small: Embedder) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"text {taken}"

    chunks = small.encode_iter(endless(), chunk_size=3)
    assert taken == 0
    for expected in (3, 6, 9):
        next(chunks)
        assert taken == expected
    chunks.close()
    assert taken == 9


def test_iter_checks_options_at_once(small: Embedder) -> None:
    refused: list[dict[str, Any]] = [{"chunk_size": 0}, {"precision": "int8"}, {"batch_size": -1}]
    mistyped: list[dict[str, Any]] = [{"chunk_size": 2.5}, {"nonsense": 1}, {"prompt": 3}]
    for arguments in refused:
        with pytest.raises(InvalidInputError):
            small.encode_iter(iter([]), **arguments)
    for arguments in mistyped:
        with pytest.raises(TypeError):
            small.encode_iter(iter([]), **arguments)
    with pytest.raises(TypeError, match="iterable of texts"):
        small.encode_iter("one text")


def test_iter_counts_indices_from_the_first_text(small: Embedder) -> None:
    for bad, error in ((7, TypeError), ("\ud800", InvalidInputError)):
        chunks = small.encode_iter(["a", "b", "c", "d", bad], chunk_size=2)  # type: ignore[list-item]
        assert next(chunks).shape == next(chunks).shape == (2, small.dimension)
        with pytest.raises(error, match=r"\b4\b"):
            next(chunks)


# --- awkward inputs ----------------------------------------------------------------------------------------------

THREE: list[tuple[str, Callable[[], Any]]] = [
    ("tuple", lambda: ("a", "b", "c")),
    ("generator", lambda: (text for text in "abc")),
    ("numpy str array", lambda: np.array(["a", "b", "c"])),
    ("numpy object array", lambda: np.array(["a", "b", "c"], dtype=object)),
    ("numpy non-contiguous", lambda: np.array(["a", "x", "b", "x", "c", "x"])[::2]),
    ("list of numpy str", lambda: list(np.array(["a", "b", "c"]))),
    ("pandas Series", lambda: pd.Series(["a", "b", "c"], index=[9, 4, 7])),
    ("pandas object Series", lambda: pd.Series(["a", "b", "c"], dtype=object)),
    ("pandas Index", lambda: pd.Index(["a", "b", "c"])),
    ("dict keys", lambda: {"a": 1, "b": 2, "c": 3}.keys()),
    ("dict values", lambda: {1: "a", 2: "b", 3: "c"}.values()),
    ("deque", lambda: deque(["a", "b", "c"])),
    ("map", lambda: map(str.lower, "ABC")),
    ("str subclass", lambda: [type("Text", (str,), {})(text) for text in "abc"]),
]


@pytest.mark.parametrize("make", [make for _, make in THREE], ids=[name for name, _ in THREE])
def test_any_ordered_iterable(small: Embedder, make: Callable[[], Any]) -> None:
    expected = small.encode(["a", "b", "c"])
    np.testing.assert_array_equal(small.encode(make()), expected)
    np.testing.assert_array_equal(small.encode(sentences=make()), expected)
    np.testing.assert_array_equal(np.concatenate(list(small.encode_iter(make(), chunk_size=2))), expected)
    assert small.count_tokens(make()) == small.count_tokens(["a", "b", "c"])


@pytest.mark.parametrize(
    "texts",
    [
        None,
        3,
        1.5,
        b"bytes",
        bytearray(b"x"),
        memoryview(b"x"),
        {"a": "b"},
        UserDict(a="b"),
        {"a", "b"},
        frozenset("ab"),
        object(),
        np.array("scalar"),
        np.array([["a", "b"]]),
        pd.DataFrame({"text": ["a"]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_texts(small: Embedder, texts: Any) -> None:
    for call in (small.encode, small.encode_query, small.tokenize, small.count_tokens, small.encode_iter):
        with pytest.raises(TypeError, match="texts must"):
            call(texts)


@pytest.mark.parametrize("bad", [None, 3, b"bytes", float("nan"), ["nested"], np.float32(1), pd.NA])
@pytest.mark.parametrize("place", [0, 2, 40])
def test_a_non_string_is_named_by_its_index(small: Embedder, bad: Any, place: int) -> None:
    texts: list[Any] = ["a"] * 50
    texts[place] = bad
    for call in (small.encode, small.tokenize, small.count_tokens):
        with pytest.raises(TypeError, match=rf"\b{place}\b") as caught:
            call(texts)
        assert type(bad).__name__ in str(caught.value) or str(bad) in str(caught.value)


def test_missing_values_of_pandas_are_named(small: Embedder) -> None:
    with pytest.raises(TypeError, match=r"\b1\b"):
        small.encode(pd.Series(["a", None, "c"]))


@pytest.mark.parametrize("bad", ["\ud800", "a\udfffb", "fine until here \udc80"])
def test_a_lone_surrogate_is_named_by_its_index(small: Embedder, bad: str) -> None:
    for call in (small.encode, small.tokenize, small.count_tokens, small.encode_document):
        with pytest.raises(InvalidInputError, match=r"\b3\b.*surrogate"):
            call(["a", "b", "é", bad, "c"])
        with pytest.raises(InvalidInputError, match="surrogate"):
            call(bad)
    request = BatchEmbeddingRequest(small.model_info().name, ["a", bad])
    with pytest.raises(InvalidInputError, match=r"\b1\b"):
        small.embed_batch(request)


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\0", "a\0b", "\u200b", "\ufeff", "\U0010ffff", "é", "e\u0301"])
def test_a_strange_text_is_a_text_like_another(small: Embedder, text: str) -> None:
    vector = small.encode(text)
    assert np.isfinite(vector).all()
    close(small.encode(["before", text, "after"])[1], vector)


def test_a_megabyte_in_one_string(small: Embedder) -> None:
    long = "words and words " * 65_536
    vector = small.encode(long)
    close(vector, small.encode(long[:20_000]))
    assert small.count_tokens(long) > 100_000
    assert np.isfinite(small.encode("x" * 1_000_000)).all()


def test_texts_may_raise(small: Embedder) -> None:
    def texts() -> Iterator[str]:
        yield "one"
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        small.encode(texts())


# --- options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 1},
        {"batch_size": np.int64(7)},
        {"convert_to_numpy": True},
        {"convert_to_tensor": False},
        {"device": None},
        {"device": "cpu"},
        {"output_value": "sentence_embedding"},
        {"show_progress_bar": False},
        {"normalize_embeddings": False},
        {"prompt": None},
        {"normalize_embeddings": np.bool_(False)},
    ],
)
def test_spellings_of_sentence_transformers(small: Embedder, arguments: dict[str, Any]) -> None:
    np.testing.assert_array_equal(small.encode(["a", "b"], **arguments), small.encode(["a", "b"]))
    np.testing.assert_array_equal(small.encode_query("a", **arguments), small.encode_query("a"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"batch_size": 0}, "at least 1"),
        ({"convert_to_numpy": False}, "numpy array"),
        ({"convert_to_tensor": True}, "torch.from_numpy"),
        ({"device": "cuda"}, "provider="),
        ({"device": "cuda:0"}, "provider="),
        ({"output_value": "token_embeddings"}, "sentence_embedding"),
        ({"output_value": None}, "sentence_embedding"),
        ({"precision": "int8"}, "calibrated"),
        ({"precision": "uint8"}, "calibrated"),
        ({"precision": "float64"}, "float32, float16, int8, uint8, binary, ubinary"),
        ({"truncate_dim": 0}, "at least 1"),
        ({"truncate_dim": -3}, "at least 1"),
        ({"truncation": "left"}, "'truncate' or 'error'"),
        ({"prompt_name": "no such prompt"}, "query"),
    ],
)
def test_what_cannot_be_honoured(small: Embedder, arguments: dict[str, Any], says: str) -> None:
    for call in (small.encode, small.encode_query, small.encode_document):
        with pytest.raises(InvalidInputError, match=says):
            call(["a"], **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 1.5},
        {"batch_size": True},
        {"truncate_dim": "8"},
        {"prompt": b"x"},
        {"prompt_name": 1},
        {"normalize_embeddings": "yes"},
        {"show_progress_bar": 1},
        {"nonsense": 1},
        {"sentences": "b"},
    ],
)
def test_wrong_types_of_options(small: Embedder, arguments: dict[str, Any]) -> None:
    for call in (small.encode, small.encode_query):
        with pytest.raises(TypeError, match=next(iter(arguments))):
            call("a", **arguments)
    with pytest.raises(TypeError, match="texts"):
        small.encode()  # type: ignore[call-overload]


def test_float16_overflow_is_an_error() -> None:
    from oxembed._precision import convert

    with pytest.raises(InvalidInputError, match="65,504"):
        convert(np.array([[1e5]], dtype=np.float32), "float16")


def test_truncation(small: Embedder, caplog: pytest.LogCaptureFixture) -> None:
    long = "word " * 2 * small.max_seq_length
    with caplog.at_level(logging.WARNING, logger="oxembed"):
        small.encode(["short", long, "short", long])
        assert [record.name for record in caplog.records] == ["oxembed"]
        assert f"2 of 4 texts were longer than {small.max_seq_length} tokens" in caplog.text
        caplog.clear()
        list(small.encode_iter([long, "short"] * 4, chunk_size=2))
        assert len(caplog.records) == 1
        assert "4 of 8" in caplog.text
        caplog.clear()
        small.encode(["short"] * 3)
        assert not caplog.records
    with pytest.raises(InvalidInputError, match=r"\b1\b") as caught:
        small.encode(["short", long, "short", long], truncation="error")
    assert str(small.count_tokens(long)) in str(caught.value)
    assert small.encode(["short"], truncation="error").shape == (1, small.dimension)


def test_progress_bar(small: Embedder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    small.encode(["a"] * 10)
    small.encode(["a"] * 5_000)
    assert capsys.readouterr().err == "", "no terminal, no bar"
    small.encode([f"text {number}" for number in range(50)], show_progress_bar=True)
    captured = capsys.readouterr()
    assert "50/50" in captured.err
    assert captured.out == ""
    list(small.encode_iter((f"text {number}" for number in range(50)), chunk_size=20, show_progress_bar=True))
    assert "50 texts" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm.std", None)
    with pytest.raises(ImportError, match="pip install tqdm"):
        small.encode(["a"], show_progress_bar=True)


# --- tokens ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fixture", ["bert-mean-prompts", "xlmr-mean-prompts", "roberta-mean"])
def test_tokens_agree_with_the_tokenizers_library(fixture: str) -> None:
    folder = FIXTURES / fixture
    texts = json.loads((folder / "golden_texts.json").read_text(encoding="utf-8"))
    model = Embedder(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    assert model.count_tokens(texts) == [len(one.ids) for one in tokenizer.encode_batch(texts)]
    assert [model.count_tokens(text) for text in texts[:5]] == model.count_tokens(texts[:5])
    tokenizer.enable_truncation(model.max_seq_length)
    expected = [one.ids for one in tokenizer.encode_batch(texts)]
    features = model.tokenize(texts)
    assert set(features) == {"input_ids", "attention_mask"}
    assert {array.dtype for array in features.values()} == {np.dtype(np.int64)}
    assert {array.shape for array in features.values()} == {(len(texts), max(map(len, expected)))}
    for row, mask, ids in zip(features["input_ids"], features["attention_mask"], expected, strict=True):
        assert row[: len(ids)].tolist() == ids
        assert mask.tolist() == [1] * len(ids) + [0] * (len(mask) - len(ids))
        assert len(set(row[len(ids) :].tolist())) <= 1


def test_tokens_of_one_and_of_none(small: Embedder) -> None:
    assert small.tokenize("one")["input_ids"].tolist() == small.tokenize(["one"])["input_ids"].tolist()
    assert small.tokenize([])["input_ids"].shape == (0, 0)
    assert small.count_tokens([]) == []


# --- similarity --------------------------------------------------------------------------------------------------


def by_formula(function: str, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if function == "cosine":
        return float((a / max(float(np.sqrt(a @ a)), 1e-12)) @ (b / max(float(np.sqrt(b @ b)), 1e-12)))
    if function == "dot":
        return float(a @ b)
    power = 2.0 if function == "euclidean" else 1.0
    return -float((np.abs(a - b) ** power).sum() ** (1 / power))


def matrices(rows: int) -> st.SearchStrategy[NDArray[np.float32]]:
    numbers = st.floats(-8, 8, width=32).map(lambda value: value if abs(value) > 1e-3 else 0.0)
    return arrays(np.float32, (rows, 5), elements=numbers)


@settings(deadline=None)
@given(a=matrices(4), b=matrices(3), function=st.sampled_from(similarities.FUNCTIONS))
def test_similarity_is_the_formula(a: NDArray[np.float32], b: NDArray[np.float32], function: str) -> None:
    result = similarities.similarity(a, b, function)
    assert (result.shape, result.dtype.name) == ((4, 3), "float32")
    expected = [[by_formula(function, x, y) for y in b.astype(np.float64)] for x in a.astype(np.float64)]
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-4)
    pairs = similarities.pairwise(a[:3], b, function)
    assert (pairs.shape, pairs.dtype.name) == ((3,), "float32")
    np.testing.assert_allclose(pairs, np.diagonal(expected), rtol=1e-5, atol=1e-4)


def test_similarity_of_a_model(small: Embedder, golden: Golden) -> None:
    vectors = small.encode(golden.texts)
    scores = small.similarity(vectors, vectors)
    close(scores, golden.vectors["embeddings"] @ golden.vectors["embeddings"].T, 1e-4)
    close(np.diagonal(scores), small.similarity_pairwise(vectors, vectors))
    assert small.similarity(vectors[0], vectors).shape == (1, len(vectors))
    assert small.similarity(vectors[0].tolist(), vectors[1].astype(np.float64)).shape == (1, 1)
    assert not small.similarity(np.zeros(small.dimension), vectors).any(), "a zero vector is like nothing"


def test_similarity_of_what_cannot_be_compared(small: Embedder) -> None:
    row = np.ones(3, dtype=np.float32)
    for bad in (np.ones(4), np.ones((1, 1, 3)), [[1, 2, 3], [1, 2]], np.ones(3, np.int8), np.ones(3, np.uint8)):
        with pytest.raises(InvalidInputError):
            small.similarity(row, bad)
    for text in ("text", ["a", "b", "c"]):
        with pytest.raises(TypeError, match="encode texts first"):
            small.similarity(row, text)
    with pytest.raises(InvalidInputError, match="the same"):
        small.similarity_pairwise(np.ones((2, 3)), np.ones((3, 3)))
    with pytest.raises(InvalidInputError, match="cosine, dot, euclidean, manhattan"):
        similarities.similarity(row, row, "chebyshev")


# --- the model itself --------------------------------------------------------------------------------------------


def test_model_info(small: Embedder, golden: Golden) -> None:
    info = small.model_info()
    config = json.loads((golden.folder / "config.json").read_text())
    settings_of_it = json.loads((golden.folder / "config_sentence_transformers.json").read_text())
    assert (info.name, info.path, info.family) == ("bert-mean-prompts", str(golden.folder), "bert")
    assert info.dimension == small.dimension == small.get_sentence_embedding_dimension() == config["hidden_size"]
    assert info.max_seq_length == small.max_seq_length == small.get_max_seq_length()
    assert info.prompts == small.prompts == settings_of_it["prompts"]
    assert info.default_prompt_name is small.default_prompt_name is None
    assert info.vocabulary_size == config["vocab_size"]
    assert info.similarity_fn_name == small.similarity_fn_name == "cosine"
    assert (info.pooling, info.dtype, info.padding_side) == (("mean",), "float32", "right")
    assert json.loads(json.dumps(info.as_dict())) == info.as_dict()
    with pytest.raises(AttributeError):
        info.name = "other"  # type: ignore[misc]


def test_embedded_model_info(embedder: Embedder) -> None:
    info = embedder.model_info()
    assert (info.name, info.dimension, info.max_seq_length) == ("all-MiniLM-L6-v2", 384, 256)
    assert repr(embedder) == "Embedder('all-MiniLM-L6-v2', provider='auto', dimension=384)"


def test_health_and_placement(small: Embedder) -> None:
    health = small.health_check()
    assert health.healthy
    assert health.message
    assert 0 < health.latency_ms < 10_000
    small.encode(["a", "b"])
    places = small.placement()
    assert places
    for place in places:
        assert set(place.providers) == {"CPUExecutionProvider"}
        assert sum(place.providers.values()) == place.nodes > 0
        assert place.threads >= 1
        assert place.session


def test_cannot_be_changed(small: Embedder) -> None:
    for name in ("max_seq_length", "dimension", "_engine", "anything"):
        with pytest.raises(AttributeError, match=name):
            setattr(small, name, 1)
        with pytest.raises(AttributeError, match=name):
            delattr(small, name)
    small.prompts["query"] = "changed"
    assert small.prompts["query"] == "query: "


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"threads": 0}, InvalidInputError),
        ({"threads": 1.0}, TypeError),
        ({"max_seq_length": -1}, InvalidInputError),
        ({"truncate_dim": 0}, InvalidInputError),
        ({"provider": []}, InvalidInputError),
        ({"provider": 3}, TypeError),
        ({"provider": ["cpu", None]}, TypeError),
        ({"provider": "cuda"}, ProviderUnavailableError),
        ({"provider": "no such provider"}, ProviderUnavailableError),
        ({"dtype": "float8"}, InvalidInputError),
        ({"dtype": None}, TypeError),
        ({"device": "cuda"}, InvalidInputError),
        ({"onnx_file": 3}, TypeError),
        ({"onnx_file": "onnx/no-such.onnx"}, (InvalidModelError, ModelNotFoundError)),
        ({"revision": 3}, TypeError),
        ({"nonsense": 1}, TypeError),
    ],
)
def test_bad_constructor_arguments(golden: Golden, arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Embedder(golden.folder, **arguments)


@pytest.mark.parametrize("provider", ["auto", "cpu", ["cpu"], ("auto",), ["auto", "cpu"]])
def test_providers_of_this_version(golden: Golden, provider: Any) -> None:
    close(Embedder(golden.folder, provider=provider).encode(golden.texts), golden.vectors["embeddings"])


def test_one_embedder_for_many_threads(small: Embedder, golden: Golden) -> None:
    failures: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for step in range(5):
                place = (start + step) % len(golden.texts)
                close(small.encode(golden.texts[place]), golden.vectors["embeddings"][place])
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert not failures


# --- the strict service contract ---------------------------------------------------------------------------------


def test_embed_batch(small: Embedder, golden: Golden) -> None:
    texts = [text for text in golden.texts if text.strip()]
    expected = np.stack(
        [row for text, row in zip(golden.texts, golden.vectors["embeddings"], strict=True) if text.strip()]
    )
    name = small.model_info().name
    response = small.embed_batch(BatchEmbeddingRequest(name, texts))
    assert response.model == name
    close(response.embeddings, expected / np.linalg.norm(expected, axis=1, keepdims=True))
    counts = np.array(small.count_tokens(texts))
    assert isinstance(response.usage, Usage)
    assert response.usage.total_tokens == np.minimum(counts, small.max_seq_length).sum()
    assert response.usage.truncated_inputs == (counts > small.max_seq_length).sum()
    assert 0 < response.usage.duration_ms < 60_000
    assert small.embed_batch(BatchEmbeddingRequest(str(golden.folder), ["a"])).model == name


@pytest.mark.parametrize(
    ("inputs", "says"),
    [([], "empty|at least|no "), (["a", ""], r"\b1\b"), (["a", "b", " \n"], r"\b2\b"), (["a"] * 2_049, "2,?048")],
)
def test_embed_batch_refuses(small: Embedder, inputs: list[str], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        small.embed_batch(BatchEmbeddingRequest(small.model_info().name, inputs))


def test_embed_batch_limits_and_names(small: Embedder) -> None:
    name = small.model_info().name
    with pytest.raises(InvalidInputError, match="3"):
        small.embed_batch(BatchEmbeddingRequest(name, ["a"] * 4), max_inputs=3)
    assert small.embed_batch(BatchEmbeddingRequest(name, ["a"] * 3), max_inputs=3).embeddings.shape[0] == 3
    with pytest.raises(InvalidInputError, match="another-model"):
        small.embed_batch(BatchEmbeddingRequest("another-model", ["a"]))
    with pytest.raises(TypeError, match=r"\b1\b"):
        small.embed_batch(BatchEmbeddingRequest(name, ["a", 3]))  # type: ignore[list-item]
    with pytest.raises(TypeError, match="BatchEmbeddingRequest"):
        small.embed_batch(["a"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="lone str"):
        BatchEmbeddingRequest(name, "a")
