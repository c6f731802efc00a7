"""docs/performance.md: is it what the measurements say, and does every command on it exist?"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHES = ROOT / "benches" / "python"
PAGE = ROOT / "docs" / "performance.md"
MEASUREMENTS = ROOT / "docs" / "measurements"


def measured(step: str) -> Any:
    return json.loads((MEASUREMENTS / f"{step}.json").read_text(encoding="utf-8"))["results"]


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def test_the_page_is_what_the_measurements_say(tmp_path: Path) -> None:
    done = run(str(BENCHES / "report.py"), "--check", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_figure_names_a_command_that_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    scripts = set(re.findall(r"benches/python/\w+\.py", text))
    assert scripts
    assert [script for script in sorted(scripts) if not (ROOT / script).is_file()] == []
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`make ([a-z-]+)", text)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"there is no target {target}"


@pytest.mark.parametrize("document", ["docs/performance.md", "docs/experiments.md", "README.md"])
def test_pictures_and_pages_that_are_referred_to_exist(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{document} refers to {target}"


def test_pictures_are_readable_on_light_and_dark_pages() -> None:
    pictures = sorted((ROOT / "docs" / "pictures").glob("*.svg"))
    assert pictures
    for picture in pictures:
        text = picture.read_text(encoding="utf-8")
        ElementTree.fromstring(text)
        assert "prefers-color-scheme: dark" in text
        # What is drawn in neither theme's ink would vanish on one of them.
        assert "#000000" not in text.replace("stroke: #000000; stroke-opacity: 0", "")
        assert "/home/" not in text


def test_what_is_published_names_no_folder_of_the_machine() -> None:
    for file in [ROOT / "docs" / "performance.md", *(ROOT / "docs" / "measurements").glob("*.json")]:
        found = re.search(r"/(tmp|root|home|work)/\S*", file.read_text(encoding="utf-8"))
        assert found is None, f"{file.name}: {found}"


OURS = ("oxembed", "onnxruntime", "onnxruntime,")


def test_figures_of_the_readme_are_the_measured_ones() -> None:
    peers = {row["name"]: row for row in measured("peers")["rows"] if row["failure"] is None}
    slow = {name: row["times_as_slow"]["median"] for name, row in peers.items()}
    rate = {name: row["texts_per_second"]["median"] for name, row in peers.items()}
    sides = measured("throughput")["workloads"]["2,000 short texts"]["sides"]
    naive = sides["onnxruntime naive"]["oxembed_is_faster_by"]["median"]
    one = measured("latency")["workloads"]["one text"]["sides"]["oxembed"]
    start = measured("cold_start")["sides"]["oxembed"]["process_ms"]["median"]
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    # What is called onnxruntime is no package, but what a user of one would write.
    others = [name for name, row in peers.items() if row["kind"] == "float32" and name.split()[0] not in OURS]
    fastest = min(others, key=slow.__getitem__)
    for sentence in (
        f"{slow[fastest]:.1f} times as fast as the fastest other package",
        f"in int8, {int(rate['oxembed int8'] / rate[fastest])} times",
        f"sentence-transformers takes {slow['sentence-transformers']:.2f} times as long",
        f"(with OpenVINO {slow['sentence-transformers OpenVINO f32, careful']:.2f}, "
        f"with ONNX {slow['sentence-transformers ONNX']:.2f}), fastembed's defaults {slow['fastembed']:.1f}",
        f"as most people write it, it takes {naive:.1f} times as long",
        f"One text: {one['p50_ms']:.1f} ms",
        f"as a whole process: {start / 1000:.2f} s",
    ):
        assert sentence in text


def test_a_report_without_measurements_says_what_to_do(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(BENCHES)!r}); import pathlib, report; report.load(pathlib.Path('.'))"
    done = run("-c", code, cwd=tmp_path)
    assert done.returncode == 1
    assert "run `make bench`" in done.stderr
