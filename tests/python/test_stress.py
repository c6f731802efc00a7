"""The stress program, briefly: `make stress` runs it for ten minutes. And that it sees what it looks for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import PATIENCE, script_module

STRESS = Path(__file__).resolve().parents[1] / "stress"
BRIEFLY = ["--minutes", "0.05", "--round", "0.5", "--warm-up", "1"]


def module(name: str) -> ModuleType:
    """A file of the stress program, which is not a package."""
    return script_module(STRESS / f"{name}.py")


def stressed(*arguments: str, timeout: float = 5 * PATIENCE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(STRESS / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, encoding="utf-8")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The right vectors of the texts of seed 1."""
    file = tmp_path_factory.mktemp("truth") / "truth.npz"
    subprocess.run([sys.executable, str(STRESS / "truth.py"), "1", str(file)], check=True, timeout=PATIENCE)
    return file


def test_every_vector_is_right_and_nothing_is_left_behind(known: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    done = stressed(*BRIEFLY, "--seed", "1", "--truth", str(known), "--log", str(log))
    assert (done.stderr, done.returncode) == ("", 0), done.stdout
    *_, last = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert last["counts"]["parallel calls"] == 1000
    expected = {"aencode", "aencode, cancelled", "processes, spawn", "wrong_type", "closed_early"}
    if sys.platform != "win32":
        expected |= {"processes, fork", "processes, forked in the middle of calls", "encode, interrupted"}
    assert expected <= set(last["counts"])


def test_a_wrong_vector_fails_the_run_and_is_named(known: Path, tmp_path: Path) -> None:
    with np.load(known) as stored:
        vectors = {name: stored[name].copy() for name in stored.files}
    for dtype in ("float32", "int8"):
        vectors[dtype][7, 3] += 1e-4
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, **vectors)
    done = stressed(*BRIEFLY, "--seed", "1", "--truth", str(wrong), "--parallel", "40")
    assert done.returncode == 1
    assert "is off by 0.0001" in done.stderr
    assert "The text is number 7" in done.stderr
    assert "--seed 1" in done.stderr


def test_growth_is_seen() -> None:
    gauge = module("gauge")
    mib, noise = gauge.MIB, np.random.default_rng(5).normal(0, 1, 40)

    def complaints(occupied: float = 0, in_use: float = 0, threads: int = 8, files: int = 9) -> list[str]:
        readings = [
            gauge.Reading(
                8, 9, int(3e8 + n * occupied + 2 * mib * noise[n]), int(1e8 + n * in_use + mib / 4 * noise[n])
            )
            for n in range(40)
        ]
        found = gauge.complaints([*readings[:-1], readings[-1]._replace(threads=threads, files=files)])
        return [line.split(" not level")[0] for line in found]

    assert complaints() == []
    assert complaints(in_use=mib / 4) == ["memory in use is"]
    assert complaints(occupied=4 * mib) == ["memory is"]
    assert complaints(threads=9) == ["threads are"]
    assert complaints(files=10) == ["open files are"]
    assert gauge.growth([int(value) for value in np.arange(10) * mib]).rise == pytest.approx(9 * mib)


def test_a_step_of_an_arena_is_no_leak_and_many_steps_are_one() -> None:
    gauge = module("gauge")
    mib, noise = gauge.MIB, np.random.default_rng(6).normal(0, 0.2, 40)

    def complaints(*steps: int, leak: float = 0) -> list[str]:
        risen = [sum(8 for step in steps if step <= n) + n * leak + noise[n] for n in range(40)]
        found: list[str] = gauge.complaints([gauge.Reading(8, 9, int(3e8), int(mib * (160 + each))) for each in risen])
        return found

    assert complaints(20) == complaints(3, 11, 30, 31) == []
    assert "memory in use is not level" in complaints(20, leak=0.25)[0], "a step does not hide a leak"
    assert "memory in use is not level" in complaints(*range(2, 40, 3))[0], "what steps all the time leaks"
    up_and_down = [160 * mib, 168 * mib, 160 * mib, 160 * mib]
    assert gauge.without_steps(up_and_down) == up_and_down


@pytest.mark.skipif(sys.platform != "linux", reason="only the GNU C library tells")
def test_memory_in_use_is_seen() -> None:
    import ctypes

    heap, library = module("heap"), ctypes.CDLL(None)
    before = heap.in_use()
    if before is None:
        pytest.skip("only the GNU C library tells")
    library.malloc.restype = ctypes.c_void_p
    blocks = [ctypes.c_void_p(library.malloc(size)) for size in (100_000, 50_000_000)]
    assert heap.in_use() - before == pytest.approx(50_100_000, abs=50_000)
    for block in blocks:
        library.free(block)
    assert heap.in_use() - before == pytest.approx(0, abs=50_000)


@pytest.mark.parametrize("wrong", [["--minutes", "0"], ["--seed", "x"], ["--threads", "-1"]])
def test_wrong_usage(wrong: list[str]) -> None:
    assert stressed(*wrong).returncode == 2
