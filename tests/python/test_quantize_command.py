"""`oxembed quantize`, run as its users run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import PATIENCE
from int8_models import FILE, SMALL, copied, rough

from oxembed import Embedder


def run(*arguments: str | Path, timeout: float = 2 * PATIENCE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "oxembed", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


@pytest.fixture(scope="module")
def beyond(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that int8 cannot keep; never changed."""
    return rough(tmp_path_factory.mktemp("beyond") / "model")


def test_writes_beside_the_weights_and_says_how_to_use_it(tmp_path: Path) -> None:
    folder = copied(tmp_path / "model")
    done = run("quantize", folder)
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("cosine to float32", "sentence", "minimum", "layer", "qkv", "times as fast", str(folder / FILE)):
        assert words in done.stdout
    assert f"--model {folder} --dtype int8" in done.stdout
    embedded = run("embed", "--model", folder, "--provider", "cpu", "--dtype", "int8", "one text")
    assert embedded.returncode == 0, embedded.stderr
    expected = Embedder(folder, provider="cpu", dtype="int8").encode("one text")
    assert (np.array(json.loads(embedded.stdout)["embedding"], dtype=np.float32) == expected).all()
    informed = run("info", folder, "--provider", "cpu", "--dtype", "int8", "--json")
    assert json.loads(informed.stdout)["dtype"] == "int8"


def test_json(tmp_path: Path) -> None:
    done = run("quantize", SMALL, "--output", tmp_path, "--threads", "1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["path"] == str(tmp_path / FILE)
    assert report["bytes"] == (tmp_path / FILE).stat().st_size
    assert report["quality"]["by_kind"]["code"]["minimum"] > 0.9
    assert [len(layer["sites"]) for layer in report["layers"]] == [4, 4]


def test_below_the_promise_it_fails_and_says_so(beyond: Path, tmp_path: Path) -> None:
    done = run("quantize", beyond, "--output", tmp_path)
    assert done.returncode == 1
    assert "MISSED" in done.stdout
    assert done.stderr.startswith("oxembed: nothing was written: ")
    assert done.stderr.count("\n") == 1
    for words in ("0.9995", "0.998", "--force"):
        assert words in done.stderr
    assert list(tmp_path.iterdir()) == []
    as_json = run("quantize", beyond, "--output", tmp_path, "--json")
    assert (as_json.returncode, json.loads(as_json.stdout)["path"]) == (1, None)


def test_force_writes_it_all_the_same(beyond: Path, tmp_path: Path) -> None:
    done = run("quantize", beyond, "--output", tmp_path, "--force")
    assert done.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert "--force" in done.stderr
    assert f"copied beside model.safetensors of {beyond}" in done.stdout


def test_own_texts(tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"text number {number}\n" for number in range(50)), encoding="utf-8")
    done = run("quantize", SMALL, "--calibration", texts, "--output", tmp_path, "--force", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["calibration_texts"] == 50


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 2, "MODEL"),
        (["all-MiniLM-L6-v2"], 1, "output="),
        (["no/such/model/anywhere"], 1, "no/such/model/anywhere"),
        ([str(SMALL), "--threads", "0"], 2, "--threads"),
        ([str(SMALL), "--output", "no-such-folder"], 1, "no-such-folder"),
        ([str(SMALL), "--output", ".", "--calibration", "no-such-file"], 1, "no-such-file"),
    ],
)
def test_what_cannot_be_done(tmp_path: Path, arguments: list[str], status: int, says: str) -> None:
    done = run("quantize", *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def wait_until_at_work(process: int) -> None:
    """Until a command has loaded ONNX Runtime; before that it may be Python's own start that is interrupted."""
    maps = Path(f"/proc/{process}/maps")
    if not maps.exists():
        time.sleep(2)
        return
    end = time.monotonic() + PATIENCE
    while "libonnxruntime" not in maps.read_text(encoding="utf-8"):
        assert time.monotonic() < end, "ONNX Runtime was not loaded"
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("after", [0.0, 2.5])
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, after: float) -> None:
    command = [sys.executable, "-m", "oxembed", "quantize", "all-MiniLM-L6-v2", "--output", str(tmp_path), "--force"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until_at_work(process.pid)
    time.sleep(after)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stdout) == (130, "")
    assert stderr == "oxembed: interrupted\n"
    assert list(tmp_path.iterdir()) == []
