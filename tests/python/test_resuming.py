"""`make test` goes on where it was, and never hides a failure: the steps of tools/, in a repository of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import PATIENCE

TOOLS = Path(__file__).resolve().parents[2] / "tools"

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="there is no make on every Windows, and without it no steps"),
    pytest.mark.skipif(shutil.which("git") is None, reason="without git no step is remembered"),
]

COUNT = "import pathlib, sys; file = pathlib.Path('.make/runs'); file.open('a').write('x'); sys.exit({status})"


@dataclass
class Repository:
    """A repository with the tools of this one."""

    root: Path

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.root, check=True, capture_output=True)

    def compiler(self, version: str) -> None:
        """Have a Rust of some version."""
        for program in ("cargo", "rustc"):
            self.write(f".make/bin/{program}", f"#!/bin/sh\necho {program} {version}\n").chmod(0o755)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        path = f"{self.root / '.make' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        # What pytest hands to its children, as the name of the running test, is not a part of what is tested here; nor
        # are its plug-ins, which take a second to load.
        ordinary = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        ordinary["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.root,
            env={**ordinary, "PATH": path, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        process = self.start(*arguments, **variables)
        printed, _ = process.communicate(timeout=2 * PATIENCE)
        return process.returncode, printed

    def step(self, *options: str, status: str = "0", code: str = COUNT, **variables: str) -> str:
        """Run a step that counts its runs; return the word that its last line starts with."""
        command = ["tools/step.py", *options, "count", sys.executable, "-c", code.format(status=status)]
        returned, printed = self.run(*command, **variables)
        words = [line.split()[0] for line in printed.splitlines() if line.startswith(("ok ", "same ", "FAIL "))]
        assert words, printed
        assert (returned == 0) == (words[-1] != "FAIL")
        return words[-1]

    def pytest(self, **variables: str) -> tuple[int, str]:
        return self.run("tools/pytest_files.py", "-q", "-p", "no:cacheprovider", **variables)

    def runs(self) -> int:
        file = self.root / ".make" / "runs"
        return len(file.read_text(encoding="utf-8")) if file.exists() else 0


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    shutil.copytree(TOOLS, tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    made.write(".gitignore", ".make/\n__pycache__/\nignored\n*.so\n")
    made.write("source.txt", "one")
    made.compiler("1.95.0")
    made.git("init", "--quiet")
    made.git("add", "--all")
    return made


def test_a_step_that_passed_is_not_run_again(repository: Repository) -> None:
    assert [repository.step(), repository.step(), repository.step()] == ["ok", "same", "same"]
    assert repository.runs() == 1


def test_a_step_that_failed_is_run_again(repository: Repository) -> None:
    assert [repository.step(status="3"), repository.step(status="3")] == ["FAIL", "FAIL"]
    assert repository.runs() == 2


def test_the_exit_status_is_that_of_the_command(repository: Repository) -> None:
    assert repository.run("tools/step.py", "three", sys.executable, "-c", "raise SystemExit(3)")[0] == 3


def test_what_it_printed_is_shown_where_it_fails(repository: Repository) -> None:
    code = "print('what was wrong'); raise SystemExit(1)"
    assert "what was wrong" in repository.run("tools/step.py", "name", sys.executable, "-c", code)[1]


def change_a_tracked_file(repository: Repository) -> dict[str, str]:
    repository.write("source.txt", "two")
    return {}


def change_to_the_same_length_and_time(repository: Repository) -> dict[str, str]:
    path = repository.root / "source.txt"
    before = path.stat()
    path.write_text("two", encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return {}


def remove_a_tracked_file(repository: Repository) -> dict[str, str]:
    (repository.root / "source.txt").unlink()
    return {}


def add_an_untracked_file(repository: Repository) -> dict[str, str]:
    repository.write("new.txt", "")
    return {}


def make_executable(repository: Repository) -> dict[str, str]:
    (repository.root / "source.txt").chmod(0o755)
    return {}


def build_anew(repository: Repository) -> dict[str, str]:
    repository.write("python/oxembed/_core.abi3.so", "another build")
    return {}


def set_a_variable(_repository: Repository) -> dict[str, str]:
    return {"OXEMBED_ANYTHING": "1"}


def update_the_compiler(repository: Repository) -> dict[str, str]:
    repository.compiler("1.96.0")
    return {}


def ask_for_it(_repository: Repository) -> dict[str, str]:
    return {"AGAIN": "1"}


def forget(repository: Repository) -> dict[str, str]:
    shutil.rmtree(repository.root / ".make" / "passed")
    return {}


def tear_the_record(repository: Repository) -> dict[str, str]:
    repository.write(".make/passed/count.json", '{"key": "')
    return {}


@pytest.mark.parametrize(
    "change",
    [
        change_a_tracked_file,
        change_to_the_same_length_and_time,
        remove_a_tracked_file,
        add_an_untracked_file,
        make_executable,
        build_anew,
        set_a_variable,
        update_the_compiler,
        ask_for_it,
        forget,
        tear_the_record,
    ],
    ids=lambda change: change.__name__,
)
def test_a_change_runs_it_again(repository: Repository, change: Callable[[Repository], dict[str, str]]) -> None:
    assert repository.step() == "ok"
    variables = change(repository)
    assert repository.step(**variables) == "ok"
    assert repository.runs() == 2


def test_what_git_ignores_and_another_terminal_change_nothing(repository: Repository) -> None:
    repository.step()
    repository.write("ignored", "anything")
    assert repository.step(TERM="another", SSH_TTY="/dev/pts/7", TMUX="1") == "same"


def test_another_command_is_another_step(repository: Repository) -> None:
    repository.step()
    assert repository.step(code=COUNT + "  # the same, said otherwise") == "ok"


def test_a_source_that_changes_meanwhile_is_not_what_passed(repository: Repository) -> None:
    code = COUNT + "\nwith open('source.txt', 'a') as file: file.write('more')"
    code = code.replace("sys.exit({status})", "{status}")
    assert [repository.step(code=code), repository.step(code=code)] == ["ok", "ok"]


def test_nothing_is_remembered_without_git(repository: Repository) -> None:
    shutil.rmtree(repository.root / ".git")
    assert [repository.step(), repository.step()] == ["ok", "ok"]


def test_always_remembers_nothing(repository: Repository) -> None:
    assert [repository.step("--always"), repository.step("--always"), repository.step()] == ["ok", "ok", "ok"]


def test_what_a_step_makes_has_to_be_there(repository: Repository) -> None:
    code = "import pathlib; pathlib.Path('ignored').write_text('made'); pathlib.Path('.make/runs').open('a').write('x')"
    arguments = {"code": code}
    assert repository.step("--makes", "ignored", **arguments) == "ok"
    assert repository.step("--makes", "ignored", **arguments) == "same"
    repository.write("ignored", "changed")
    assert repository.step("--makes", "ignored", **arguments) == "ok"
    (repository.root / "ignored").unlink()
    assert repository.step("--makes", "ignored", **arguments) == "ok"
    assert repository.runs() == 3


def test_old_products_go_before_new_ones_come(repository: Repository) -> None:
    repository.write("ignored", "of another version")
    assert repository.step("--makes", "ignored") == "ok"
    assert not (repository.root / "ignored").exists()


def test_what_a_step_reads_counts(repository: Repository) -> None:
    repository.write("ignored", "a wheel")
    assert [repository.step("--reads", "ignored"), repository.step("--reads", "ignored")] == ["ok", "same"]
    repository.write("ignored", "another wheel")
    assert repository.step("--reads", "ignored") == "ok"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_step_that_was_stopped_is_not_remembered(repository: Repository, number: signal.Signals) -> None:
    # The command ends when it is told to, and not before; Ctrl-C is for the step alone here, which waits for it.
    wait = (
        "import pathlib, time\nprint('running', flush=True)\n"
        "while not pathlib.Path('.make/told').exists(): time.sleep(0.01)"
    )
    process = repository.start("tools/step.py", "--show", "wait", sys.executable, "-c", wait)
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.send_signal(number)
    repository.write(".make/told", "")
    process.communicate(timeout=PATIENCE)
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert not (repository.root / ".make" / "passed" / "wait.json").exists()


PASSES = "def test_passes(): pass\n"
FAILS = "def test_fails(): assert False\n"
LEAKS = """
import pytest

