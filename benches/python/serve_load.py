"""The load generator of `serve.py`, `benches/load`: built when it is first needed, run in a process of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import record
from serve_sides import MODEL_NAME, ServerError

MANIFEST = record.ROOT / "benches" / "load" / "Cargo.toml"


def built(target: Path) -> Path:
    """The program; cargo knows whether it has to be made."""
    command = ["cargo", "build", "--quiet", "--release", "--locked", "--manifest-path", str(MANIFEST)]
    try:
        done = subprocess.run([*command, "--target-dir", str(target)], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ServerError(f"the load generator needs cargo: {error}") from error
    if done.returncode != 0:
        raise ServerError(f"the load generator could not be built: {done.stderr.strip()}")
    return target / "release" / "oxembed-load"


def write_bodies(file: Path, texts: Sequence[str], encoding: str) -> Path:
    """A request for each text, one a line."""
    lines = [json.dumps({"input": text, "model": MODEL_NAME, "encoding_format": encoding}) for text in texts]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def load(
    program: Path, url: str, bodies: Path, *, connections: int, seconds: float, rate: float | None = None
) -> dict[str, Any]:
    """What a load does; raises ServerError where an answer was not 200."""
    command = [str(program), "--url", url, "--bodies", str(bodies), "--connections", str(connections)]
    command += ["--seconds", str(seconds), "--warm-up", str(min(1.0, seconds / 2))]
    command += [] if rate is None else ["--rate", f"{rate:.3f}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 120)
    if done.returncode != 0:
        raise ServerError(f"the load could not be made: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    if found["failures"] or not found["requests"]:
        raise ServerError(f"{found['requests']} answers, and failures: {found['failures']}")
    return found
