"""Run pytest without the test files that passed before with the same sources, tools, environment and machine.

    python tools/pytest_files.py [ARGUMENTS FOR PYTEST...]

A file counts as passed when each of its tests was set up, run (or skipped for a reason of its own) and torn down
without a failure, and nothing changed until then. They are remembered one by one, so a run that was interrupted or in
which tests failed goes on where it was. A run that ended in any other way, killed or crashed, was not one: nothing of
it is remembered. AGAIN=1 in the environment runs all files. Exit status: pytest's.

Files that wait more than they compute run beside all others, in processes of their own; what those print comes at the
end.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from step import Passed, run

ROOT = Path(__file__).resolve().parents[1]
# Run side by side, with all other files as one more. Tests of a service: each starts one, and waits for it. Tests of
# processes: each starts some, one after the other, and most of the time of those is their start.
LANES = {
    "serve": ("serve_*",),
    "processes": (
        "bench*",
        "faults_*",
        "fork_*",
        "hub_*",
        "interrupt",
        "memory",
        "peers",
        "*provider*",
        "resuming",
        "stress",
    ),
}
# Of pytest.
FAILED, INTERRUPTED, NO_TESTS = 1, 2, 5


class PassedFiles:
    """The plugin that leaves out what passed, and writes down what passes."""

    def __init__(self, passed: Passed) -> None:
        self._memory = passed
        self._now = passed.key()
        before = passed.recorded()
        same = self._now is not None and before.get("key") == self._now and before.get("ended") is True
        files = before.get("files") if same and not os.environ.get("AGAIN") else None
        self._passed = {name for name in files if isinstance(name, str)} if isinstance(files, list) else set[str]()
        passed.record()
        self._left: dict[str, int] = {}
        self._failed: set[str] = set()
        self._omitted = 0

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out the files that passed."""
        again = [item for item in items if self._file(item.nodeid) not in self._passed]
        omitted = [item for item in items if self._file(item.nodeid) in self._passed]
        if omitted:
            items[:] = again
            config.hook.pytest_deselected(items=omitted)
        self._omitted = len(omitted)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tests of each file, after all options have left out what they leave out."""
        for item in session.items:
            file = self._file(item.nodeid)
            self._left[file] = self._left.get(file, 0) + 1

    def pytest_report_collectionfinish(self) -> str:
        """Say what is left out."""
        if not self._omitted:
            return ""
        return f"same  {len(self._passed)} files with {self._omitted} tests passed before with the same sources"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure in any phase."""
        if report.failed:
            self._failed.add(self._file(report.nodeid))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """After the last test of a file, with its teardown: write down that the file has passed."""
        file = self._file(nodeid)
        self._left[file] = self._left.get(file, 0) - 1
        if self._left[file] == 0 and file not in self._failed and self._now and self._memory.key() == self._now:
            self._passed.add(file)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """Write down what passed, with the exit status by which the other process knows that all ended well."""
        if session.exitstatus == NO_TESTS and self._omitted:
            session.exitstatus = 0
        yield
        # Last of all, as others may have set the status. Nothing is known of a failure that is no test's.
        if session.exitstatus != FAILED or self._failed:
            self._memory.record(key=self._now, files=sorted(self._passed), status=int(session.exitstatus))

    @staticmethod
    def _file(nodeid: str) -> str:
        return nodeid.partition("::")[0]


def session(passed: Passed, arguments: list[str]) -> int:
    """Run pytest in this process; return its exit status."""
    # As `python -m pytest` has it: what tests import comes from the folder they are run in, not from this one.
    sys.path.insert(0, str(ROOT))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    return int(pytest.main(arguments, plugins=[PassedFiles(passed)]))


def lanes(arguments: list[str]) -> dict[str, list[str]]:
    """What runs side by side, by name, with its arguments; the first has all files that are in no other."""
    found = {"pytest-files": list(arguments)}
    for name, patterns in LANES.items():
        paths = sorted({path for pattern in patterns for path in ROOT.glob(f"tests/python/test_{pattern}.py")})
        files = [path.relative_to(ROOT).as_posix() for path in paths]
        if files:
            found["pytest-files"] += [f"--ignore={file}" for file in files]
            found[f"pytest-files-{name}"] = [*arguments, *files]
    return found


def remember(passed: Passed, status: int) -> None:
    """Let a session that ended by itself count."""
    found = passed.recorded()
    if found.get("status") == status and status in (0, FAILED, INTERRUPTED):
        passed.record(**{**found, "ended": True})


def main() -> int:
    """Run pytest with the arguments of the command line; return its exit status."""
    if sys.argv[1:2] == ["--session"]:
        _, _, name, *arguments = sys.argv
        return session(Passed(name, arguments), arguments)
    every = lanes(sys.argv[1:])
    # Processes of their own, so that a crash of one, even while the interpreter exits, is seen here.
    commands = [[sys.executable, __file__, "--session", name, *arguments] for name, arguments in every.items()]
    logs = [None, *(ROOT / ".make" / f"{name}.log" for name in list(every)[1:])]
    (ROOT / ".make").mkdir(exist_ok=True)
    statuses, _ = run(*zip(commands, logs, strict=True))
    for (name, arguments), log, status in zip(every.items(), logs, statuses, strict=True):
        remember(Passed(name, arguments), status)
        if log:
            sys.stdout.write(log.read_text(encoding="utf-8", errors="replace"))
    return next((status for status in statuses if status != 0), 0)


if __name__ == "__main__":
    sys.exit(main())
