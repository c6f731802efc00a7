"""Clients of `oxembed serve` that are slow, silent, or too fast: a limit puts them out, and others are answered."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import http2_frames as http2
import pytest
from conftest import PATIENCE
from servers import Server, serving, texts_of, wait_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its sockets break in other ways")


def connect(server: Server, *, receive_buffer: int | None = None) -> socket.socket:
    host, _, port = server.place.rpartition(":")
    client = socket.socket()
    if receive_buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(PATIENCE)
    client.connect((host, int(port)))
    return client


def post(body: object, **headers: str) -> bytes:
    data = json.dumps(body).encode()
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n{fields}\r\n".encode() + data


def rest(client: socket.socket) -> bytes:
    """What comes until the other side closes; how it closes is of no matter."""
    found = bytearray()
    with contextlib.suppress(ConnectionError):
        while part := client.recv(1 << 16):
            found += part
    return bytes(found)


def closed(server: Server, reason: str) -> float:
    """Connections that were closed for a reason."""
    name = f'oxembed_closed_connections_total{{reason="{reason}"}} '
    lines = server.ask("/metrics").body.decode().splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


@contextmanager
def others_are_answered(server: Server) -> Iterator[None]:
    """Somebody asks again and again meanwhile, and is always answered."""
    over = threading.Event()
    statuses: list[int] = []

    def ask() -> None:
        # Before it is over, and after it.
        while not over.is_set() or len(statuses) < 2:
            statuses.append(server.ask("/v1/embeddings", {"input": "somebody else"}).status)
            over.wait(0.05)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()
    assert len(statuses) > 1
    assert set(statuses) == {200}


def test_a_head_that_drips() -> None:
    """The time for a head is that from its first byte to its last, however busy the client is."""
    with (
        serving("--provider", "cpu", "--header-timeout", "3", "--idle-timeout", "300") as server,
        others_are_answered(server),
    ):
        with connect(server) as client:
            client.sendall(b"POST /v1/embeddings HTTP/1.1\r\n")
            start = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while time.monotonic() - start < PATIENCE:
                    client.sendall(b"X-Slow: yes\r\n")
                    time.sleep(0.1)
        assert time.monotonic() - start < PATIENCE
        assert closed(server, "slow head") == 1


def test_a_body_that_drips() -> None:
    with (
        serving("--provider", "cpu", "--timeout", "4") as server,
        others_are_answered(server),
        connect(server) as client,
    ):
        client.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        start = time.monotonic()
        # A byte every tenth of a second, until there is something to read.
        while not select.select([client], [], [], 0.1)[0] and time.monotonic() - start < PATIENCE:
            client.sendall(b" ")
        answer = rest(client)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not arrive within 4 s" in answer


def test_who_does_not_read_is_put_out() -> None:
    with (
        serving("--provider", "cpu", "--write-timeout", "1", "--max-inputs", "3000") as server,
        others_are_answered(server),
        connect(server, receive_buffer=4096) as client,
    ):
        # Twelve megabytes of answer, which no buffer of a system holds.
        client.sendall(post({"input": ["the same text"] * 3000}))
        wait_for(lambda: closed(server, "not reading") > 0, "the connection is held for a client that does not read")
        assert len(rest(client)) < 8_000_000


def test_who_reads_slowly_gets_all() -> None:
    with serving("--provider", "cpu", "--write-timeout", "3", "--idle-timeout", "3", "--max-inputs", "3000") as server:
        with connect(server, receive_buffer=65536) as client:
            client.sendall(post({"input": ["the same text"] * 1500}, Connection="close"))
            found = bytearray()
            start = time.monotonic()
            while part := client.recv(1 << 17):
                found += part
                # Longer in all than each of the limits.
                time.sleep(0.1)
        assert time.monotonic() - start > 4
        assert len(json.loads(found.partition(b"\r\n\r\n")[2])["data"]) == 1500
        assert closed(server, "not reading") == 0


def test_an_idle_connection_is_kept_for_a_while() -> None:
    with (
        serving("--provider", "cpu", "--header-timeout", "1", "--idle-timeout", "5") as server,
        connect(server) as client,
    ):
        for _ in range(2):
            client.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            # Longer than a head may take: there is none yet.
            time.sleep(1.5)
        assert rest(client) == b""
        assert closed(server, "idle") == 1


def test_many_idle_connections() -> None:
    with serving("--provider", "cpu", "--idle-timeout", "600") as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(300)]
        for client in clients:
            client.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        for client in clients:
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        with others_are_answered(server):
            time.sleep(1)
        # With the one that asks; the server learns that the others' hung up after they did.
        wait_for(lambda: server.metric("connections") == 301)


def test_silent_connections_make_room() -> None:
    """As many as there may be, and more in the queue of the system, say nothing: in the end it is everybody's turn."""
    limits = ("--max-connections", "10", "--header-timeout", "0.5")
    with serving("--provider", "cpu", *limits) as server, contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(connect(server))
        assert server.ask("/v1/embeddings", {"input": "a"}).status == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"X-Large: " + b"x" * 40_000 + b"\r\n", b"431"),
        (b"".join(b"X-%d: x\r\n" % number for number in range(200)), b"431"),
        (b"X-Bad\x01: x\r\n", b"400"),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"400"),
        (b"Transfer-Encoding: gzip\r\n", b"400"),
    ],
    ids=["a large field", "many fields", "no name", "two lengths", "unknown encoding"],
)
def test_heads_that_are_none(head: bytes, status: bytes) -> None:
    with serving("--provider", "cpu") as server, others_are_answered(server), connect(server) as client:
        client.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
        answer = rest(client)
    assert answer.split(b" ", 2)[:2] == [b"HTTP/1.1", status], answer[:200]


