"""What `oxembed serve` is limited to: memory for models, requests and inputs of a client."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIXTURES
from servers import Server, serving

from oxembed import Embedder
from oxembed.hub import resolve

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")

SMALL = FIXTURES / "bert-mean-prompts"
NAMES = ("one", "two", "three")


def ask(server: Server, model: str | None = None, key: str | None = None, inputs: object = "a text") -> Any:
    body = {"input": inputs, "encoding_format": "base64", **({"model": model} if model else {})}
    return server.ask("/v1/embeddings", body, key=key)


def metric(server: Server, name: str) -> int:
    lines = server.ask("/metrics").body.decode().splitlines()
    return int(next(line.rsplit(" ", 1)[1] for line in lines if line.startswith(f"oxembed_{name} ")))


def until_refused(asking: Callable[[], Any]) -> Any:
    """The first answer that tells the client to come back. On a busy machine so much time may pass that none has to."""
    answers = (asking() for _ in range(200))
    refused = next((answer for answer in answers if answer.status != 200), None)
    assert refused is not None, "nobody is refused"
    assert refused.status == 429
    return refused


def test_models_go_and_come_back() -> None:
    expected = Embedder(provider="cpu").encode("a text")
    folder = Path(resolve("all-MiniLM-L6-v2").folder)
    models = [argument for name in NAMES for argument in ("--model", f"{name}={folder}")]
    key = {"OXEMBED_ADMIN_KEYS": "chief"}

    def listed(server: Server) -> dict[str, dict[str, Any]]:
        found = server.ask("/admin/models", key="chief").json()["models"]
        return {model["name"]: model for model in found}

    def right(server: Server, name: str | None) -> None:
        answer = ask(server, name)
        assert answer.status == 200, answer.body
        row = np.frombuffer(base64.b64decode(answer.json()["data"][0]["embedding"]), dtype="<f4")
        np.testing.assert_array_equal(row, expected)

    with serving("--provider", "cpu", *models, variables=key) as server:
        sizes = [model["memory_bytes"] for model in listed(server).values()]
        assert [model["loaded"] for model in listed(server).values()] == [True] * 3
    assert min(sizes) >= (folder / "model.safetensors").stat().st_size
    limit = int(2.5 * max(sizes))
    with serving("--provider", "cpu", *models, "--memory-limit-bytes", str(limit), variables=key) as server:
        for name in (*NAMES, *reversed(NAMES), None, "two", "three"):
            right(server, name)
            assert metric(server, "models_loaded") <= 2
            assert server.ask("/admin/models", key="chief").json()["memory_bytes"] <= limit
        status = server.ask("/status.json").json()
        assert [model["name"] for model in status["unloaded"]] == ["one"]
        assert [model["name"] for model in status["models"]] == ["two", "three"]
        # The first had to go for the others, and the two last asked for are there.
        assert {name: model["loaded"] for name, model in listed(server).items()} == {
            "one": False,
            "two": True,
            "three": True,
        }
        assert metric(server, "model_evictions_total") == metric(server, "model_loads_total") - 2
        assert [model["id"] for model in server.ask("/v1/models").json()["data"]] == list(NAMES)
        assert server.ask("/ready").json()["models"] == list(NAMES)
        # Anyone may ask for the document: no model is loaded for it.
        document = server.ask("/openapi.json").json()["components"]["schemas"]
        assert document["ModelName"]["enum"] == sorted(NAMES)
        assert ("maximum" in document["Dimensions"], listed(server)["one"]["loaded"]) == (False, False)
        # One load, however many wait; it is the default, asked for by its name and by none.
        loads = metric(server, "model_loads_total")
        with ThreadPoolExecutor(16) as clients:
            list(clients.map(lambda number: right(server, None if number % 2 else "one"), range(32)))
        assert metric(server, "model_loads_total") == loads + 1
        # A new version has to fit beside the one that is served.
        assert server.ask("/admin/models", {"name": "one"}, key="chief").status == 200
        assert listed(server)["one"]["loaded"]
        assert server.ask("/openapi.json").json()["components"]["schemas"]["Dimensions"]["maximum"] == len(expected)
        assert metric(server, "models_loaded") <= 2


def test_a_model_that_cannot_come_back_is_said(tmp_path: Path) -> None:
    for name in NAMES[:2]:
        (tmp_path / name).symlink_to(SMALL)
    models = [argument for name in NAMES[:2] for argument in ("--model", str(tmp_path / name))]
    weights = (SMALL / "model.safetensors").stat().st_size
    # Room for the weights of one, so that the other is loaded when it is asked for.
    with serving("--provider", "cpu", *models, "--memory-limit-bytes", str(weights + 1)) as server:
        assert metric(server, "models_loaded") == 1
        (tmp_path / "two").unlink()
        answer = ask(server, "two")
        assert answer.status == 503
        assert "does not load again" in answer.json()["error"]["message"]
        assert ask(server, "one").status == 200
        (tmp_path / "two").symlink_to(SMALL)
        assert ask(server, "two").status == 200


def test_requests_of_a_client_are_limited() -> None:
    variables = {"OXEMBED_API_KEYS": "first,second"}
    limit = ("--requests-per-second", "1")
    with serving("--provider", "cpu", "--model", f"m={SMALL}", *limit, variables=variables) as server:
        assert ask(server, key="first").status == 200
        refused = until_refused(lambda: ask(server, key="first"))
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert refused.headers["retry-after"] == "1"
        assert ask(server, key="second").status == 200
        assert ask(server, key="wrong").status == 401
        other = until_refused(lambda: server.ask("/embed", {"inputs": "a"}, key="first"))
        assert other.json()["error_type"] == "overloaded"
        for _ in range(10):
            assert server.ask("/health").status == 200
        time.sleep(int(refused.headers["retry-after"]))
        assert ask(server, key="first").status == 200


def test_inputs_of_an_address_are_limited() -> None:
    with serving("--provider", "cpu", "--model", f"m={SMALL}", "--inputs-per-second", "10") as server:
        # More than a second's worth is let in, and paid for afterwards.
        assert ask(server, inputs=["a"] * 70).status == 200
        with server.connect() as client:
            # The head alone is enough to be refused.
            client.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
            head = client.recv(4096).decode()
        assert head.startswith("HTTP/1.1 429")
        (after,) = [line for line in head.splitlines() if line.lower().startswith("retry-after:")]
        seconds = int(after.split(":")[1])
        assert 1 <= seconds <= 7
        time.sleep(seconds)
        assert ask(server).status == 200
