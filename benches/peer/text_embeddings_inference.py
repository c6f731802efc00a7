"""text-embeddings-inference: its server, asked over HTTP by as many connections as a busy client would hold."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from peer.side import Rows, Side, normalized, peak_of

# What the server takes in one request unless told otherwise.
USUAL_BATCH = 32
CONNECTIONS = 8
PATIENCE = 120


class Program(Side):
    """A server on a port of this machine."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        command = [settings["binary"], "--model-id", settings["folder"], "--port", str(port), "--hostname", "127.0.0.1"]
        # Else longer requests than the default would be refused; what the server computes at once is its own affair.
        command += ["--dtype", "float32", "--max-client-batch-size", "256"]
        self.server = subprocess.Popen(command)
        self._wait()

    def encode(self, texts: list[str]) -> Rows:
        """All texts, in requests of a batch each."""
        size = self.batch or USUAL_BATCH
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]
        with ThreadPoolExecutor(min(CONNECTIONS, len(batches))) as pool:
            return normalized(np.concatenate(list(pool.map(self._embed, batches))))

    def versions(self) -> dict[str, str]:
        """What the server says of itself."""
        said = subprocess.run([self.settings["binary"], "--version"], capture_output=True, text=True, check=True).stdout
        return {"text-embeddings-inference": said.split()[-1]}

    def cpu_seconds(self) -> float:
        """The client's and the server's."""
        statistics = Path(f"/proc/{self.server.pid}/stat")
        if statistics.exists():
            # User and system time, in ticks, come after the name, which may have spaces in it.
            fields = statistics.read_text(encoding="utf-8").rpartition(")")[2].split()
            return super().cpu_seconds() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        command = ["ps", "-o", "time=", "-p", str(self.server.pid)]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return super().cpu_seconds() + seconds_of(listed)

    def peak_bytes(self) -> int:
        """The client's and the server's; on macOS the client's alone, as no process is told another's there."""
        return super().peak_bytes() + peak_of(self.server.pid)

    def close(self) -> None:
        """End the server."""
        self.server.kill()
        self.server.wait()

    def _embed(self, texts: list[str]) -> list[list[float]]:
        body = json.dumps({"inputs": texts}).encode()
        request = urllib.request.Request(f"{self.address}/embed", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            rows: list[list[float]] = json.load(answer)
            return rows

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self.server.poll() is not None:
                raise RuntimeError(f"the server ended with status {self.server.returncode}")
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.02)
        self.close()
        raise RuntimeError(f"the server was not ready after {PATIENCE} seconds")


def seconds_of(listed: str) -> float:
    """`ps`'s [[hours:]minutes:]seconds as seconds."""
    total = 0.0
    for part in listed.strip().split(":"):
        total = total * 60 + float(part)
    return total
