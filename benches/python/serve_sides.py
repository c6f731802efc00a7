"""The servers that `serve.py` measures, each in a process of its own: oxembed's, and what else there is."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers_catalogue import ENVIRONMENTS, FORMS
from peers_environment import PACKAGE, Environment, Environments, PeerError, last_line
from peers_models import FLOAT32, Models
from peers_process import clean_environment

MODEL_NAME = "all-MiniLM-L6-v2"
PATH = "/v1/embeddings"
HERE = Path(__file__).resolve().parent
PATIENCE = 300.0
SERVERS = {
    environment.name: environment
    for environment in (
        Environment("fastapi", ("fastapi>=0.115,<1", "uvicorn>=0.34,<1"), ("sentence-transformers", "torch")),
        # Its command line is not for a newer click and typer; the rest as for its Python interface.
        Environment(
            "infinity-server",
            (
                *("infinity-emb[torch,optimum,server]>=0.0.77,<1", "optimum<2", "transformers<4.49", "datasets<4"),
                *("pyarrow<19", "click<8.2", "typer<0.16"),
            ),
            ("torch",),
        ),
    )
}


class ServerError(PeerError):
    """Why a server has no figures, in one line."""


@dataclass(frozen=True)
class Plan:
    """How a server is started, on a port."""

    name: str
    command: Callable[[int], list[str]]
    variables: dict[str, str]
    health: str = "/health"


def free_port() -> int:
    """A port that nobody listens to at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Server:
    """A running server, stopped while others are measured."""

    def __init__(self, plan: Plan, log: Path) -> None:
        self.name = plan.name
        self.log = log
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{PATH}"
        log.parent.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                plan.command(self.port), stdout=output, stderr=subprocess.STDOUT, env=plan.variables
            )
        self._wait(f"http://127.0.0.1:{self.port}{plan.health}")
        self.seconds_to_ready = time.perf_counter() - start

    def _wait(self, url: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                said = self.log.read_text(encoding="utf-8", errors="replace")
                raise ServerError(f"ended before it was ready: {last_line(said, 'without a word')}")
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.005)
        self.stop()
        raise ServerError(f"was not ready after {PATIENCE:.0f} s")

    def embed(self, texts: Sequence[str], encoding: str = "float") -> NDArray[np.float32]:
        """Rows of texts, asked for in one request."""
        body = json.dumps({"input": list(texts), "model": MODEL_NAME, "encoding_format": encoding}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                data = json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise ServerError(f"does not embed: {error}: {error.read()[:500]!r}") from error
        except (OSError, urllib.error.URLError, ValueError, KeyError) as error:
            raise ServerError(f"does not embed: {error}") from error
        return np.array([row_of(row["embedding"]) for row in data], dtype=np.float32)

    def suspend(self) -> None:
        """No processor for it until `resume`."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """On it goes."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """It is over."""
        if self.process.poll() is None:
            self.resume()
            self.process.terminate()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def row_of(written: Any) -> NDArray[np.float32]:
    """A vector, as numbers or as base64."""
    if isinstance(written, str):
        return np.frombuffer(base64.b64decode(written), dtype="<f4")
    return np.array(written, dtype=np.float32)


def plans(folder: Path, kept: Path, *, may_install: bool) -> tuple[dict[str, Plan], dict[str, str]]:
    """How each server is started, and of those that cannot be had why."""
    environments = Environments(kept, {**ENVIRONMENTS, **SERVERS}, may_install=may_install)
    models = Models(folder, kept, FORMS, environments)
    modules = (HERE.parent, PACKAGE)
    here = clean_environment(kept, modules)
    # The library that this process has, wherever it is installed: oxembed finds it without being told.
    own = Plan("oxembed", lambda port: served(port, folder), here, "/ready")
    found, failed = {own.name: own}, {}

    def program(name: str, environment: str, command: Callable[[str, str, int], list[str]]) -> None:
        try:
            python, float32 = str(environments.python(environment)), str(models.path(FLOAT32))
        except PeerError as error:
            failed[name] = str(error)
        else:
            found[name] = Plan(name, lambda port: command(python, float32, port), here)

    app = str(HERE.parent / "peer" / "fastapi_program.py")
    program(
        "FastAPI + sentence-transformers", "fastapi", lambda python, model, port: [python, "-P", app, model, str(port)]
    )
    program("infinity", "infinity-server", infinity)
    return found, failed


def served(port: int, folder: Path) -> list[str]:
    """`oxembed serve`."""
    command = [sys.executable, "-m", "oxembed", "serve", "--provider", "cpu", "--port", str(port)]
    return [*command, "--model", f"{MODEL_NAME}={folder}"]


def infinity(python: str, model: str, port: int) -> list[str]:
    """Its own server, at its defaults, on torch."""
    command = [
        str(Path(python).with_name("infinity_emb")),
        "v2",
        "--model-id",
        model,
        "--served-model-name",
        MODEL_NAME,
    ]
    return [*command, "--engine", "torch", "--device", "cpu", "--url-prefix", "/v1", "--port", str(port)]
