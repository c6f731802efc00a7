"""Folders to be broken, ways of breaking them, and what is expected of every refusal."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE
from reference.weights import read_safetensors, write_safetensors

from oxembed import Embedder
from oxembed.exceptions import InvalidModelError, OxembedError

# Of the processor, as other tests run beside these; what waits for ever is ended by its test.
SECONDS = 2.0
WIDTH = 16
WEIGHTS = "model.safetensors"
DENSE = "2_Dense/model.safetensors"
WORDS = "embeddings.word_embeddings.weight"

Break = Callable[[Path], object]


def small(**arguments: Any) -> dict[str, Any]:
    return {
        "seed": 51,
        "hidden_size": WIDTH,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "intermediate_size": 24,
        **arguments,
    }


def load(folder: Path, encode: bool, arguments: dict[str, Any]) -> None:
    model = Embedder(folder, **arguments)
    if encode:
        model.encode(["Hello, world!", "one two three"])


def refused(
    folder: Path,
    *names: str,
    error: type[OxembedError] = InvalidModelError,
    capfd: pytest.CaptureFixture[str] | None = None,
    encode: bool = False,
    **arguments: Any,
) -> str:
    """The folder gives `error`, exactly, with every one of `names` in its message."""
    start = time.process_time()
    with pytest.raises(OxembedError) as caught:
        load(folder, encode, arguments)
    seconds = time.process_time() - start
    message = str(caught.value)
    assert type(caught.value) is error, (type(caught.value), message)
    for name in names:
        assert name in message, message
    assert seconds < SECONDS, (seconds, message)
    assert len(message) < 8000
    if capfd is not None:
        output = capfd.readouterr()
        assert "panicked" not in output.err, output.err
    return message


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    changed = change(content)
    path.write_text(json.dumps(content if changed is None else changed), encoding="utf-8")


def put(path: Path, **values: Any) -> None:
    edit(path, lambda content: content.update(values))


def take(path: Path, key: str) -> None:
    edit(path, lambda content: {name: value for name, value in content.items() if name != key})


def run_apart(code: str, *arguments: str, timeout: float = PATIENCE) -> str:
    """Runs Python in a process of its own, which a hang or a crash does not survive."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "panicked" not in done.stderr, done.stderr[-2000:]
    return done.stdout


LOAD = """
    import json, resource, sys, time
    from oxembed import Embedder, OxembedError
    Embedder(sys.argv[1]).encode("warm")
    for folder in sys.argv[2:]:
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        try:
            Embedder(folder).encode("Hello, world!")
            kind, message = "no error", ""
        except OxembedError as error:
            kind, message = type(error).__name__, str(error)
        seconds = time.process_time() - start
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(json.dumps([kind, message, seconds, grown / 1024]), flush=True)
"""


@dataclass(frozen=True)
class Header:
    """A safetensors file in parts."""

    entries: dict[str, Any]
    body: bytes

    @staticmethod
    def read(path: Path) -> Header:
        data = path.read_bytes()
        start = 8 + struct.unpack("<Q", data[:8])[0]
        return Header(json.loads(data[8:start]), data[start:])

    def pack(self, text: bytes | None = None, length: int | None = None) -> bytes:
        text = json.dumps(self.entries).encode() if text is None else text
        return struct.pack("<Q", len(text) if length is None else length) + text + self.body

    def tensor(self) -> Any:
        return next(entry for name, entry in self.entries.items() if name != "__metadata__")


def rewrite(path: Path, change: Callable[[dict[str, Any]], object], dtype: str = "float32") -> None:
    tensors: dict[str, Any] = dict(read_safetensors(path))
    change(tensors)
    write_safetensors(path, tensors, dtype)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (self.path, "w")