def test_what_is_no_http_is_counted() -> None:
    with serving("--provider", "cpu") as server:
        for number, sent in enumerate((b"\0" * 100, http2.PREFACE + b"\0" * 100, http2.PREFACE * 2), start=1):
            with connect(server) as client:
                client.sendall(sent)
                rest(client)
            wait_for(lambda number=number: closed(server, "malformed") == number)  # type: ignore[misc]
        # Who leaves, wherever that is, has sent nothing wrong.
        for sent in (b"", b"GET /li", http2.PREFACE, post({"input": "a"})[:-1]):
            with connect(server) as client:
                client.sendall(sent)
        wait_for(lambda: server.metric("connections") == 1)
        assert closed(server, "malformed") == number


def test_a_long_path() -> None:
    with serving("--provider", "cpu") as server, connect(server) as client:
        client.sendall(b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert rest(client).split(b" ", 2)[1] in (b"414", b"431")


def test_http2_is_spoken() -> None:
    """So that the tests below fail for what they say, and not for bytes that are no HTTP/2."""
    with serving("--provider", "cpu") as server, connect(server) as client:
        client.sendall(http2.PREFACE + http2.frame(http2.SETTINGS) + http2.request(1) + http2.request(3))
        answered = set()
        for kind, flags, stream, _ in http2.frames(client):
            if kind == http2.DATA and flags & http2.END_STREAM:
                answered.add(stream)
                if answered == {1, 3}:
                    break


def flood(client: socket.socket, frames: Callable[[int], bytes], seconds: float) -> None:
    """Sends without end and reads nothing; raises ConnectionError where it is put out, TimeoutError where it is let."""
    client.settimeout(seconds)
    client.sendall(http2.PREFACE + http2.frame(http2.SETTINGS))
    start = time.monotonic()
    for number in range(1_000_000_000):
        client.sendall(frames(number))
        if time.monotonic() - start > seconds:
            raise TimeoutError


def reset_at_once(number: int) -> bytes:
    return b"".join(
        http2.request(stream) + http2.reset(stream) for stream in range(200 * number + 1, 200 * number + 201, 2)
    )


def test_rapid_reset() -> None:
    """CVE-2023-44487: requests that are taken back before they are looked at. 20 of them may wait."""
    with serving("--provider", "cpu") as server, others_are_answered(server), connect(server) as client:
        client.sendall(http2.PREFACE + http2.frame(http2.SETTINGS) + reset_at_once(0) + reset_at_once(1))
        with contextlib.suppress(ConnectionError):
            errors = [
                struct.unpack(">II", payload[:8])[1]
                for kind, _, _, payload in http2.frames(client)
                if kind == http2.GOAWAY
            ]
            assert errors == [http2.ENHANCE_YOUR_CALM]


CONTINUED = http2.frame(http2.CONTINUATION, 0, 1, http2.literal(b"x" * 100, b"x" * 100) * 50)
FLOODS: dict[str, Callable[[int], bytes]] = {
    # Each asks for an answer, of which nothing is read.
    "settings": lambda _: http2.frame(http2.SETTINGS) * 100,
    "pings": lambda _: http2.frame(http2.PING, 0, 0, b"12345678") * 100,
    "resets": reset_at_once,
    # A head without an end.
    "continuations": lambda number: CONTINUED if number else http2.frame(http2.HEADERS, 0, 1, http2.get(b"/live")),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_are_ended(name: str) -> None:
    with (
        serving("--provider", "cpu", "--write-timeout", "1") as server,
        others_are_answered(server),
        connect(server) as client,
        pytest.raises(ConnectionError),
    ):
        flood(client, FLOODS[name], PATIENCE)


def test_http2_fields_without_end_are_refused() -> None:
    with serving("--provider", "cpu") as server, others_are_answered(server), connect(server) as client:
        large = http2.get(b"/live") + http2.literal(b"x" * 100, b"x" * 100) * 60
        whole = http2.frame(http2.HEADERS, http2.END_STREAM, 1, large)
        more = [http2.frame(http2.CONTINUATION, 0, 1, http2.literal(b"x" * 100, b"x" * 100) * 60)] * 3
        end = http2.frame(http2.CONTINUATION, http2.END_HEADERS, 1)
        client.sendall(http2.PREFACE + http2.frame(http2.SETTINGS) + whole + b"".join(more) + end)
        for kind, _, stream, payload in http2.frames(client):
            if kind in (http2.GOAWAY, http2.RST_STREAM):
                break
            if kind == http2.HEADERS and stream == 1:
                # 431 as it is written, or in HPACK's Huffman code.
                assert b"431" in payload or b"\x83\x69\x90\xff" in payload
                break
        else:
            pytest.fail("it was closed without a word")


def test_an_idle_http2_connection_is_ended() -> None:
    """Answers to pings do not keep it."""
    with serving("--provider", "cpu", "--idle-timeout", "1") as server, connect(server) as client:
        client.sendall(http2.PREFACE + http2.frame(http2.SETTINGS) + http2.request(1))
        kinds = []
        for kind, flags, _, payload in http2.frames(client):
            kinds.append(kind)
            if kind == http2.PING and not flags & http2.ACK:
                client.sendall(http2.frame(http2.PING, http2.ACK, 0, payload))
        assert http2.GOAWAY in kinds
        assert closed(server, "idle") == 1


def test_an_http2_client_that_takes_no_answer() -> None:
    """Its window is shut, so that the answer waits for ever: the connection does not."""
    shut = http2.frame(http2.SETTINGS, 0, 0, struct.pack(">HI", 4, 0))
    with (
        serving("--provider", "cpu", "--idle-timeout", "2", "--write-timeout", "2") as server,
        others_are_answered(server),
        connect(server) as client,
    ):
        client.sendall(http2.PREFACE + shut + http2.request(1, b"/ready"))
        # Until the socket's own patience is at its end.
        rest(client)


def test_who_drains_is_not_kept_by_the_idle() -> None:
    """Connections on which nothing is asked do not hold up the end."""
    with serving("--provider", "cpu", "--drain", "1000") as server, connect(server) as client:
        client.sendall(post({"input": list(texts_of(3))}))
        assert client.recv(1 << 20).startswith(b"HTTP/1.1 200 ")
        assert server.stop() == 0
