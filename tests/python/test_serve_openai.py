"""`oxembed serve` as OpenAI's API: its own client, LangChain's and LlamaIndex's, and what they must never see."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from servers import Server, ids_of, serving, texts_of

from oxembed import Embedder


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("--provider", "cpu") as running:
        yield running


@pytest.fixture(scope="module")
def vectors(embedder: Embedder) -> np.ndarray[Any, np.dtype[np.float32]]:
    return embedder.encode(list(texts_of(40)))


def test_a_string_and_a_list(server: Server, embedder: Embedder) -> None:
    one = server.ask("/v1/embeddings", {"input": "a text", "model": "all-MiniLM-L6-v2"}).json()
    assert (one["object"], one["model"], one["data"][0]["index"]) == ("list", "all-MiniLM-L6-v2", 0)
    assert one["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    many = server.ask("/v1/embeddings", {"input": ["a text", "another", "a text"]}).json()
    rows = np.array([row["embedding"] for row in many["data"]], dtype=np.float32)
    np.testing.assert_allclose(rows, embedder.encode(["a text", "another", "a text"]), atol=1e-6)
    np.testing.assert_array_equal(rows[0], rows[2])


def test_base64_holds_the_same_bits(server: Server) -> None:
    body = {"input": ["a text", "another"]}
    floats = server.ask("/v1/embeddings", {**body, "encoding_format": "float"}).json()["data"]
    coded = server.ask("/v1/embeddings", {**body, "encoding_format": "base64"}).json()["data"]
    for number, code in zip(floats, coded, strict=True):
        bits = np.frombuffer(base64.b64decode(code["embedding"]), dtype="<f4")
        np.testing.assert_array_equal(bits, np.array(number["embedding"], dtype=np.float32))


def test_token_ids(server: Server, embedder: Embedder) -> None:
    texts = ["a text", "another one of them"]
    ids = ids_of(embedder, texts)
    many = server.ask("/v1/embeddings", {"input": ids}).json()["data"]
    np.testing.assert_allclose([row["embedding"] for row in many], embedder.encode(texts), atol=1e-6)
    one = server.ask("/v1/embeddings", {"input": ids[0]}).json()["data"]
    assert one[0]["embedding"] == many[0]["embedding"]
    for foreign, says in (
        ([101, 100_000, 102], "has 30522"),
        ([64, 1495], "begin with [101]"),
        ([101, 64], "with [102]"),
    ):
        wrong = server.ask("/v1/embeddings", {"input": [ids[0], foreign]})
        assert wrong.status == 400
        assert says in wrong.json()["error"]["message"]


def test_dimensions(server: Server, embedder: Embedder) -> None:
    row = server.ask("/v1/embeddings", {"input": "a text", "dimensions": 64}).json()["data"][0]["embedding"]
    expected = embedder.encode("a text", truncate_dim=64, normalize_embeddings=True)
    np.testing.assert_allclose(row, expected, atol=1e-6)
    assert server.ask("/v1/embeddings", {"input": "a", "dimensions": 385}).json()["error"]["param"] == "dimensions"


def test_models(server: Server) -> None:
    found = server.ask("/v1/models").json()
    assert [model["id"] for model in found["data"]] == ["all-MiniLM-L6-v2"]
    assert server.ask("/v1/models/all-MiniLM-L6-v2").json()["object"] == "model"
    assert server.ask("/v1/models/other").status == 404


BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "no input": ({}, 400, "input is missing"),
    "empty list": ({"input": []}, 400, "at least one"),
    "a number in a list": ({"input": ["a", 1]}, 400, "input[1] has to be a string"),
    "null": ({"input": None}, 400, "input is missing"),
    "an object": ({"input": {"a": 1}}, 400, "input has to be a string"),
    "unknown model": ({"input": "a", "model": "other"}, 404, "there is no model"),
    "unknown key": ({"input": "a", "inputs": "b"}, 400, "is not understood here"),
    "unknown encoding": ({"input": "a", "encoding_format": "hex"}, 400, "float or base64"),
    "no dimensions": ({"input": "a", "dimensions": 0}, 400, "from 1 on"),
    "too long": ({"input": "word " * 600}, 400, "the limit is 256"),
    "too many": ({"input": ["a"] * 2049}, 400, "2049 inputs are more than the 2048"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said(server: Server, name: str) -> None:
    body, status, says = BAD[name]
    answer = server.ask("/v1/embeddings", body)
    error = answer.json()["error"]
    assert (answer.status, error["type"]) == (status, "invalid_request_error")
    assert says in error["message"]


@pytest.mark.parametrize(
    ("raw", "status"),
    [(b"", 400), (b"{", 400), (b"[]", 400), (b'{"input": "\xff"}', 400), (b'{"input": "\\ud800"}', 400),
     (b"[" * 10_000, 400), (b"x" * (16 << 20) + b"x", 413)],
    ids=["empty", "broken off", "a list", "no UTF-8", "a lone surrogate", "deep", "huge"],
)  # fmt: skip
def test_bodies_that_are_no_request(server: Server, raw: bytes, status: int) -> None:
    answer = server.ask("/v1/embeddings", raw=raw)
    assert answer.status == status
    assert answer.json()["error"]["message"]


def test_the_openai_client(server: Server, vectors: Any) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none")
    found = client.embeddings.create(model="all-MiniLM-L6-v2", input=list(texts_of(40)))
    np.testing.assert_allclose([row.embedding for row in found.data], vectors, atol=1e-6)
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="other", input="a")
    with pytest.raises(openai.BadRequestError, match="the limit is 256"):
        client.embeddings.create(model="all-MiniLM-L6-v2", input="word " * 600)
    assert [model.id for model in client.models.list()] == ["all-MiniLM-L6-v2"]
