"""`oxembed serve` as text-embeddings-inference: its routes, and huggingface_hub's client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from servers import Server, serving
from tokenizers import Tokenizer

from oxembed import Embedder


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("--provider", "cpu") as running:
        yield running


def test_embed(server: Server, embedder: Embedder) -> None:
    texts = ["a text", "another one"]
    rows = server.ask("/embed", {"inputs": texts}).json()
    np.testing.assert_allclose(rows, embedder.encode(texts), atol=1e-6)
    one = server.ask("/embed", {"inputs": "a text"}).json()
    assert one == [rows[0]]
    narrow = server.ask("/embed", {"inputs": "a text", "dimensions": 32}).json()
    np.testing.assert_allclose(
        narrow[0], embedder.encode("a text", truncate_dim=32, normalize_embeddings=True), atol=1e-6
    )


def test_truncation_is_asked_for(server: Server, embedder: Embedder) -> None:
    long = "word " * 600
    refused = server.ask("/embed", {"inputs": long})
    assert (refused.status, refused.json()["error_type"]) == (422, "validation")
    rows = server.ask("/embed", {"inputs": long, "truncate": True}).json()
    np.testing.assert_allclose(rows[0], embedder.encode(long), atol=1e-6)


def test_tokenize(server: Server, embedder: Embedder) -> None:
    text = "Où est l'été?"
    (tokens,) = server.ask("/tokenize", {"inputs": text}).json()
    tokenizer = Tokenizer.from_file(f"{embedder.model_info().path}/tokenizer.json")
    tokenizer.no_padding()
    truth = tokenizer.encode(text)
    assert [(token["id"], token["text"]) for token in tokens] == list(zip(truth.ids, truth.tokens, strict=True))
    assert [token["special"] for token in tokens] == [True, *[False] * (len(tokens) - 2), True]
    assert [(token["start"], token["stop"]) for token in tokens[1:-1]] == truth.offsets[1:-1]
    (bare,) = server.ask("/tokenize", {"inputs": text, "add_special_tokens": False}).json()
    assert bare == tokens[1:-1]


def test_info(server: Server) -> None:
    info = server.ask("/info").json()
    expected = {
        "model_id": "all-MiniLM-L6-v2", "model_dtype": "float32", "model_type": {"embedding": {"pooling": "mean"}},
        "max_input_length": 256, "max_client_batch_size": 2048, "auto_truncate": False,
    }  # fmt: skip
    assert {key: info[key] for key in expected} == expected


def test_health(server: Server) -> None:
    assert server.ask("/health").json() == {"healthy": True}
    assert server.ask("/live").json() == {"live": True}
    assert server.ask("/ready").json() == {"ready": True, "models": ["all-MiniLM-L6-v2"]}


def test_metrics(server: Server) -> None:
    server.ask("/embed", {"inputs": ["one", "two", "two"]})
    lines = server.ask("/metrics").body.decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    model = 'model="all-MiniLM-L6-v2"'
    assert float(values[f"oxembed_inputs_total{{{model}}}"]) >= 3
    assert float(values[f"oxembed_queued_inputs{{{model}}}"]) == 0
    assert float(values[f'oxembed_stage_seconds_total{{{model},stage="run"}}']) > 0
    assert lines[-1] == "# EOF"


BAD: dict[str, tuple[str, dict[str, Any], int]] = {
    "nothing": ("/embed", {}, 422),
    "unknown key": ("/embed", {"inputs": "a", "input": "b"}, 422),
    "more dimensions than there are": ("/embed", {"inputs": "a", "dimensions": 385}, 422),
    "unknown prompt": ("/embed", {"inputs": "a", "prompt_name": "none"}, 422),
    "ids to tokenize": ("/tokenize", {"inputs": [1, 2]}, 422),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said(server: Server, name: str) -> None:
    path, body, status = BAD[name]
    answer = server.ask(path, body)
    assert (answer.status, answer.json()["error_type"]) == (status, "validation")
    assert answer.json()["error"]


def test_routes_that_do_not_exist(server: Server) -> None:
    assert server.ask("/v2/embeddings", {}).status == 404
    assert server.ask("/embed").status == 405


def test_the_client_of_huggingface(server: Server, embedder: Embedder) -> None:
    hub = pytest.importorskip("huggingface_hub")
    client = hub.InferenceClient(server.url)
    rows = client.feature_extraction(["a text", "another"])
    np.testing.assert_allclose(rows, embedder.encode(["a text", "another"]), atol=1e-6)
