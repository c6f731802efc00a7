"""Half an hour of everything at once: is every answer right, is every error the client's, does memory stay level?

    python benches/python/serve_endurance.py --minutes 30 --json .bench/serve_endurance.json

Clients that check each vector against the library's, in all forms of requests; clients that leave in the middle, send
garbage, stall, and do not read; and, where the service has routes for that, a model that is swapped for itself all the
time. It ends with status 1 where anything was wrong, and says what.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import record
from numpy.typing import NDArray
from peers_environment import PACKAGE, PeerError
from peers_process import clean_environment
from serve_sides import HERE, MODEL_NAME, Plan, Server

from oxembed import Embedder
from oxembed._arguments.model import positive

MODEL = record.ROOT / "models" / MODEL_NAME
TEXTS = record.ROOT / "data" / "short_texts.txt"
CHECKERS = 6
ADMIN_KEY = "endurance"
# How far a vector may be from the library's: both run the same kernels, in batches of other sizes.
TOLERANCE = 2e-5
# Growth of memory, from the second sixth of the time to the last, that a level line may have.
LEVEL = 0.05
LEVEL_BYTES = 32 << 20
# Minutes before which memory is not judged: sessions are made, and arenas meet their largest batches.
SETTLED = 5
# File handles that may be more at the end than at the start: a log that was rotated, a file that is being read.
HANDLES = 4
SECOND = 1.0


@dataclass
class Findings:
    """What all clients have found."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        """Something happened as it should."""
        with self.lock:
            self.counts[what] += 1

    def fault(self, what: str) -> None:
        """Something happened that must not."""
        with self.lock:
            self.counts["wrong"] += 1
            if len(self.wrong) < 50:
                self.wrong.append(what)


@dataclass(frozen=True)
class Material:
    """Texts, their tokens and their rows."""

    texts: list[str]
    tokens: list[list[int]]
    rows: NDArray[np.float32]

    @classmethod
    def of(cls, embedder: Embedder, limit: int) -> Material:
        """Short texts, some longer ones, and what people send besides."""
        short = [text for text in TEXTS.read_text(encoding="utf-8").splitlines() if text][:limit]
        long = [" ".join(short[number : number + 20]) for number in range(0, min(200, len(short)), 10)]
        texts = [*short, *long, "", " ", "\n", "ünïcödé ✓ 漢字", "a" * 500]
        batch = embedder.tokenize(texts)
        rows = zip(batch["input_ids"], batch["attention_mask"], strict=True)
        return cls(texts, [ids[mask == 1].tolist() for ids, mask in rows], embedder.encode(texts))


class Load:
    """All clients of a server, until a moment."""

    def __init__(self, server: Server, material: Material, until: float) -> None:
        self.server, self.material, self.until = server, material, until
        self.findings = Findings()
        self.samples: list[dict[str, float]] = []

    def run(self, *, swaps: bool) -> None:
        """All of them at once."""
        clients: list[Callable[[random.Random], None]] = [self.checker] * CHECKERS
        clients += [self.leaver, self.garbage, self.staller]
        clients += [self.swapper] if swaps else []
        threads = [threading.Thread(target=self.guarded, args=(client, seed)) for seed, client in enumerate(clients)]
        for thread in threads:
            thread.start()
        process = psutil.Process(self.server.process.pid)
        while time.monotonic() < self.until:
            self.samples.append(sample(process))
            time.sleep(SECOND)
        for thread in threads:
            thread.join()

    def guarded(self, client: Callable[[random.Random], None], seed: int) -> None:
        """One client, whose own end is a finding."""
        chance = random.Random(seed)
        while time.monotonic() < self.until:
            try:
                client(chance)
            except Exception as error:
                self.findings.fault(f"{client.__name__}: {type(error).__name__}: {error}")
                time.sleep(SECOND)

    def checker(self, chance: random.Random) -> None:
        """Asks in every form, on one connection for a while, and compares every number."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)
        with contextlib.closing(connection):
            for _ in range(chance.randint(1, 200)):
                if time.monotonic() > self.until:
                    return
                chosen = chance.sample(range(len(self.material.texts)), chance.choice((1, 1, 1, 2, 5, 20, 60)))
                path, body, read = self.question(chance, chosen)
                connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
                answer = connection.getresponse()
                data = answer.read()
                if answer.status == 429:
                    self.findings.count("told to come back")
                    time.sleep(float(answer.headers["Retry-After"]))
                    continue
                if answer.status != 200:
                    self.findings.fault(f"{path}: status {answer.status}: {data[:200]!r}")
                    continue
                self.compare(read(json.loads(data)), chosen, path)

    def question(self, chance: random.Random, chosen: list[int]) -> tuple[str, dict[str, Any], Callable[[Any], Any]]:
        """Route, body, and what reads the rows of the answer."""
        texts = [self.material.texts[index] for index in chosen]
        tokens = [self.material.tokens[index] for index in chosen]
        questions: list[tuple[str, dict[str, Any], Callable[[Any], Any]]] = [
            ("/v1/embeddings", {"input": texts}, openai_rows),
            ("/v1/embeddings", {"input": texts, "encoding_format": "base64"}, openai_rows),
            ("/v1/embeddings", {"input": tokens, "model": MODEL_NAME}, openai_rows),
            ("/embed", {"inputs": texts}, np.array),
        ]
        return chance.choice(questions)

    def compare(self, rows: NDArray[np.float32], chosen: list[int], path: str) -> None:
        """Every number of an answer."""
        expected = self.material.rows[chosen]
        if rows.shape != expected.shape:
            self.findings.fault(f"{path}: {rows.shape} in place of {expected.shape}")
        elif not (apart := float(np.abs(rows - expected).max())) <= TOLERANCE:
            self.findings.fault(f"{path}: a vector is off by {apart}: texts {chosen}")
        else:
            self.findings.count("answers checked")
            with self.findings.lock:
                self.findings.counts["vectors checked"] += len(chosen)

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=60)

    def leaver(self, chance: random.Random) -> None:
        """Asks for much and goes away, at any moment."""
        texts = chance.choices(self.material.texts, k=chance.randint(1, 2000))
        with self.connect() as client:
            whole = request(json.dumps({"input": texts}).encode())
            client.sendall(whole[: chance.choice((len(whole), chance.randrange(len(whole))))])
            time.sleep(chance.random() * 0.3)
        self.findings.count("clients that left")

    def garbage(self, chance: random.Random) -> None:
        """Bytes, half requests, wrong requests: each is refused, and none is a failure of the service."""
        body = chance.choice(
            [
                chance.randbytes(chance.randint(1, 2000)),
                b'{"input": ' + b"[" * 5000,
                b'{"input": [1e999]}',
                b'{"input": "\xff\xfe"}',
                json.dumps({"input": ["a", None]}).encode(),
                json.dumps({"input": "a", "model": chance.randbytes(5).hex()}).encode(),
                json.dumps({"input": [[10**12]]}).encode(),
                json.dumps({"input": ["a"] * 5000}).encode(),
            ]
        )
        whole = chance.choice([request(body), chance.randbytes(200), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + body])
        with self.connect() as client, contextlib.suppress(ConnectionError):
            client.sendall(whole)
            # Where the service has closed the connection already there is nothing to shut.
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            answer = client.recv(4096)
            if answer.startswith(b"HTTP/1.1 ") and not answer.startswith(b"HTTP/1.1 4"):
                self.findings.fault(f"garbage got {answer[:100]!r} for {whole[:200]!r}")
        self.findings.count("garbage refused")
        time.sleep(0.05)

    def staller(self, chance: random.Random) -> None:
        """Holds connections: without a word, in the middle of a head or of a body, and without reading the answer."""
        whole = request(json.dumps({"input": self.material.texts[:1500]}).encode())
        with contextlib.ExitStack() as stack:
            for part in (b"", whole[:30], whole[:2000], whole):
                client = stack.enter_context(self.connect())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.sendall(part)
            time.sleep(chance.uniform(1, 8))
        self.findings.count("clients that stalled")

    def swapper(self, chance: random.Random) -> None:
        """The model in place of itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {ADMIN_KEY}"}
            body = json.dumps({"name": MODEL_NAME, "path": str(MODEL)})
            connection.request("POST", "/admin/models", body, headers)
            answer = connection.getresponse()
            if answer.status == 200:
                self.findings.count("swaps")
            else:
                self.findings.fault(f"a swap: status {answer.status}: {answer.read()[:200]!r}")
        time.sleep(chance.uniform(3, 15))


def request(body: bytes) -> bytes:
    """A whole request to embed."""
    head = "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def openai_rows(answer: dict[str, Any]) -> NDArray[np.float32]:
    """The rows of an answer, as numbers or base64."""
    rows = [row["embedding"] for row in answer["data"]]
    if rows and isinstance(rows[0], str):
        return np.stack([np.frombuffer(base64.b64decode(row), dtype="<f4") for row in rows])
    return np.array(rows, dtype=np.float32)


def sample(process: psutil.Process) -> dict[str, float]:
    """What the process takes at this moment."""
    with process.oneshot():
        handles = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
        return {"bytes": process.memory_info().rss, "handles": handles, "threads": process.num_threads()}


def levels(samples: list[dict[str, float]], what: str) -> tuple[float, float]:
    """Medians of the second sixth and of the last."""
    sixth = max(1, len(samples) // 6)
    values = [one[what] for one in samples]
    return statistics.median(values[sixth : 2 * sixth] or values), statistics.median(values[-sixth:])


def can_swap() -> bool:
    """Whether the service has routes for that."""
    command = [sys.executable, "-m", "oxembed", "serve", "--help"]
    return "--admin-key" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def verdict(load: Load, start: dict[str, float], end: dict[str, float], minutes: float) -> list[str]:
    """What is wrong, all in all."""
    wrong = list(load.findings.wrong)
    before, after = levels(load.samples, "bytes")
    if minutes >= SETTLED and after > before * (1 + LEVEL) and after > before + LEVEL_BYTES:
        wrong.append(f"memory grew from {before / 2**20:.0f} MiB to {after / 2**20:.0f} MiB")
    if end["handles"] > start["handles"] + HANDLES:
        wrong.append(f"{end['handles']:.0f} file handles are open at the end, {start['handles']:.0f} were at the start")
    if not load.findings.counts["answers checked"]:
        wrong.append("no answer was checked")
    return wrong


def measure(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """A server under load, and what came of it."""
    embedder = Embedder(str(MODEL), provider="cpu")
    material = Material.of(embedder, arguments.texts)
    del embedder
    swaps = can_swap()
    variables = {**clean_environment(scratch, (HERE.parent, PACKAGE)), "OXEMBED_LOG": "error"}
    variables |= {"OXEMBED_ADMIN_KEYS": ADMIN_KEY} if swaps else {}
    limits = [
        "--auto-truncate",
        "--header-timeout",
        "2",
        "--write-timeout",
        "3",
        "--timeout",
        "30",
        "--idle-timeout",
        "10",
    ]
    model = ["--provider", "cpu", "--model", f"{MODEL_NAME}={MODEL}"]
    command = [sys.executable, "-m", "oxembed", "serve", *limits, *model]
    server = Server(Plan("oxembed", lambda port: [*command, "--port", str(port)], variables, "/ready"), scratch / "log")
    try:
        server.embed(material.texts[:500])
        process = psutil.Process(server.process.pid)
        start = sample(process)
        load = Load(server, material, time.monotonic() + 60 * arguments.minutes)
        load.run(swaps=swaps)
        # Whoever stalled is put out by now.
        time.sleep(12)
        end = sample(process)
        if (server.process.poll()) is not None:
            load.findings.fault(f"the service ended with status {server.process.returncode}")
    finally:
        server.stop()
    before, after = levels(load.samples, "bytes")
    return {
        "minutes": arguments.minutes,
        "counts": dict(load.findings.counts),
        "swapped": swaps,
        "mebibytes": {"second_sixth": before / 2**20, "last_sixth": after / 2**20, "end": end["bytes"] / 2**20},
        "handles": {
            "start": start["handles"],
            "most": max(one["handles"] for one in load.samples),
            "end": end["handles"],
        },
        "threads": {
            "start": start["threads"],
            "most": max(one["threads"] for one in load.samples),
            "end": end["threads"],
        },
        "wrong": verdict(load, start, end, arguments.minutes),
    }


def main() -> int:
    """Run and write; return 0, or 1 where something was wrong, or 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="how long (default: 30)")
    parser.add_argument("--texts", type=positive, default=2000, help="only so many short texts (default: 2000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    arguments = parser.parse_args()
    start = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            results = measure(arguments, Path(scratch))
    except (PeerError, OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was written\n")
        return 130
    if arguments.json is not None:
        options = f"--minutes {arguments.minutes:g} --json .bench/serve_endurance.json"
        command = f"python benches/python/serve_endurance.py {options}"
        record.write(arguments.json, "serve_endurance", command, time.perf_counter() - start, results)
    sys.stdout.write(json.dumps(results, indent=1) + os.linesep)
    return 1 if results["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
