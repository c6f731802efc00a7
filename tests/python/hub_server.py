"""A Hugging Face hub on this machine, for tests: the requests that `huggingface_hub` makes, and their failures.

As the real one does, it keeps large files (LFS) on another server, the "content network", to which it redirects.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".onnx", ".onnx_data", ".bin", ".h5", ".msgpack")


class Request(NamedTuple):
    """A request as it arrived."""

    method: str
    path: str
    token: str | None
    server: str  # "hub" or "content"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    """A model: its files at each commit, and what its branches and tags mean."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], revision: str = "main") -> str:
        """Add a commit and let a branch mean it."""
        content = json.dumps({name: sha256(data) for name, data in files.items()}).encode()
        commit = hashlib.sha1(content).hexdigest()
        self.commits[commit] = files
        self.revisions[revision] = commit
        return commit

    def find(self, revision: str) -> str | None:
        return self.revisions.get(revision, revision if revision in self.commits else None)


def files_of(folder: Path) -> dict[str, bytes]:
    """A folder as the files of a commit, without the golden vectors of a fixture."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("golden")
    }


Fault = Callable[["Handler", bytes], bool]
"""Answers in place of the server, given the content it would send; `False` leaves the answer to the server."""


def status(code: int, *, error: str = "", message: str = "", body: bytes = b"{}", html: bool = False) -> Fault:
    """Answer with a status, and the words in which the hub explains it."""

    def answer(handler: Handler, _: bytes) -> bool:
        headers = {"Content-Type": "text/html" if html else "application/json"}
        headers |= {"X-Error-Code": error} if error else {}
        headers |= {"X-Error-Message": message} if message else {}
        handler.reply(code, body, headers)
        return True

    return answer


def content(replacement: bytes) -> Fault:
    """Send something else, of any length, as if it were right."""

    def answer(handler: Handler, _: bytes) -> bool:
        handler.send_file(replacement)
        return True

    return answer


def cut_off(after: int, times: int | None = None) -> Fault:
    """Break the connection after so many bytes of an answer, always or so many times."""
    left = [times]

    def answer(handler: Handler, data: bytes) -> bool:
        if handler.command == "HEAD" or left[0] == 0:
            return False
        left[0] = None if left[0] is None else left[0] - 1
        handler.send_file(data, stop_after=after)
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)
        return True

    return answer


def trickle(piece: int, pause: float) -> Fault:
    """Send it in pieces, with a pause before each."""

    def answer(handler: Handler, data: bytes) -> bool:
        if handler.command == "HEAD":
            return False
        handler.send_file(data, stop_after=0)
        for start in range(0, len(data), piece):
            threading.Event().wait(pause)
            handler.wfile.write(data[start : start + piece])
            handler.wfile.flush()
        return True

    return answer


@dataclass
class Stall:
    """Send so many bytes, say so, and then nothing until the test lets go."""

    after: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def __call__(self, handler: Handler, data: bytes) -> bool:
        if handler.command == "HEAD" and self.after:
            return False
        if self.after:
            handler.send_file(data, stop_after=self.after)
        self.reached.set()
        self.release.wait(60)
        handler.close_connection = True
        return True


class Hub:
    """The server's state: models, faults by path, and the requests that have come."""

    def __init__(self) -> None:
        self.models: dict[str, Repository] = {}
        self.faults: list[tuple[re.Pattern[str], Fault]] = []
        self.requests: list[Request] = []
        self.url = self.content_url = ""

    def add(self, model_id: str, files: dict[str, bytes], revision: str = "main") -> str:
        """Add a commit to a model, which may be new; returns its hash."""
        return self.models.setdefault(model_id, Repository()).commit(files, revision)

    def on(self, path: str, fault: Fault) -> None:
        """Answer requests whose path matches the expression by a fault."""
        self.faults.append((re.compile(path), fault))

    def asked(self, method: str | None = None) -> list[str]:
        """Paths that were asked for."""
        return [request.path for request in self.requests if method in (None, request.method)]

    def fetched(self) -> list[str]:
        """Names of the files whose content was asked for, in order."""
        paths = [request.path for request in self.requests if request.method == "GET" and request.server == "hub"]
        return [path.split("/resolve/")[1].split("/", 1)[1] for path in paths if "/resolve/" in path]


