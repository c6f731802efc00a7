"""Stress: mixed calls from threads, processes, tasks and forks, every vector checked, nothing left behind.

    python tests/stress/run.py --minutes 10
    python tests/stress/run.py --minutes 1 --seed 7 --log stress.jsonl

Exit status: 0 where every row was right and memory, threads and open files were level; 1 where not; 2 for wrong usage.
A call that hangs ends the run, with the stack of every thread.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TextIO

sys.path.insert(0, str(Path(__file__).parent))  # for processes that are spawned, too

import calls
import children
import crowd
import gauge
import heap
import interrupts
import tasks
from tally import Tally
from truth import DTYPES, Truth, read

from oxembed import Embedder

HANGING_S = 300


class Run(NamedTuple):
    """What the parts of a run share."""

    models: dict[str, Embedder]
    truth: Truth
    tally: Tally
    seed: int
    threads: int

    def chance(self, *names: object) -> random.Random:
        return random.Random("/".join(str(name) for name in (self.seed, *names)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Stress oxembed and check every vector.")
    parser.add_argument("--minutes", type=float, default=10, help="time for the mixed calls (default: 10)")
    parser.add_argument("--round", type=float, default=10, help="seconds between two readings (default: 10)")
    parser.add_argument("--warm-up", type=int, default=3, help="rounds before the first reading counts (default: 3)")
    parser.add_argument("--seed", type=int, help="the same texts and the same draws again (default: a new one)")
    parser.add_argument("--parallel", type=int, default=1000, help="calls that begin at once (default: 1000)")
    parser.add_argument("--threads", type=int, default=6, help="threads that make calls (default: 6)")
    parser.add_argument("--truth", type=Path, help="vectors that truth.py wrote, in place of computing them")
    parser.add_argument("--log", type=Path, help="write one line of JSON for each round")
    options = parser.parse_args()
    if min(options.minutes, options.round, options.warm_up, options.parallel, options.threads) <= 0:
        parser.error("every number has to be more than 0")
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    return options


def known(options: argparse.Namespace) -> Truth:
    """The right vectors, of a process in which nothing else runs."""
    if options.truth is not None:
        return read(options.truth, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "truth.npz"
        program = str(Path(__file__).with_name("truth.py"))
        subprocess.run([sys.executable, program, str(options.seed), str(file)], check=True, timeout=HANGING_S)
        return read(file, options.seed)


def one_round(run: Run, number: int, seconds: float) -> None:
    """Calls of every kind at the same time, for some seconds; ends when all of them have ended."""
    until = time.monotonic() + seconds

    def going_on() -> bool:
        return time.monotonic() < until and not run.tally.failed.is_set()

    def guarded(name: str, work: Callable[[], None]) -> threading.Thread:
        def body() -> None:
            try:
                work()
            except BaseException as error:
                run.tally.fail(f"round {number}, {name}", error)

        return threading.Thread(target=body, name=name)

    def caller(name: str) -> Callable[[], None]:
        chance = run.chance(number, name)

        def work() -> None:
            # One at least: on a busy machine a round may be over before all threads have begun.
            calls.make(run.models, run.truth, chance, run.tally, calls.KINDS)
            while going_on():
                calls.make(run.models, run.truth, chance, run.tally, calls.KINDS)

        return work

    def other_processes() -> None:
        children.pooled("spawn", run.models, run.truth, f"{run.seed}/{number}/spawn", run.tally)

    def event_loop() -> None:
        tasks.run(run.models, run.truth, run.chance(number, "tasks"), run.tally, until)

    names = [f"caller {position}" for position in range(run.threads)]
    threads = [guarded(name, caller(name)) for name in names]
    threads += [guarded("processes", other_processes), guarded("tasks", event_loop)]
    for thread in threads:
        thread.start()
    try:
        main_thread(run, number, going_on)
    except BaseException as error:
        run.tally.fail(f"round {number}, main thread", error)
    for thread in threads:
        thread.join()


def main_thread(run: Run, number: int, going_on: Callable[[], bool]) -> None:
    """What only the main thread can do, or does best: interrupted calls, and forks beside the other threads."""
    chance = run.chance(number, "main thread")
    turn = 0
    while turn == 0 or going_on():
        if interrupts.POSSIBLE:
            interrupts.run(run.models, run.truth, chance, run.tally)
        if children.FORKS:
            children.forked(run.models, run.truth, f"{run.seed}/{number}/fork/{turn}", run.tally)
            if turn == 0:
                children.pooled("fork", run.models, run.truth, f"{run.seed}/{number}/pool", run.tally)
        if not interrupts.POSSIBLE and not children.FORKS:
            time.sleep(0.1)
        turn += 1


def rounds(run: Run, options: argparse.Namespace, log: TextIO | None) -> list[gauge.Reading]:
    """All rounds; the readings after the warm-up, and after each round from then on."""
    readings: list[gauge.Reading] = []
    end, number = time.monotonic() + options.minutes * 60, 0
    while not run.tally.failed.is_set() and (time.monotonic() < end or len(readings) < 3):
        faulthandler.dump_traceback_later(options.round + HANGING_S, exit=True)
        one_round(run, number, options.round)
        faulthandler.cancel_dump_traceback_later()
        reading = gauge.read(readings[0] if readings else None)
        if number + 1 >= options.warm_up:
            readings.append(reading)
        calls_made = sum(run.tally.counts.values())
        warm_up = " (warm-up)" if number + 1 < options.warm_up else ""
        print(f"round {number:3}: {reading}; {calls_made} calls{warm_up}", flush=True)
        if log is not None:
            line = {"round": number, **reading._asdict(), "counts": dict(run.tally.counts), "texts": run.tally.texts}
            log.write(json.dumps(line) + "\n")
            log.flush()
        number += 1
    return readings


def report(run: Run, readings: list[gauge.Reading], minutes: float) -> int:
    """Print what ran and what is wrong; the exit status."""
    failures = list(run.tally.failures)
    if not failures:
        failures = gauge.complaints(readings)
        print(f"after the warm-up: {readings[0]}")
        print(f"at the end:        {readings[-1]}")
        in_use = [reading.in_use for reading in readings if reading.in_use is not None]
        for what, values in (("memory", [reading.occupied for reading in readings]), ("memory in use", in_use)):
            if values:
                line = gauge.growth(values)
                rise = f"{line.rise / gauge.MIB:+.1f} MiB (± {line.error / gauge.MIB:.1f})"
                print(f"{what}, by a line through all readings after the warm-up: {rise}")
    for kind, times in sorted(run.tally.counts.items()):
        print(f"  {times:8} {kind}")
    print(f"{sum(run.tally.counts.values())} calls, {run.tally.texts} vectors checked, {minutes:.1f} minutes")
    for failure in failures:
        print(f"\nFAIL  {failure}", file=sys.stderr)
    if failures:
        print(f"\nThe same texts and draws again: --seed {run.seed}", file=sys.stderr)
    return 1 if failures else 0


def main() -> int:
    """Stress as the command line says; return the exit status."""
    options = arguments()
    heap.have_few_arenas()
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"seed {options.seed}; Python {sys.version.split()[0]} {'with' if gil else 'without'} the GIL", flush=True)
    logging.getLogger("oxembed").setLevel(logging.ERROR)  # texts that are cut are meant to be
    start = time.monotonic()
    faulthandler.dump_traceback_later(2 * HANGING_S, exit=True)
    truth = known(options)
    how = ", ".join(f"{dtype} {'the same bits' if not truth.allowed[dtype] else 'near'}" for dtype in DTYPES)
    print(f"{len(truth.texts)} texts with known vectors: {how}", flush=True)
    models = {dtype: Embedder(dtype=dtype, provider="cpu") for dtype in DTYPES}
    run = Run(models, truth, Tally(), options.seed, options.threads)
    crowd.run(options.parallel, models, truth, run.tally)
    faulthandler.cancel_dump_traceback_later()
    print(f"{run.tally.counts['parallel calls']} parallel calls: {gauge.read()}", flush=True)
    log = options.log.open("w", encoding="utf-8") if options.log else None
    try:
        readings = rounds(run, options, log)
    finally:
        if log is not None:
            log.close()
    return report(run, readings, (time.monotonic() - start) / 60)


if __name__ == "__main__":
    sys.exit(main())
