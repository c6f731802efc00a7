"""Run one step of `make test`, unless it passed before with exactly the same sources, tools, environment and machine.

    python tools/step.py NAME COMMAND...

What the command prints is shown where it fails, and kept in .make/NAME.log; with --show it is shown as it comes. A
step is remembered in .make/passed when it has passed and nothing changed while it ran. Whatever is unsure runs again.
AGAIN=1 in the environment runs it in any case, `make clean` forgets all. Exit status: the command's, or 130 where it
was interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from fingerprint import UnknownError, fingerprint

ROOT = Path(__file__).resolve().parents[1]
STOPPED = 130


class Passed:
    """What passed before: a file for each step, with the sum of everything that it passed with."""

    def __init__(self, name: str, command: list[str], root: Path = ROOT, reads: list[str] | None = None) -> None:
        self.file = root / ".make" / "passed" / f"{name}.json"
        self._root, self._command, self._reads = root, command, reads or []

    def key(self) -> str | None:
        """The sum for now; `None` where it cannot be told."""
        try:
            more = [path for pattern in self._reads for path in self._root.glob(pattern)]
            now = fingerprint(self._root, more)
        except UnknownError as error:
            print(f"note: nothing is remembered of this step: {error}", file=sys.stderr)
            return None
        return hashlib.sha256(json.dumps([self._command, now]).encode()).hexdigest()

    def recorded(self) -> dict[str, object]:
        """What is written down; nothing where that is not there or not whole."""
        try:
            found = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def record(self, **facts: object) -> None:
        """Write down facts; nobody sees half of them."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(facts), encoding="utf-8")
        new.replace(self.file)


def products(root: Path, patterns: list[str]) -> list[Path]:
    """The files that a step makes."""
    return sorted(path for pattern in patterns for path in root.glob(pattern))


def sums(root: Path, patterns: list[str]) -> dict[str, str]:
    """The files that a step made, and what is in them."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in products(root, patterns)
    }


def run(*commands: tuple[list[str], Path | None]) -> tuple[list[int], bool]:
    """Run commands side by side to their end; return their exit statuses, and whether somebody wanted them to stop.

    The output of each goes into its file, or where this process's own goes.
    """
    stopped: list[int] = []
    with ExitStack() as sinks:
        processes = []
        for command, log in commands:
            sink = sinks.enter_context(log.open("wb")) if log else None
            processes.append(subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT if sink else None))

        def stop(number: int, _frame: FrameType | None) -> None:
            # A terminal sends Ctrl-C to the commands as well; only what was meant for this process alone is passed on.
            stopped.append(number)
            if number != signal.SIGINT:
                for process in processes:
                    process.send_signal(number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, stop)
        statuses = [process.wait() for process in processes]
    return statuses, bool(stopped)


def main() -> int:
    """Run the step named on the command line, or say that it passed before; return the exit status."""
    parser = argparse.ArgumentParser(description="Run a step of `make test` unless it passed before.")
    parser.add_argument("--show", action="store_true", help="show what the command prints as it comes")
    parser.add_argument("--always", action="store_true", help="run it in any case, and remember nothing")
    parser.add_argument(
        "--makes", action="append", default=[], metavar="GLOB", help="what the command makes; old ones go"
    )
    parser.add_argument("--reads", action="append", default=[], metavar="GLOB", help="what it reads that git ignores")
    parser.add_argument("name")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    name, command = arguments.name, arguments.command

    passed = Passed(name, command, reads=arguments.reads)
    key = None if arguments.always else passed.key()
    before = passed.recorded()
    if key and not os.environ.get("AGAIN") and before.get("key") == key:
        made = sums(ROOT, arguments.makes)
        if before.get("made") == made and bool(made) == bool(arguments.makes):
            print(f"same  {name:<16} passed before with the same sources, in {before.get('seconds')} s", flush=True)
            return 0

    for old in products(ROOT, arguments.makes):
        old.unlink()
    log = None if arguments.show else ROOT / ".make" / f"{name}.log"
    (ROOT / ".make").mkdir(exist_ok=True)
    started = time.monotonic()
    (status,), stopped = run((command, log))
    seconds = round(time.monotonic() - started)
    if stopped:
        print(f"\nstopped {name} after {seconds} s", flush=True)
        return STOPPED
    if status != 0:
        if log:
            sys.stdout.write(log.read_text(encoding="utf-8", errors="replace"))
        print(f"\nFAIL  {name}, by the command:\n      {' '.join(command)}", flush=True)
        return status if status > 0 else 128 - status
    print(f"ok    {name:<16} {seconds:>4} s", flush=True)
    if key and passed.key() == key:
        passed.record(key=key, seconds=seconds, made=sums(ROOT, arguments.makes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
