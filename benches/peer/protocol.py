"""Requests in, answers out, one JSON object a line, on the standard streams.

| request | answer |
| --- | --- |
| `{"do": "load", "settings": {...}}` | `seconds`, `versions` |
| `{"do": "texts", "file": path, "batches": [...]}` | `note`; a JSON list of texts; the fastest of the batches is kept |
| `{"do": "vectors", "file": path, "every": n}` | `seconds`; the rows of every n-th text are in the file |
| `{"do": "round"}` | `seconds`, `cpu_seconds` of embedding all texts once |
| `{"do": "single", "text": text, "runs": count}` | `seconds`: a list, one text a call |
| `{"do": "finish"}` | `peak_bytes`; the program ends |

What goes wrong is answered `{"error": "one line"}`, and the program ends.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from peer.side import Side

# Texts that a batch size is chosen with.
SAMPLE = 100

Answer = dict[str, Any]


class Session:
    """The answers of one program."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.side: Side | None = None
        self.texts: list[str] = []

    def loaded(self) -> Side:
        """The program; it must have been loaded."""
        if self.side is None:
            raise RuntimeError("nothing is loaded yet")
        return self.side

    def load(self, request: Answer) -> Answer:
        """Import the program, which is a part of what a user waits for, and load its model."""
        start = time.perf_counter()
        self.side = import_module(f"peer.{self.name}").Program(request["settings"])
        return {"seconds": time.perf_counter() - start, "versions": self.loaded().versions()}

    def read_texts(self, request: Answer) -> Answer:
        """Read the texts; choose the batch size."""
        self.texts = json.loads(Path(request["file"]).read_text(encoding="utf-8"))
        if batches := request["batches"]:
            step = max(1, len(self.texts) // SAMPLE)
            self.loaded().choose_batch(batches, self.texts[::step][:SAMPLE])
        return {"note": self.loaded().note()}

    def vectors(self, request: Answer) -> Answer:
        """Embed some of the texts, write the rows."""
        texts = self.texts[:: request["every"]]
        start = time.perf_counter()
        rows = self.loaded().encode(texts)
        seconds = time.perf_counter() - start
        np.save(request["file"], np.asarray(rows, dtype=np.float32))
        return {"seconds": seconds}

    def round(self, _request: Answer) -> Answer:
        """Embed all texts once."""
        before, start = self.loaded().cpu_seconds(), time.perf_counter()
        self.loaded().encode(self.texts)
        return {"seconds": time.perf_counter() - start, "cpu_seconds": self.loaded().cpu_seconds() - before}

    def single(self, request: Answer) -> Answer:
        """Embed one text, again and again."""
        seconds = []
        for _ in range(request["runs"]):
            start = time.perf_counter()
            self.loaded().encode([request["text"]])
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds}

    def finish(self, _request: Answer) -> Answer:
        """End."""
        peak = self.loaded().peak_bytes()
        self.loaded().close()
        return {"peak_bytes": peak}


def answers(session: Session, requests: TextIO) -> Iterator[Answer]:
    """The answer to each request, until one fails or is the last."""
    known = {
        "load": session.load,
        "texts": session.read_texts,
        "vectors": session.vectors,
        "round": session.round,
        "single": session.single,
        "finish": session.finish,
    }
    for line in requests:
        request = json.loads(line)
        try:
            yield known[request["do"]](request)
        except Exception as error:
            # Whatever a program raises is what the table says of it.
            yield {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
            return
        if request["do"] == "finish":
            return


def serve(name: str) -> None:
    """Answer all requests for the program `name`."""
    # Libraries print what they like; only answers may go where answers are read.
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    session = Session(name)
    try:
        for answer in answers(session, sys.stdin):
            channel.write(json.dumps(answer) + "\n")
            channel.flush()
    finally:
        if session.side is not None:
            session.side.close()