def _entry(name: str, data: bytes, *, path: str, git: str, large: str) -> dict[str, object]:
    """A file as one of the hub's two listings describes it, which name the same things differently."""
    entry: dict[str, object] = {path: name, "size": len(data), git: git_hash(data)}
    return entry | (
        {"lfs": {large: sha256(data), "size": len(data), "pointerSize": 134}} if name.endswith(LARGE) else {}
    )


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def __init__(self, hub: Hub, name: str, *arguments: object) -> None:
        self._hub = hub
        self._name = name
        super().__init__(*arguments)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        """Tests speak for themselves."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self._hub.requests.append(Request(self.command, path, self.headers.get("Authorization"), self._name))
        with suppress(BrokenPipeError, ConnectionResetError):  # clients that are killed, or that have seen enough
            if path.startswith("/api/models/"):
                self._describe(path, path.removeprefix("/api/models/"))
            elif self._name == "content":
                self._send_large(path)
            else:
                self._send(path)

    def _is_handled(self, path: str, data: bytes) -> bool:
        return any(pattern.search(path) and fault(self, data) for pattern, fault in self._hub.faults)

    def _describe(self, path: str, rest: str) -> None:
        model_id, tree, revision = rest.partition("/tree/")
        if not tree:
            model_id, _, revision = rest.partition("/revision/")
        model = self._hub.models.get(model_id)
        if self._is_handled(path, b""):
            return
        if model is None:  # without a token, the hub does not tell whether a model is private or is not
            self.reply(401, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            return
        commit = model.find(revision or "main")
        if commit is None:
            is_folder = tree and model.find(revision.partition("/")[0]) is not None  # no test lists one that exists
            self.reply(404, b"{}", {"X-Error-Code": "EntryNotFound" if is_folder else "RevisionNotFound"})
            return
        files = model.commits[commit]
        if tree:
            listed = [_entry(name, data, path="path", git="oid", large="oid") for name, data in files.items()]
            self.reply(200, json.dumps([{"type": "file", **entry} for entry in listed]).encode(), {})
            return
        siblings = [_entry(name, data, path="rfilename", git="blobId", large="sha256") for name, data in files.items()]
        facts = {"id": model_id, "modelId": model_id, "sha": commit, "siblings": siblings, "private": False, "tags": []}
        self.reply(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})

    def _send(self, path: str) -> None:
        model_id, _, rest = path.lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        model = self._hub.models.get(model_id)
        commit = None if model is None else model.find(revision)
        files = {} if model is None or commit is None else model.commits[commit]
        data = files.get(name)
        if self._is_handled(path, data or b""):
            return
        if data is None:
            self.reply(404, b"", {"X-Error-Code": "EntryNotFound" if files else "RepoNotFound"})
            return
        headers = {"X-Repo-Commit": str(commit)}
        if name.endswith(LARGE):
            large = {"X-Linked-ETag": f'"{sha256(data)}"', "X-Linked-Size": str(len(data))}
            location = {"Location": f"{self._hub.content_url}/{model_id}/{name}/{sha256(data)}"}
            self.reply(302, b"", {**headers, **large, **location})
        else:
            self.send_file(data, headers={**headers, "ETag": f'"{git_hash(data)}"'})

    def _send_large(self, path: str) -> None:
        wanted = path.rpartition("/")[2]
        commits = [files for model in self._hub.models.values() for files in model.commits.values()]
        data = next(data for files in commits for data in files.values() if sha256(data) == wanted)
        if not self._is_handled(path, data):
            self.send_file(data, headers={"Content-Disposition": f'inline; filename="{path.split("/")[-2]}";'})

    def send_file(self, data: bytes, *, headers: dict[str, str] | None = None, stop_after: int | None = None) -> None:
        """Send a file or the range of it that is asked for; with `stop_after`, promise all and send less."""
        start = 0
        if ranged := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start = int(ranged[1])
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Length", str(len(data) - start))
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        for name, value in {"Accept-Ranges": "bytes", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[start:] if stop_after is None else data[start : max(start, stop_after)])
            self.wfile.flush()

    def reply(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        """Send a status and a small body."""
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serve on free ports of this machine until the end of the block."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, hub, name)) for name in ("hub", "content")]
    # Two names, as `huggingface_hub` takes another port of the same host for the same server.
    hub.url, hub.content_url = (
        f"http://{name}:{server.server_address[1]}"
        for name, server in zip(("127.0.0.1", "localhost"), servers, strict=True)
    )
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True) for server in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.daemon_threads = True
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


@contextmanager
def closed_port() -> Iterator[str]:
    """Address of a port of this machine on which nobody listens, and which nobody else can take meanwhile."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{one.getsockname()[1]}"