@pytest.fixture
def leaking():
    yield
    raise RuntimeError("in the teardown")

def test_leaks(leaking): pass
"""
INTERRUPTS = """
import os, signal, time

def test_before(): pass

def test_waits():
    os.kill(os.getpid(), signal.{name})
    time.sleep(600)
"""


def files(repository: Repository, *sources: str) -> None:
    for number, source in enumerate(sources):
        repository.write(f"test_{number}.py", source)


def test_pytest_goes_on_with_the_files_that_did_not_pass(repository: Repository) -> None:
    files(repository, PASSES, FAILS, PASSES)
    status, printed = repository.pytest()
    assert (status, "1 failed, 2 passed" in printed) == (1, True)
    status, printed = repository.pytest()
    assert (status, "1 failed, 2 deselected" in printed) == (1, True)
    assert "2 files with 2 tests passed before" in printed


def test_pytest_runs_everything_after_a_change(repository: Repository) -> None:
    files(repository, PASSES, FAILS)
    repository.pytest()
    files(repository, PASSES, PASSES)
    status, printed = repository.pytest()
    assert (status, "2 passed" in printed, "deselected" in printed) == (0, True, False)


def test_pytest_runs_everything_where_it_is_asked_to(repository: Repository) -> None:
    files(repository, PASSES, FAILS)
    repository.pytest()
    assert "1 failed, 1 passed" in repository.pytest(AGAIN="1")[1]


def test_a_file_whose_teardown_fails_has_not_passed(repository: Repository) -> None:
    files(repository, PASSES, LEAKS)
    for _ in range(2):
        status, printed = repository.pytest()
        assert (status, "1 error" in printed) == (1, True)


def test_a_file_with_a_broken_neighbour_is_not_hidden(repository: Repository) -> None:
    files(repository, PASSES, "import there_is_no_such_module")
    assert [repository.pytest()[0], repository.pytest()[0]] == [2, 2]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_pytest_goes_on_after_an_interruption(repository: Repository, name: str) -> None:
    files(repository, PASSES, INTERRUPTS.format(name=name), PASSES)
    assert repository.pytest()[0] == 2
    status, printed = repository.pytest()
    assert (status, "1 files with 1 tests passed before" in printed) == (2, True)


@pytest.mark.parametrize(
    "crash",
    [
        "def test_crashes():\n import os; os.kill(os.getpid(), 9)\n",
        "def test_crashes_later():\n import atexit, os; atexit.register(os.abort)\n",
    ],
    ids=["in a test", "at the end of the process"],
)
def test_nothing_is_remembered_of_a_crash(repository: Repository, crash: str) -> None:
    files(repository, PASSES, crash)
    for _ in range(2):
        status, printed = repository.pytest()
        assert status < 0 or status > 100
        assert "passed before" not in printed


def test_nothing_is_remembered_of_a_failure_without_a_test(repository: Repository) -> None:
    repository.write("conftest.py", "def pytest_sessionfinish(session): session.exitstatus = 1\n")
    files(repository, PASSES)
    for _ in range(2):
        status, printed = repository.pytest()
        assert (status, "1 passed" in printed) == (1, True)


def test_all_files_passed_before_is_a_pass(repository: Repository) -> None:
    files(repository, PASSES, PASSES)
    assert repository.pytest()[0] == 0
    status, printed = repository.pytest()
    assert (status, "2 deselected" in printed) == (0, True)


MEETS = """
import pathlib, time

