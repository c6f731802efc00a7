"""What `peers.py` measures: rounds in which each peer does the same work while all others are stopped."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from cold_start import QUERY
from numpy.typing import NDArray
from peers_catalogue import ANOTHER, LOWER, OXEMBED, OXEMBED_INT8, REFERENCES, Row
from peers_environment import Environments, PeerError
from peers_models import MODULES, Models
from peers_process import PeerProcess, clean_environment
from record import ROOT, summary
from timing import in_rounds, percentiles

# Below this a peer's float32 is not the same arithmetic on the same model: its speed is no comparison.
SMALLEST_COSINE = 0.999
# Two programs in float32 agree to this; half precision does not.
EXACT_COSINE = 0.99999
SINGLE_RUNS = 40
# Texts whose vectors are compared, at least; a slow peer takes a minute for all of them.
COMPARED_TEXTS = 250
# Seconds for the answer of a peer that needs no time.
LIKELY_PATIENCE = 15


@dataclass(frozen=True)
class Work:
    """What all peers are given."""

    texts: Sequence[str]
    tokens: int
    rounds: int
    threads: int
    patience: float
    # Seconds after which a peer is in no more rounds.
    budget: float


@dataclass
class Side:
    """A row, its process, and what is known of it so far."""

    row: Row
    process: PeerProcess | None = None
    vectors: NDArray[np.float32] | None = None
    load_seconds: float = 0.0
    note: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    # By the number of the round: what is slow leaves some out.
    rounds: dict[int, dict[str, float]] = field(default_factory=dict)
    single: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    failure: str | None = None

    def fail(self, error: PeerError) -> None:
        """Nothing more is asked of it."""
        # It is published, and where the repository lies on a machine is of no interest elsewhere.
        self.failure = str(error).replace(f"{ROOT}{os.sep}", "")
        sys.stderr.write(f"{self.row.name}: {error}\n")
        if self.process is not None:
            self.process.kill()
            self.process = None


class Measurement:
    """Peers measured with the same work; files are kept below `folder`."""

    def __init__(self, work: Work, folder: Path, environments: Environments, models: Models) -> None:
        self.work = work
        self.folder = folder
        self.environments = environments
        self.models = models
        self.texts_file = folder / "texts.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.texts_file.write_text(json.dumps(list(work.texts)), encoding="utf-8")

    def measure(self, rows: Sequence[Row]) -> list[Side]:
        """All `rows`, at once: what is loaded waits stopped until it is its turn."""
        sides = [Side(row) for row in rows]
        try:
            for side in sides:
                self._start(side)
            for number, turns in in_rounds(sides, self.work.rounds, self._has_enough):
                sys.stderr.write(f"round {number + 1} of {self.work.rounds} ...\n")
                for side in turns:
                    self._turn(side, self._round, number)
            for side in sides:
                self._turn(side, self._finish)
        finally:
            for side in sides:
                if side.process is not None:
                    side.process.kill()
        return sides

    def _start(self, side: Side) -> None:
        sys.stderr.write(f"loading {side.row.name} ...\n")
        try:
            command, settings = self._settings(side.row)
            variables = clean_environment(self.folder, MODULES)
            log = self.folder / "logs" / f"{file_name(side.row.name)}.log"
            side.process = PeerProcess(command, variables, log, self.work.patience)
        except PeerError as error:
            side.fail(error)
            return
        self._turn(side, self._load, settings)

    def _load(self, side: Side, process: PeerProcess, settings: dict[str, Any]) -> None:
        loaded = process.ask("load", settings=settings)
        side.load_seconds, side.versions = loaded["seconds"], loaded["versions"]
        side.note = process.ask("texts", file=str(self.texts_file), batches=list(side.row.batches))["note"]
        file = self.folder / "vectors" / f"{file_name(side.row.name)}.npy"
        file.parent.mkdir(exist_ok=True)
        # Which is the warm-up as well.
        start = time.perf_counter()
        every = max(1, len(self.work.texts) // COMPARED_TEXTS)
        process.ask("vectors", file=str(file), every=every)
        # Who has done a part of it does all of it in about that many times as long, or hangs.
        seconds = (time.perf_counter() - start) * every
        process.patience = min(process.patience, LIKELY_PATIENCE + 20 * seconds)
        side.vectors = checked(file, len(self.work.texts[::every]))

    def _settings(self, row: Row) -> tuple[list[str], dict[str, Any]]:
        settings: dict[str, Any] = {**row.settings, "threads": self.work.threads}
        if row.batches:
            settings["batches"] = list(row.batches)
        if row.command:
            return list(row.command), {**settings, "folder": str(self.models.folder)}
        known = self.environments.known[row.environment]
        # First, as nothing need be made for a peer that cannot be installed.
        python = self.environments.python(row.environment)
        if known.binary:
            settings["binary"] = str(self.environments.binary(row.environment))
        for key, form in row.models.items():
            settings[key] = str(self.models.path(form))
        return [str(python), "-P", "-m", "peer", row.program] if row.program else [settings["binary"]], settings

    def _has_enough(self, side: Side) -> bool:
        """Whether a peer has been measured for long enough. oxembed is in all rounds: the others need its times."""
        spent = sum(found["seconds"] for found in side.rounds.values())
        return side.row not in REFERENCES.values() and spent > self.work.budget

    def _round(self, side: Side, process: PeerProcess, number: int) -> None:
        whole = process.ask("round")
        single = process.ask("single", text=QUERY, runs=SINGLE_RUNS)["seconds"]
        side.rounds[number] = whole
        side.single.extend(single)

    def _finish(self, side: Side, process: PeerProcess) -> None:
        side.peak_bytes = process.ask("finish")["peak_bytes"]

    def _turn(self, side: Side, do: Callable[..., None], *arguments: Any) -> None:
        """Let a peer run, and no other; what goes wrong is the end of it, and of nothing else."""
        if side.process is None:
            return
        try:
            side.process.resume()
            do(side, side.process, *arguments)
            side.process.suspend()
        except PeerError as error:
            side.fail(error)
        except (KeyError, TypeError) as error:
            side.fail(PeerError(f"an answer was not as it should be: {type(error).__name__} {error}"))


def file_name(row: str) -> str:
    """The name of a row as the name of a file."""
    return re.sub(r"\W+", "-", row)


def checked(file: Path, count: int) -> NDArray[np.float32]:
    """The rows in `file`, of which there must be `count`, all of them finite."""
    try:
        vectors: NDArray[np.float32] = np.load(file)
    except (OSError, ValueError) as error:
        raise PeerError(f"wrote no vectors that numpy can read: {error}") from error
    if vectors.ndim != 2 or len(vectors) != count:
        raise PeerError(f"{count} texts gave an array of shape {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise PeerError(f"{int((~np.isfinite(vectors)).any(axis=1).sum())} of {count} vectors are not finite")
    return vectors


def groups(rows: Sequence[Row], together: int) -> Iterator[list[Row]]:
    """Rows that are measured at the same time, as many as memory allows, with oxembed's own among each."""
    peers = [row for row in rows if row not in (OXEMBED, OXEMBED_INT8)]
    for start in range(0, max(1, len(peers)), together):
        group = peers[start : start + together]
        yield [OXEMBED, OXEMBED_INT8, *group]


