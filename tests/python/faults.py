"""What the tests of faults share: scripts that know the right vectors, and run where something is missing or full.

A script gets `model()` (a small model of the fixtures), `right(model)` (are its vectors sentence-transformers'?)
and `outcome(call)`: "ok", or the class and the message of an error of ours or a `MemoryError`; any other error, and
certainly a crash, is the script's end.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import FIXTURES, PATIENCE, run_python

FIXTURE = FIXTURES / "bert-mean-prompts"

PREAMBLE = f"""
import gc, json, logging, os, signal, sys, threading, time
from pathlib import Path
import numpy as np
import oxembed
from oxembed import Embedder, OxembedError

logging.getLogger("oxembed").setLevel(logging.CRITICAL)  # a failure is logged and raised
FOLDER = Path({str(FIXTURE)!r})
TEXTS = json.loads((FOLDER / "golden_texts.json").read_text(encoding="utf-8"))
with np.load(FOLDER / "golden.npz") as stored:
    VECTORS = stored["embeddings"]

def model(folder=FOLDER, **options):
    return Embedder(folder, **{{"provider": "cpu", "threads": 2, **options}})

def right(model):
    return bool(np.abs(model.encode(TEXTS) - VECTORS).max() <= 1e-5)

def outcome(call):
    try:
        call()
        return ["ok", ""]
    except (MemoryError, OxembedError) as error:
        return [type(error).__name__, str(error)]

def tell(**facts):
    print(json.dumps(facts), flush=True)
"""

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and file systems as Linux has them")
on_unix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these signals nor these limits")


def told(script: str, *arguments: str | Path, timeout: float = PATIENCE, measured: bool = True) -> Any:
    """What a script says with `tell`; it ends with status 0, in time, and prints nothing else."""
    done = run_python(PREAMBLE + script, *map(str, arguments), timeout=timeout, measured=measured)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return json.loads(done.stdout)


def copied(folder: Path, fixture: Path = FIXTURE) -> Path:
    """A copy of a fixture that a test may spoil, with no ONNX file to fall back to."""
    shutil.copytree(fixture, folder, ignore=shutil.ignore_patterns("onnx"))
    return folder


@contextmanager
def small_disk(kilobytes: int) -> Iterator[Path]:
    """A file system of this size; skips the test where none can be mounted."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small file system takes Linux and root")
    with tempfile.TemporaryDirectory() as place:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", place]
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", place], check=True, capture_output=True)


@contextmanager
def memory_group(megabytes: int) -> Iterator[Path]:
    """A control group with this much memory, to write process ids into; skips where none can be made."""
    root = Path("/sys/fs/cgroup")
    versions = ((root, "memory.max"), (root / "memory", "memory.limit_in_bytes"))
    for parent, limit in versions:
        group = parent / f"oxembed-{os.getpid()}"
        if not (parent / "cgroup.procs").exists() or not os.access(parent, os.W_OK):
            continue
        group.mkdir()
        try:
            if (group / limit).exists():
                (group / limit).write_text(str(megabytes << 20))
                yield group / "cgroup.procs"
                return
        finally:
            group.rmdir()
    pytest.skip("no control group for memory can be made here")
