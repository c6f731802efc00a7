"""`benches/python/peers.py`: oxembed against programs that fail in every way a peer can; each is a row that says so."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benches" / "python" / "peers.py"
TEXTS = 40

# A peer that speaks the protocol and breaks at the request, and in the way, that its arguments name.
FAKE = """
import json, os, sys, time

where, how = sys.argv[1:]
count = 0
for line in sys.stdin:
    request = json.loads(line)
    do = request["do"]
    answer = {"load": {"seconds": 0.1, "versions": {"fake": "1.0"}}, "texts": {"note": "fake"}, "vectors": {},
              "round": {"seconds": 0.5, "cpu_seconds": 1.0}, "single": {"seconds": [0.002] * 10},
              "finish": {"peak_bytes": 2**20}}[do]
    if do == "texts":
        count = len(json.load(open(request["file"])))
    if do == where and how == "hang":
        time.sleep(600)
    if do == where and how == "crash":
        sys.stderr.write("first line\\nout of luck\\n")
        sys.stderr.flush()
        os.kill(os.getpid(), 9) if os.name == "posix" else sys.exit(3)
    if do == where and how.startswith("refuse"):
        answer = {"error": "ValueError: no such model" + how.removeprefix("refuse")}
    if do == where and how == "babble":
        print("progress: 10%")
    if do == "vectors":
        import numpy as np
        rows = np.random.default_rng(0).normal(size=(count, 384))
        rows = {"rows": rows[1:], "width": rows[:, 1:], "infinite": rows / 0.0}.get(how, rows)
        np.save(request["file"], rows.astype(np.float32))
    print(json.dumps(answer), flush=True)
    if "error" in answer or do == "finish":
        break
"""
# Where and how each fake breaks, and what its row says.
BROKEN = {
    "refuses to load": ("load", "refuse", "failed at 'load': ValueError: no such model"),
    # It is published: where the repository lies on this machine is of no interest elsewhere.
    "finds no model": ("load", f"refuse: {ROOT / 'none'}", "failed at 'load': ValueError: no such model: none"),
    "dies at load": ("load", "crash", "died at 'load': "),
    "other vectors": ("vectors", "random", "wrong vectors: the smallest cosine to oxembed's is "),
    "too few vectors": ("vectors", "rows", f"{TEXTS} texts gave an array of shape ({TEXTS - 1}, 384)"),
    "narrow vectors": ("vectors", "width", "vectors of 383 numbers, not 384"),
    "infinite vectors": ("vectors", "infinite", f"{TEXTS} of {TEXTS} vectors are not finite"),
    "hangs": ("round", "hang", "no answer to 'round' in "),
    "dies": ("round", "crash", "died at 'round': "),
    "babbles": ("single", "babble", "answered 'single' with 'progress: 10%', which is not a JSON object"),
}

Rows = dict[str, dict[str, Any]]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The script, with this Python for oxembed and nothing installed."""
    common = ["--bench", str(folder / "bench"), "--limit", str(TEXTS), "--skip-install"]
    command = [sys.executable, str(SCRIPT), *common, *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=600, check=False)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, str]:
    """One run of oxembed, all broken fakes, and a program that is not there: the rows, and what was printed."""
    folder = tmp_path_factory.mktemp("peers")
    fake = folder / "fake.py"
    fake.write_text(FAKE, encoding="utf-8")
    peers = {name: [sys.executable, str(fake), where, how] for name, (where, how, _) in BROKEN.items()}
    peers["absent"] = [str(folder / "nothing")]
    options = [part for name, command in peers.items() for part in ("--peer", f"{name}={shlex.join(command)}")]
    results = folder / "peers.json"
    done = run(
        folder, "--only", "oxembed,mlx,candle", "--rounds", "2", "--together", "6",
        "--json", str(results), *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(results.read_text(encoding="utf-8"))
    assert record["step"] == "peers"
    return {row["name"]: row for row in record["results"]["rows"]}, done.stdout


def test_oxembed_is_measured(measured: tuple[Rows, str]) -> None:
    rows, _ = measured
    for name in ("oxembed", "oxembed int8"):
        row = rows[name]
        assert row["failure"] is None
        assert row["texts_per_second"]["rounds"] == 2
        assert row["times_as_slow"]["median"] == 1
        assert 0 < row["one_text"]["p50_ms"] <= row["one_text"]["p95_ms"] <= row["one_text"]["p99_ms"]
        assert row["tokens_per_second"]["median"] > row["texts_per_second"]["median"]
        assert min(row["cpu_seconds_per_1000"]["median"], row["load_seconds"], row["peak_bytes"]) > 0
        assert "oxembed" in row["versions"]
    assert rows["oxembed"]["cosine"]["smallest"] == pytest.approx(1, abs=1e-9)
    assert 0.99 < rows["oxembed int8"]["cosine"]["smallest"] < 1


@pytest.mark.parametrize("name", BROKEN)
def test_what_goes_wrong_is_a_row_that_says_so(measured: tuple[Rows, str], name: str) -> None:
    rows, printed = measured
    expected = BROKEN[name][2]
    assert rows[name]["failure"].startswith(expected)
    (line,) = [line for line in printed.splitlines() if line.startswith(f"{name} ") and expected in line]
    # No figures that could be read as a comparison.
    assert line.split(name, 1)[1].strip() == rows[name]["failure"]


def test_a_crash_shows_the_last_words(measured: tuple[Rows, str]) -> None:
    rows, _ = measured
    how = "SIGKILL" if sys.platform != "win32" else "status 3"
    assert rows["dies"]["failure"] == f"died at 'round': {how}, out of luck"


def test_what_is_not_there_is_a_row_that_says_so(measured: tuple[Rows, str]) -> None:
    rows, _ = measured
    assert rows["absent"]["failure"].startswith("could not be started: ")
    assert rows["candle"]["failure"] == "not installed: --skip-install was given"
    assert rows["mlx, careful"]["failure"].startswith(("for Macs with Apple silicon", "not installed"))


def test_without_oxembed_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("one text\n", encoding="utf-8")
    results = tmp_path / "peers.json"
    # No program is started and answers in the time between two lines of another.
    options = ("--only", "oxembed", "--texts", str(texts), "--patience", "1e-9", "--json", str(results))
    done = run(tmp_path, *options)
    assert (done.returncode, done.stdout, results.exists()) == (1, "", False)
    assert done.stderr.splitlines()[-1].startswith(
        "error: there is nothing to compare with: oxembed no answer to 'load'"
    )


def test_a_peer_that_nobody_knows_is_wrong_usage(tmp_path: Path) -> None:
    done = run(tmp_path, "--only", "oxembed,word2vec")
    assert done.returncode == 2
    assert "there is no peer 'word2vec'; there are oxembed, " in done.stderr
