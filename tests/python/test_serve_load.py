"""`oxembed serve` under load: by the load generator in benches/load, and by all kinds of clients for a few seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE
from servers import serving

ROOT = Path(__file__).resolve().parents[2]
BENCHES = ROOT / "benches" / "python"


@pytest.fixture(scope="module")
def generator() -> Path:
    """The program; made once, in the folder of all Rust builds."""
    target = ROOT / "target"
    command = [
        "cargo",
        "build",
        "--quiet",
        "--locked",
        "--manifest-path",
        str(ROOT / "benches" / "load" / "Cargo.toml"),
    ]
    subprocess.run([*command, "--target-dir", str(target)], check=True)
    return target / "debug" / f"oxembed-load{'.exe' if sys.platform == 'win32' else ''}"


def load(generator: Path, url: str, bodies: Path, *arguments: str) -> dict[str, Any]:
    command = [str(generator), "--url", url + "/v1/embeddings", "--bodies", str(bodies), "--warm-up", "0.2", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def write(path: Path, *bodies: object) -> Path:
    path.write_text("".join(json.dumps(body) + "\n" for body in bodies))
    return path


def test_a_real_load(generator: Path, tmp_path: Path) -> None:
    bodies = write(tmp_path / "right", *({"input": f"text number {number}"} for number in range(50)))
    with serving("--provider", "cpu") as server:
        closed = load(generator, server.url, bodies, "--connections", "32", "--seconds", "3")
        assert (closed["failures"], closed["rate"]) == ({}, None)
        assert closed["requests"] > 32
        # Little's law: as many requests are under way as there are connections, but those that end after the time; that
        # is many where the machine does something else then.
        under_way = closed["requests_per_second"] * closed["milliseconds"]["mean"] / 1e3
        assert 16 < under_way < 32.1
        times = [closed["milliseconds"][name] for name in ("p50", "p90", "p95", "p99", "p99.9", "max")]
        assert times == sorted(times)
        # 384 numbers with a dozen characters each.
        assert closed["bytes"] / closed["requests"] > 3000
        at_rate = load(generator, server.url, bodies, "--connections", "8", "--seconds", "2", "--rate", "20")
        assert at_rate["failures"] == {}
        # Who is woken late, in the first moment or the last, is counted on the other side of it.
        assert 40 - 8 <= at_rate["requests"] <= 40 + 8
        counted = server.ask("/metrics").body.decode()
    answers = 'oxembed_http_requests_total{method="POST",route="/v1/embeddings",status="200"} '
    (line,) = [line for line in counted.splitlines() if line.startswith(answers)]
    assert int(line.removeprefix(answers)) >= closed["requests"] + at_rate["requests"]


def test_failures_are_told(generator: Path, tmp_path: Path) -> None:
    bodies = write(tmp_path / "wrong", {"input": "a"}, {"input": []})
    with serving("--provider", "cpu") as server:
        found = load(generator, server.url, bodies, "--connections", "2", "--seconds", "1")
    assert found["failures"].keys() == {"400"}
    assert found["requests"] > 0


def test_a_server_that_is_not_there(generator: Path, tmp_path: Path) -> None:
    bodies = write(tmp_path / "bodies", {"input": "a"})
    command = [str(generator), "--url", "http://127.0.0.1:9/x", "--bodies", str(bodies)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (1, "")
    assert "http://127.0.0.1:9/x cannot be reached" in done.stderr


def test_the_benchmark(generator: Path, tmp_path: Path) -> None:
    file = tmp_path / "serve.json"
    options = ["--only", "oxembed", "--rounds", "2", "--seconds", "2", "--connections", "4", "--limit", "20"]
    command = [sys.executable, str(BENCHES / "serve.py"), *options, "--skip-install", "--generator", str(generator)]
    command += ["--bench", str(tmp_path / "bench"), "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3 * PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads(file.read_text())
    assert (written["step"], str(tmp_path) in file.read_text()) == ("serve", False)
    results = written["results"]
    assert results["sides"].keys() == {"library", "oxembed"}
    figures = {
        "texts_per_second",
        "base64_texts_per_second",
        "p99_ms",
        "lone_ms",
        "half_load_p50_ms",
        "half_load_p99_ms",
    }
    assert results["sides"]["oxembed"].keys() == figures | {"seconds_to_ready"}
    assert all(one["median"] > 0 and one["rounds"] == 2 for side in results["sides"].values() for one in side.values())
    held = {"share_of_bulk", "p99_at_half_load_over_single", "lone_overhead_ms", "seconds_to_ready"}
    assert {name for name, one in results["ratios"].items() if "target" in one} == held


def test_all_kinds_of_clients_for_a_while(tmp_path: Path) -> None:
    file = tmp_path / "endurance.json"
    command = [
        sys.executable,
        str(BENCHES / "serve_endurance.py"),
        "--minutes",
        "0.17",
        "--texts",
        "100",
        "--json",
        str(file),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3 * PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(file.read_text())["results"]
    assert results["wrong"] == []
    assert results["counts"]["answers checked"] > 10
    for what in ("clients that left", "garbage refused", "clients that stalled"):
        assert results["counts"][what] > 0, what