def test_meets():
    pathlib.Path(".make/{}").touch()
    end = time.monotonic() + 120
    while not all(pathlib.Path(".make", name).exists() for name in ("one", "two", "three")):
        assert time.monotonic() < end
        time.sleep(0.01)
"""


def test_what_waits_runs_beside_the_others_and_counts_by_itself(repository: Repository) -> None:
    files(repository, MEETS.format("one"), PASSES)
    repository.write("tests/python/test_faults_meet.py", MEETS.format("two"))
    repository.write("tests/python/test_serve_meets.py", MEETS.format("three"))
    repository.write("tests/python/test_serve_fails.py", FAILS)
    status, printed = repository.pytest()
    assert (status, printed.count("2 passed"), "1 failed, 1 passed" in printed) == (1, 1, True)
    status, printed = repository.pytest()
    assert (status, "2 deselected" in printed, "1 failed, 1 deselected" in printed) == (1, True, True)
    repository.write("tests/python/test_serve_fails.py", PASSES)
    status, printed = repository.pytest()
    assert (status, printed.count("2 passed")) == (0, 2)
    assert repository.pytest()[0] == 0


def test_an_end_from_outside_is_the_end_of_all(repository: Repository) -> None:
    waits = "import pathlib, time\ndef test_waits():\n pathlib.Path('.make/{}').touch()\n time.sleep(600)\n"
    files(repository, waits.format("one"))
    repository.write("tests/python/test_serve_waits.py", waits.format("two"))
    process = repository.start("tools/pytest_files.py", "-q", "-p", "no:cacheprovider")
    while not all((repository.root / ".make" / name).exists() for name in ("one", "two")):
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    printed, _ = process.communicate(timeout=PATIENCE)  # which the tests would not end in
    assert (process.returncode, printed.count("KeyboardInterrupt") >= 2) == (2, True), printed


def test_no_tests_at_all_is_not_a_pass(repository: Repository) -> None:
    assert repository.pytest()[0] == 5
