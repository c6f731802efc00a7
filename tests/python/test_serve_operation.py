"""Running `oxembed serve`: keys, limits, many clients, clients that leave or stall, and an end that loses nothing."""

from __future__ import annotations

import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from servers import SLOW, refused, serving, texts_of, wait_for

from oxembed import Embedder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")


def assert_put_out(client: socket.socket) -> None:
    try:
        rest = client.recv(1000)
    except ConnectionResetError:
        # What the client had sent was not read any more.
        return
    assert rest == b"" or rest.startswith(b"HTTP/1.1 4"), rest


def test_keys() -> None:
    with serving("--provider", "cpu", variables={"OXEMBED_API_KEYS": "first,second"}) as server:
        body = {"input": "a"}
        assert server.ask("/v1/embeddings", body).status == 401
        assert server.ask("/v1/embeddings", body, key="wrong").status == 401
        assert server.ask("/v1/models", key="wrong").json()["error"]["code"] == "invalid_api_key"
        assert server.ask("/v1/embeddings", body, key="second").status == 200
        assert server.ask("/health").status == 200


def test_many_clients_at_once_each_get_their_own() -> None:
    with serving("--provider", "cpu") as server:
        texts = list(texts_of(300))
        expected = Embedder(provider="cpu").encode(texts)

        def ask(index: int) -> list[float]:
            rows: list[float] = server.ask("/v1/embeddings", {"input": texts[index]}).json()["data"][0]["embedding"]
            return rows

        with ThreadPoolExecutor(64) as clients:
            found = np.array(list(clients.map(ask, range(300))))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_large_request_does_not_starve_a_small_one() -> None:
    with serving(*SLOW, "--max-queued-inputs", "100000") as server, server.occupied() as large:
        assert server.ask("/v1/embeddings", {"input": "a small one"}).status == 200
        large.setblocking(False)
        with pytest.raises(BlockingIOError):
            large.recv(1)


def test_a_full_queue_says_when_to_come_back() -> None:
    with serving(*SLOW, "--max-queued-inputs", "100") as server:
        with server.occupied():
            answer = server.ask("/v1/embeddings", {"input": "a"})
            assert (answer.status, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert server.ask("/v1/embeddings", {"input": "a"}).status == 200


def test_clients_that_leave_are_given_up() -> None:
    with serving(*SLOW) as server:
        for _ in range(5):
            with server.gives_up(), server.occupied():
                pass
        assert server.ask("/v1/embeddings", {"input": "a"}).status == 200


def test_clients_that_stall_are_put_out() -> None:
    with serving("--provider", "cpu", "--header-timeout", "0.5") as server:
        for start in (b"", b"P", b"PRI * HT", b"POST /v1/embeddings HTTP/1.1\r\nHost:"):
            with server.connect() as client:
                client.sendall(start)
                assert_put_out(client)
        assert server.ask("/health").status == 200


@pytest.mark.parametrize(
    "garbage", [b"\0" * 100, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"POST / HTTP/9.9\r\n\r\n"]
)
def test_garbage_is_no_matter(garbage: bytes) -> None:
    with serving("--provider", "cpu", "--header-timeout", "1") as server:
        with server.connect() as client:
            client.sendall(garbage)
            assert_put_out(client)
        assert server.ask("/v1/embeddings", {"input": "a"}).status == 200


def test_what_was_asked_is_answered_before_the_end() -> None:
    with serving("--provider", "cpu", "--drain", "300") as server, ThreadPoolExecutor(1) as clients:
        answer = clients.submit(server.ask, "/v1/embeddings", {"input": list(texts_of(1500))})
        wait_for(lambda: server.metric("queued_inputs") == 1500)
        assert server.stop() == 0
        assert len(answer.result().json()["data"]) == 1500


def test_refused_at_the_start(tmp_path: object) -> None:
    for arguments, status, says in [
        (["--host", "0.0.0.0"], 1, "can be reached by others"),
        (["--model", f"x={tmp_path}"], 1, "does not load"),
        (["--port", "99999"], 2, "99999"),
        (["--timeout", "0"], 1, "--timeout"),
        (["--no-such-option"], 2, "--no-such-option"),
        (["--model", "no-such-model", "--check"], 1, "no-such-model"),
    ]:
        found, message = (
            refused(*arguments, "--provider", "cpu") if "--provider" not in arguments else refused(*arguments)
        )
        assert found == status, message
        assert says in message
