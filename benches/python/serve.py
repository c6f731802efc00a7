"""What the service costs over the library, and what others' services do with the same model and texts.

    python benches/python/serve.py --json .bench/serve.json
    python benches/python/serve.py --only oxembed --seconds 3 --rounds 2        # a look

In every round, one after the other and in another order: the library alone (all texts in one call; one text a call),
and each server by the load generator of `benches/load`, with one short text a request: on many connections as fast as
it goes, at half of that rate as clients come who do not wait for each other, and on one connection. Servers that are
not being measured are stopped. Where a server cannot be installed its row says why. Nothing else should run on the
machine meanwhile.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import record
from peers_environment import PeerError
from record import summary
from serve_load import built, load, write_bodies
from serve_report import TARGETS
from serve_sides import MODEL_NAME, Plan, Server, ServerError, plans
from timing import in_rounds

from oxembed import Embedder
from oxembed._arguments.model import positive

MODEL = record.ROOT / "models" / MODEL_NAME
TEXTS = record.ROOT / "data" / "short_texts.txt"
OWN = "oxembed"
COMPARED = 40
SINGLES = 500
# Of another program's vectors in float32, as in peers_measurements.
SMALLEST_COSINE = 0.999


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    parser.add_argument("--only", metavar="A,B", help="only these servers, by the start of their names")
    parser.add_argument("--rounds", type=positive, default=5, help="times everything is measured (default: 5)")
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds of each load (default: 8)")
    parser.add_argument("--connections", type=positive, default=64, help="connections of the load (default: 64)")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N texts (default: all)")
    parser.add_argument("--skip-install", action="store_true", help="use what is installed, install nothing")
    parser.add_argument("--generator", type=Path, metavar="FILE", help="a load generator that is built already")
    parser.add_argument("--bench", type=Path, default=record.ROOT / ".bench", help="folder for what is kept")
    return parser.parse_args()


class Measurement:
    """The library and the servers, and what was found of each in each round."""

    def __init__(self, arguments: argparse.Namespace, scratch: Path) -> None:
        self.arguments = arguments
        self.kept = arguments.bench.resolve() / "peers"
        texts = TEXTS.read_text(encoding="utf-8").splitlines()
        self.texts = [text for text in texts if text][: arguments.limit]
        self.program = arguments.generator or built(self.kept / "load")
        self.bodies = {
            encoding: write_bodies(scratch / f"{encoding}.jsonl", self.texts, encoding)
            for encoding in ("float", "base64")
        }
        self.embedder = Embedder(str(MODEL), provider="cpu")
        self.expected = self.embedder.encode(self.texts[:COMPARED], normalize_embeddings=True)
        self.scratch = scratch
        self.servers: dict[str, Server] = {}
        self.found: dict[str, dict[str, list[float]]] = {}
        self.failed: dict[str, str] = {}

    def note(self, side: str, **figures: float) -> None:
        """Adds the figures of a round."""
        for name, value in figures.items():
            self.found.setdefault(side, {}).setdefault(name, []).append(value)

    def library(self) -> None:
        """All texts in one call, then single ones."""
        start = time.perf_counter()
        self.embedder.encode(self.texts)
        bulk = len(self.texts) / (time.perf_counter() - start)
        times = []
        for text in self.texts[:: max(1, len(self.texts) // SINGLES)]:
            start = time.perf_counter()
            self.embedder.encode(text)
            times.append((time.perf_counter() - start) * 1e3)
        self.note(
            "library",
            texts_per_second=bulk,
            single_ms=statistics.median(times),
            single_p99_ms=float(np.percentile(times, 99)),
        )

    def load(self, server: Server, encoding: str, connections: int, rate: float | None = None) -> dict[str, Any]:
        """A load on a server; others are stopped."""
        seconds, bodies = self.arguments.seconds, self.bodies[encoding]
        return load(self.program, server.url, bodies, connections=connections, seconds=seconds, rate=rate)

    def measure(self, server: Server) -> None:
        """A round of a server."""
        many = self.arguments.connections
        full = self.load(server, "float", many)
        self.note(server.name, texts_per_second=full["requests_per_second"], p99_ms=full["milliseconds"]["p99"])
        alone = self.load(server, "float", 1)["milliseconds"]
        self.note(server.name, lone_ms=alone["p50"])
        if server.name == OWN:
            coded = self.load(server, "base64", many)
            self.note(server.name, base64_texts_per_second=coded["requests_per_second"])
            half = self.load(server, "float", many, rate=full["requests_per_second"] / 2)["milliseconds"]
            self.note(server.name, half_load_p50_ms=half["p50"], half_load_p99_ms=half["p99"])

    def turn(self, server: Server) -> None:
        """Let a server run, and no other; what goes wrong is the end of it alone."""
        try:
            server.resume()
            self.measure(server)
            server.suspend()
        except PeerError as error:
            self.give_up(server.name, error)

    def is_out(self, side: Server | None) -> bool:
        """Whether a server was given up; the library is none."""
        return side is not None and side.name in self.failed

    def give_up(self, name: str, error: PeerError) -> None:
        """Nothing more is asked of a server."""
        sys.stderr.write(f"{name}: {error}\n")
        self.failed[name] = str(error)
        if (server := self.servers.pop(name, None)) is not None:
            server.stop()
        if name == OWN:
            raise ServerError(f"the service itself: {error}")

    def start(self, plan: Plan) -> None:
        """Starts a server and sees that it answers the same question."""
        sys.stderr.write(f"starting {plan.name} ...\n")
        try:
            server = Server(plan, self.scratch / "logs" / f"{len(self.servers)}.log")
            self.servers[plan.name] = server
            for encoding in ("float", "base64") if plan.name == OWN else ("float",):
                rows = server.embed(self.texts[:COMPARED], encoding)
                cosine = float((rows * self.expected).sum(axis=1).min() / np.linalg.norm(rows, axis=1).max())
                if rows.shape != self.expected.shape or cosine < SMALLEST_COSINE:
                    raise ServerError(f"its vectors are others: cosine {cosine:.4f}")
            server.suspend()
        except PeerError as error:
            self.give_up(plan.name, error)

    def run(self) -> None:
        """All rounds."""
        found, failed = plans(MODEL, self.kept, may_install=not self.arguments.skip_install)
        asked = None if self.arguments.only is None else tuple(self.arguments.only.split(","))
        self.failed.update({name: why for name, why in failed.items() if asked is None or name.startswith(asked)})
        chosen = [plan for name, plan in found.items() if name == OWN or asked is None or name.startswith(asked)]
        try:
            self.starts(next(plan for plan in chosen if plan.name == OWN))
            for plan in chosen:
                self.start(plan)
            sides = (None, *self.servers.values())
            for number, turns in in_rounds(sides, self.arguments.rounds, self.is_out):
                sys.stderr.write(f"round {number + 1} of {self.arguments.rounds} ...\n")
                for side in turns:
                    self.library() if side is None else self.turn(side)
        finally:
            for server in self.servers.values():
                server.stop()

    def starts(self, plan: Plan) -> None:
        """How long a start takes until the first answer; the first, which reads files from the disk, does not count."""
        for number in range(self.arguments.rounds + 1):
            server = Server(plan, self.scratch / "logs" / "start.log")
            server.stop()
            if number:
                self.note(OWN, seconds_to_ready=server.seconds_to_ready)

    def ratios(self) -> dict[str, list[float]]:
        """The figures that are held to targets, each within its round."""
        library, own = self.found["library"], self.found[OWN]
        pairs = {
            "share_of_bulk": (own["texts_per_second"], library["texts_per_second"]),
            "base64_share_of_bulk": (own["base64_texts_per_second"], library["texts_per_second"]),
            "p99_at_half_load_over_single": (own["half_load_p99_ms"], library["single_ms"]),
            "p99_at_half_load_over_single_p99": (own["half_load_p99_ms"], library["single_p99_ms"]),
            "single_p99_over_single": (library["single_p99_ms"], library["single_ms"]),
        }
        ratios = {name: [one / other for one, other in zip(*pair, strict=True)] for name, pair in pairs.items()}
        ratios["lone_overhead_ms"] = [
            one - other for one, other in zip(own["lone_ms"], library["single_ms"], strict=True)
        ]
        ratios["seconds_to_ready"] = own["seconds_to_ready"]
        for name, figures in self.found.items():
            theirs = figures["texts_per_second"]
            if name not in (OWN, "library") and len(theirs) == len(own["texts_per_second"]):
                key = "over_fastapi" if name.startswith("FastAPI") else f"over_{name}"
                ratios[key] = [one / other for one, other in zip(own["texts_per_second"], theirs, strict=True)]
        return ratios

    def results(self) -> dict[str, Any]:
        """As they are written."""
        rows = {side: {name: summary(values) for name, values in found.items()} for side, found in self.found.items()}
        ratios = {name: {**summary(values), **target(name, values)} for name, values in self.ratios().items()}
        return {
            "texts": len(self.texts),
            "connections": self.arguments.connections,
            "seconds": self.arguments.seconds,
            "sides": rows,
            "ratios": ratios,
            "not_measured": self.failed,
        }


def target(name: str, values: list[float]) -> dict[str, Any]:
    """What a figure is held to, and whether it keeps to it."""
    if name not in TARGETS:
        return {}
    sign, limit = TARGETS[name]
    middle = statistics.median(values)
    return {"target": limit, "is_met": middle >= limit if sign == ">=" else middle <= limit}


def as_text(results: dict[str, Any]) -> str:
    """For the terminal."""
    lines = []
    for side, figures in results["sides"].items():
        lines += [f"{side}: " + ", ".join(f"{name} {found['median']:.3f}" for name, found in figures.items())]
    for name, found in results["ratios"].items():
        verdict = (
            "" if "target" not in found else f", target {found['target']}: {'met' if found['is_met'] else 'MISSED'}"
        )
        lines.append(f"{name}: {found['median']:.3f} (spread {found['spread']:.2f}){verdict}")
    lines += [f"{name}: {why}" for name, why in results["not_measured"].items()]
    return "\n".join(lines) + "\n"


def command_of(arguments: argparse.Namespace) -> str:
    """What makes the results again, from the root of the repository."""
    words = ["python", "benches/python/serve.py", "--json", ".bench/serve.json"]
    for name in ("only", "rounds", "seconds", "connections", "limit"):
        if (value := getattr(arguments, name)) is not None:
            words += [f"--{name}", str(value)]
    return shlex.join(words)


def main() -> int:
    """Measure and write; return 0, or 1 after a line about what keeps it from that, or 130 after Ctrl-C."""
    arguments = parse()
    start = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            measurement = Measurement(arguments, Path(scratch))
            measurement.run()
            results = measurement.results()
        if arguments.json is not None:
            record.write(arguments.json, "serve", command_of(arguments), time.perf_counter() - start, results)
    except (PeerError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was written\n")
        return 130
    sys.stdout.write(as_text(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
