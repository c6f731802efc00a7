"""SECURITY.md: what it says that nobody else can do, tried, and that each of its claims names a test that is there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PATIENCE

from oxembed import hub

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
# A row of a table of attacks: what is tried, what stops it, and the tests.
ROW = re.compile(r"^\| (?!-|a hostile|what )(.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
TEST = re.compile(r"`([\w/.]+\.(?:py|rs))`: ((?:`\w+`(?:, )?)+)")

# What Python tells of a program: connections, and other processes.
WATCH = """
import json, sys
seen = []
WATCHED = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")
sys.addaudithook(lambda event, arguments: seen.append(event) if event in WATCHED else None)
"""

PLANTED = """
from pathlib import Path
Path(__file__).with_name("was_imported").touch()
def get_library_path(): return "/nowhere/libplanted.so"
def get_ep_name(): return "PlantedExecutionProvider"
"""


def run(code: str, folder: Path, *options: str, **variables: str) -> str:
    """Run Python in a folder, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **variables},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def plant(folder: Path) -> Path:
    """Put the package of a plug-in into a folder; return the file that says that it was imported."""
    package = folder / "onnxruntime_ep_planted"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PLANTED, encoding="utf-8")
    return package / "was_imported"


def test_embedding_opens_no_connection_and_starts_no_process(tmp_path: Path) -> None:
    code = f"""{WATCH}
import oxembed
model = oxembed.Embedder()
model.encode(["a text", "http://example.org/ $(touch x) `id` {{0}} %s ../../etc/passwd"])
print(json.dumps(seen))
"""
    assert json.loads(run(code, tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_connection_would_have_been_seen(tmp_path: Path) -> None:
    """What the test above watches for is told to it."""
    code = f"""{WATCH}
import socket, subprocess
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except OSError:
    pass
subprocess.run([sys.executable, "-c", ""], check=True)
print(json.dumps(sorted(set(seen))))
"""
    assert {"socket.connect", "subprocess.Popen"} <= set(json.loads(run(code, tmp_path)))


def test_a_plug_in_in_the_working_directory_is_not_imported_by_the_command(tmp_path: Path) -> None:
    """The command `oxembed` has the folder of programs on its path, and `python -P` neither."""
    imported = plant(tmp_path)
    code = "from oxembed import _plug_ins; print([found.source for found in _plug_ins.found()])"
    assert "onnxruntime_ep_planted" not in run(code, tmp_path, "-P")
    assert not imported.exists()


def test_whoever_asks_for_the_cpu_imports_no_plug_in(tmp_path: Path) -> None:
    imported = plant(tmp_path / "site")
    code = "import sys, oxembed; sys.path.append({!r}); oxembed.Embedder(provider={!r}).encode('a text')"
    run(code.format(str(tmp_path / "site"), "cpu"), tmp_path)
    assert not imported.exists()
    # The same with a provider that may come of a plug-in: then it would have been seen.
    run(code.format(str(tmp_path / "site"), "auto"), tmp_path, OXEMBED_CACHE=str(tmp_path / "cache"))
    assert imported.exists()


def test_a_text_that_names_a_file_is_a_text(tmp_path: Path) -> None:
    code = """
import numpy, oxembed
model = oxembed.Embedder()
names = ["/etc/passwd", "file:///etc/passwd", "lines.txt"]
before = model.encode(names)
open("lines.txt", "w").write("secret")
assert numpy.array_equal(before, model.encode(names))
print("same")
"""
    assert run(code, tmp_path).strip() == "same"


def test_a_calibration_is_bounded_before_it_is_read(tmp_path: Path) -> None:
    """A sparse file of a terabyte takes no place on the disk, and would take all memory."""
    large = tmp_path / "calibration.json"
    with large.open("wb") as file:
        try:
            file.truncate(1 << 40)
        except OSError as error:
            pytest.skip(f"this file system has no sparse files: {error}")
    code = f"""
from oxembed import Calibration, InvalidInputError
try:
    Calibration.load({str(large)!r})
except InvalidInputError as error:
    print(error)
"""
    assert str(large) in run(code, tmp_path)


@pytest.mark.parametrize("name", ["calibration", "tokenizer", "config", "modules"])
def test_a_pickle_under_another_name_is_not_opened(name: str, tmp_path: Path) -> None:
    """A pickle that writes a file when it is opened, in the place of each file of JSON."""
    folder = tmp_path / "model"
    embedded = hub.embedded_folder()
    assert embedded is not None
    shutil.copytree(embedded, folder)
    code = f"""
import os, pickle, sys
class Hostile:
    def __reduce__(self): return os.mkdir, ({str(tmp_path / "was_opened")!r},)
open({str(folder / f"{name}.json")!r}, "wb").write(pickle.dumps(Hostile()))
import oxembed
try:
    oxembed.Embedder({str(folder)!r}).encode("a text", precision="int8")
except oxembed.OxembedError as error:
    print(type(error).__name__)
"""
    assert run(code, tmp_path).strip() == "InvalidModelError"
    assert not (tmp_path / "was_opened").exists()


def claims() -> list[tuple[str, str]]:
    return [(attack, tests) for attack, _, tests in ROW.findall(PAGE)]


def test_the_page_has_its_claims() -> None:
    assert len(claims()) >= 20


@pytest.mark.parametrize(("attack", "tests"), claims(), ids=[attack[:60] for attack, _ in claims()])
def test_each_claim_names_a_test_that_is_there(attack: str, tests: str) -> None:
    if tests == "nothing":
        return
    named = TEST.findall(tests)
    assert named, f"{attack}: {tests}"
    for file, names in named:
        text = (ROOT / file).read_text(encoding="utf-8")
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"\b(?:def|fn) {name}\(", text), f"{file} has no test {name}"
