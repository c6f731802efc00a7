"""A running `oxembed serve` for the tests: the real program, on a free port."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from conftest import PATIENCE

if TYPE_CHECKING:
    from oxembed import Embedder

_LISTENING = re.compile(r"listening on (https?://\S+)")

# Texts of a request that takes half a minute and more: a client that leaves is the only end of it in a test.
LARGE = 20_000
# A server that takes it, however many cores the machine has.
SLOW = ("--provider", "cpu", "--threads", "1", "--max-inputs", str(LARGE))


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A process that serves."""

    process: subprocess.Popen[str]
    url: str
    log: list[str] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    reader: threading.Thread | None = None

    @property
    def place(self) -> str:
        """Its host and port, as gRPC's channels take them."""
        return urlsplit(self.url).netloc

    def ask(
        self,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        method: str | None = None,
        raw: bytes | None = None,
        kind: str = "application/json",
    ) -> Answer:
        """Send a request; any status is an answer."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": kind} if data is not None else {}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE, context=self.tls) as response:
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())

    def metric(self, name: str) -> float:
        """A number of `/metrics`, of all models and labels together."""
        lines = self.ask("/metrics").body.decode().splitlines()
        counts = [line.rsplit(" ", 1)[1] for line in lines if re.match(rf"oxembed_{name}[{{ ]", line)]
        assert counts, f"there is no oxembed_{name}"
        return sum(map(float, counts))

    def connect(self) -> socket.socket:
        """A connection without TLS."""
        host, _, port = self.place.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=PATIENCE)

    def wait_until_idle(self) -> None:
        """Until no text waits or runs."""
        wait_for(lambda: self.metric("queued_inputs") == 0, "texts still wait")

    @contextmanager
    def occupied(self) -> Iterator[socket.socket]:
        """The default model works on more than it can do in half a minute, for a client that leaves at the end.

        For a server that is `SLOW`.
        """
        body = json.dumps({"input": texts_of(LARGE)}).encode()
        head = "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        with self.connect() as client:
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            wait_for(lambda: self.metric("queued_inputs") >= LARGE, "nothing is being worked on")
            yield client
        self.wait_until_idle()

    @contextmanager
    def gives_up(self, requests: int = 1) -> Iterator[None]:
        """So many requests of `LARGE` texts that begin here are not worked on to their end."""
        before = self.metric("batch_tokens_total")
        yield
        self.wait_until_idle()
        # The shortest of the texts has five tokens, and all have more than three times as many.
        assert self.metric("batch_tokens_total") - before < requests * LARGE * 5, "it was computed"

    def stop(self) -> int:
        """Ask it to end, and read what it says until then; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=PATIENCE)
        if self.reader is not None:
            self.reader.join()
        return status


def wait_for(condition: Callable[[], bool], otherwise: str = "it did not happen") -> None:
    """Until it is true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


@contextmanager
def serving(*arguments: str, variables: dict[str, str] | None = None) -> Iterator[Server]:
    """Start it, wait until it is ready, and end it."""
    command = [sys.executable, "-m", "oxembed", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, encoding="utf-8", env={**os.environ, **(variables or {})}
    )
    assert process.stderr is not None
    log: list[str] = []
    reader = threading.Thread(target=log.extend, args=(process.stderr,), daemon=True)
    # Closed here, once it was read to its end: else that is left to the garbage collector, which complains.
    with process.stderr:
        try:
            url = _address(process.stderr, log)
            reader.start()
            yield Server(process, url, log, reader=reader)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            if reader.ident is not None:
                reader.join()


def _address(lines: Iterator[str], log: list[str]) -> str:
    for line in lines:
        log.append(line)
        if found := _LISTENING.search(line):
            return found[1]
    raise AssertionError("it ended before it was ready:\n" + "".join(log))


def refused(*arguments: str) -> tuple[int, str]:
    """Exit status and message of a service that does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "oxembed", "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stderr


def ids_of(embedder: Embedder, texts: Sequence[str]) -> list[list[int]]:
    """The token ids of each text, special ones included."""
    tokens = embedder.tokenize(texts)
    rows = zip(tokens["input_ids"], tokens["attention_mask"], strict=True)
    return [[int(number) for number in ids[mask != 0]] for ids, mask in rows]


def texts_of(count: int) -> Sequence[str]:
    """Different texts of different lengths."""
    return [f"text number {number} " + "with some more words " * (number % 7) for number in range(count)]
