"""The files that the steps of `make bench` write: one JSON file a step, all of one form.

`write` adds to a step's results what they are worth nothing without: the machine, the versions, the commit, and the
command that makes them again. `read` takes such a file back, or says in one sentence what is wrong with it.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import oxembed
from oxembed.diagnosis import doctor
from oxembed.runtime import load_runtime

ROOT = Path(__file__).resolve().parents[2]
UNKNOWN = "unknown"
FIELDS: dict[str, type | tuple[type, ...]] = {
    "step": str,
    "command": str,
    "commit": str,
    "date": str,
    "machine": dict,
    "versions": dict,
    "seconds": (int, float),
    "results": dict,
}
MACHINE: dict[str, type | tuple[type, ...]] = {
    "processor": str,
    "cores": int,
    "instructions": list,
    "memory_gib": (int, float, type(None)),
    "system": str,
}
# What matrix products and their element types are computed with, by the names of Linux.
INSTRUCTIONS = (
    *("sse4_2", "avx", "fma", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)
APPLE = {"FEAT_DotProd": "asimddp", "FEAT_I8MM": "i8mm", "FEAT_BF16": "bf16", "FEAT_FP16": "asimdhp", "FEAT_SME": "sme"}


class RecordError(Exception):
    """A file is not the result of a step; the message says what is wrong with it, and what to do."""


class Record(NamedTuple):
    """What a step has written."""

    step: str
    command: str
    commit: str
    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    seconds: float
    results: dict[str, Any]


def summary(values: Sequence[float]) -> dict[str, float]:
    """The form of a time or a rate: median, spread (interquartile range / median) and number of rounds.

    Example:
        >>> summary([1.0, 2.0, 3.0])
        {'median': 2.0, 'spread': 0.5, 'rounds': 3}
    """
    middle = statistics.median(values)
    low, high = np.percentile(values, [25, 75])
    return {"median": middle, "spread": float(high - low) / middle if middle else 0.0, "rounds": len(values)}


def write(
    path: Path,
    step: str,
    command: str,
    seconds: float,
    results: Mapping[str, Any],
    versions: Mapping[str, str] | None = None,
) -> None:
    """Writes a step's file, whole or not at all.

    Args:
        path: The file; its folder is made where it is absent.
        step: The step's name, such as "throughput".
        command: What makes the file again, from the root of the repository.
        seconds: Wall time of the step.
        results: The step's own; numbers that are not finite are refused.
        versions: Versions of the programs that were measured, beside those of oxembed, onnxruntime, numpy and Python.

    Raises:
        ValueError: `results` hold a number that is not finite.
        OSError: The file cannot be written.
    """
    values = {
        "step": step,
        "command": command,
        "commit": measured_commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "versions": {**own_versions(), **(versions or {})},
        "seconds": round(seconds, 1),
        "results": dict(results),
    }
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read(path: Path) -> Record:
    """The contents of a step's file.

    Raises:
        RecordError: The file is absent, or not what `write` writes.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordError(f"there is no file {path}: run `make bench`, or the step that writes it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise RecordError(f"{path} is not JSON ({error}): delete it and run the step again") from None
    _check(values, FIELDS, f"{path}")
    _check(values["machine"], MACHINE, f"{path}: machine")
    for name, version in values["versions"].items():
        if not isinstance(version, str):
            raise RecordError(f"{path}: versions: {name} must be text, not {version!r}")
    if not math.isfinite(values["seconds"]) or values["seconds"] < 0:
        raise RecordError(f"{path}: seconds must be a time, not {values['seconds']!r}")
    return Record(**values)


def _check(values: Any, expected: Mapping[str, type | tuple[type, ...]], where: str) -> None:
    """Raises RecordError unless `values` has exactly the expected keys, and values of these types."""
    if not isinstance(values, dict):
        raise RecordError(f"{where}: expected an object, not {type(values).__name__}")
    if absent := sorted(expected.keys() - values.keys()):
        raise RecordError(f"{where}: {', '.join(absent)} is absent: delete the file and run the step again")
    if surplus := sorted(values.keys() - expected.keys()):
        raise RecordError(f"{where}: nothing is known of {', '.join(surplus)}: was it written by another version?")
    for name, kind in expected.items():
        if not isinstance(values[name], kind) or isinstance(values[name], bool):
            raise RecordError(f"{where}: {name} has a value of the wrong kind: {values[name]!r}")


def commit() -> str:
    """The commit of these sources, with "+changes" where they are not what it has, or "unknown" without git."""
    found = _said_by("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD")
    changes = _said_by("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
    return UNKNOWN if not found else f"{found}+changes" if changes else found


def measured_commit() -> str:
    """The commit that this process was started from, with "+changes" where the sources have changed since."""
    return STARTED_FROM if commit() == STARTED_FROM else f"{STARTED_FROM.removesuffix('+changes')}+changes"


def machine() -> dict[str, Any]:
    """Facts about this machine that figures depend on, and none that tell whose it is."""
    facts = _processor_facts()
    return {
        "processor": facts.get("model name") or platform.processor() or platform.machine(),
        "cores": doctor().threads.used,
        "instructions": [name for name in INSTRUCTIONS if name in facts.get("flags", "").split()],
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.release()}",
    }


def _processor_facts() -> dict[str, str]:
    """The processor's name and instructions, where the system tells; both may be absent."""
    if sys.platform == "darwin":
        flags = [ours for theirs, ours in APPLE.items() if _said_by("sysctl", "-n", f"hw.optional.arm.{theirs}") == "1"]
        return {"model name": _said_by("sysctl", "-n", "machdep.cpu.brand_string"), "flags": " ".join(flags)}
    facts: dict[str, str] = {}
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return facts
    for line in lines:
        name, _, value = line.partition(":")
        # The processors of one machine are alike; Arm has its instructions under another name.
        facts.setdefault({"Features": "flags"}.get(name.strip(), name.strip()), value.strip())
    return facts


def _memory_gib() -> float | None:
    """Memory of the machine; None where the system does not say."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def own_versions() -> dict[str, str]:
    """Versions of what every step runs with."""
    return {
        "oxembed": oxembed.__version__,
        "onnxruntime": load_runtime(),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _said_by(*command: str) -> str:
    """What a program prints; nothing where it is absent or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False, encoding="utf-8")
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


# Asked when a step starts: what it has loaded is of then, whatever is committed while it measures.
STARTED_FROM = commit()