def cosines(vectors: NDArray[np.float32], expected: NDArray[np.float32]) -> dict[str, float]:
    """The smallest and the mean cosine between rows."""
    first, second = vectors.astype(np.float64), expected.astype(np.float64)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    # A row of zeros agrees with nothing.
    found = np.divide((first * second).sum(axis=1), lengths, out=np.zeros(len(first)), where=lengths > 0)
    return {"smallest": float(found.min()), "mean": float(found.mean())}


def figures(side: Side, sides: Sequence[Side], work: Work, disk_bytes: int | None) -> dict[str, Any]:
    """The row's part of the results; `sides` were measured in the same rounds."""
    row: dict[str, Any] = {"name": side.row.name, "kind": side.row.kind, "note": side.note, "versions": side.versions}
    exact = next(other for other in sides if other.row == OXEMBED)
    if side.vectors is not None and exact.vectors is not None and side.row.kind != ANOTHER:
        row |= compared(side, exact.vectors)
        row["kind"] = kind_of(side.row.kind, row)
    reference = next(other for other in sides if other.row == REFERENCES[row["kind"]])
    for own in (reference, exact):
        if own.failure is not None:
            raise PeerError(f"there is nothing to compare with: {own.row.name} {own.failure}")
    row["failure"] = side.failure or row.get("failure")
    if side.failure is None:
        row |= speed(side, work)
        row |= {"load_seconds": side.load_seconds, "peak_bytes": side.peak_bytes, "disk_bytes": disk_bytes}
        row["against"] = reference.row.name
        row["times_as_slow"] = summary(
            [found["seconds"] / reference.rounds[number]["seconds"] for number, found in side.rounds.items()]
        )
    return row


def kind_of(kind: str, found: Mapping[str, Any]) -> str:
    """What was computed, whatever was asked for: some programs compute in half precision where the processor can.

    Example:
        >>> [kind_of("float32", {"cosine": {"smallest": smallest}}) for smallest in (0.99994, 0.9999999)]
        ['lower precision', 'float32']
    """
    smallest = found["cosine"]["smallest"] if "cosine" in found else 1.0
    return LOWER if kind == "float32" and SMALLEST_COSINE <= smallest < EXACT_COSINE else kind


def compared(side: Side, expected: NDArray[np.float32]) -> dict[str, Any]:
    """The cosines to `expected`, or why there are none; and whether they disqualify."""
    vectors = side.vectors
    assert vectors is not None
    if vectors.shape != expected.shape:
        return {"failure": f"vectors of {vectors.shape[1]} numbers, not {expected.shape[1]}"}
    found = cosines(vectors, expected)
    if side.row.kind == "float32" and found["smallest"] < SMALLEST_COSINE:
        wrong = f"wrong vectors: the smallest cosine to oxembed's is {found['smallest']:.4f}"
        return {"cosine": found, "failure": wrong}
    return {"cosine": found}


def speed(side: Side, work: Work) -> dict[str, Any]:
    """Rates and times of the rounds."""
    count = len(work.texts)
    return {
        "texts_per_second": summary([count / found["seconds"] for found in side.rounds.values()]),
        "tokens_per_second": summary([work.tokens / found["seconds"] for found in side.rounds.values()]),
        "cpu_seconds_per_1000": summary([found["cpu_seconds"] * 1000 / count for found in side.rounds.values()]),
        "one_text": {**percentiles(side.single), "runs": len(side.single)},
    }
