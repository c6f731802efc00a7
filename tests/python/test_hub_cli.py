"""`oxembed download` and the cache in `oxembed info`, run as their users run them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import FIXTURES, TOLERANCE, Golden
from hub_server import Hub, content, files_of, status
from test_cli import fails, on_terminal, run, vectors_of

from oxembed import hub
from oxembed.cli import main

pytest.importorskip("huggingface_hub")


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    return files_of(FIXTURES / "bert-mean-prompts")


def test_download_prints_the_folder_and_nothing_else(
    served: Hub, files: dict[str, bytes], golden: Golden, empty_cache: Path
) -> None:
    commit = served.add("org/name", files)
    done = run("download", "org/name")
    folder = empty_cache / "models--org--name" / "snapshots" / commit
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{folder}\n", "")
    assert run("download", "org/name").stdout == done.stdout
    served.requests.clear()
    embedded = run("embed", golden.texts[0], "--model", "org/name")
    assert np.abs(vectors_of(embedded.stdout) - golden.vectors["embeddings"][:1]).max() <= TOLERANCE
    assert served.requests == []


def test_download_options(served: Hub, files: dict[str, bytes], tmp_path: Path) -> None:
    old = served.add("org/name", files, "v1")
    served.add("org/name", {**files, "config_sentence_transformers.json": b"{}"})
    cache = tmp_path / "elsewhere"
    done = run("download", "org/name", "--revision", "v1", "--cache-dir", str(cache), "--onnx-file", "onnx/model.onnx")
    folder = Path(done.stdout.rstrip("\n"))
    assert folder == cache / "models--org--name" / "snapshots" / old
    assert (folder / "onnx" / "model.onnx").is_file()
    assert not (folder / "model.safetensors").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX terminals")
@pytest.mark.parametrize("bars", [True, False])
def test_progress_on_a_terminal(
    bars: bool, served: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, empty_cache: Path
) -> None:
    commit = served.add("org/name", files)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "0" if bars else "1")
    output = on_terminal("download", "org/name", columns=200)
    lines = output.splitlines()
    folder = empty_cache / "models--org--name" / "snapshots" / commit
    told = [f"org/name at {commit[:7]}: 8 files, 618.3 kB, into {empty_cache}", str(folder)]
    assert [line for line in lines if line in told] == told
    assert bool(re.search(r"model\.safetensors: +100%", output)) is bars
    if not bars:
        assert lines == told


def fails_here(capsys: pytest.CaptureFixture[str], arguments: str, *says: str) -> None:
    """As `fails`, without a process of its own."""
    done = subprocess.CompletedProcess(arguments, main(arguments.split()), *capsys.readouterr())
    fails(done, *says)
    assert done.stdout == ""


def test_failures_are_one_line(
    served: Hub, files: dict[str, bytes], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served.add("org/name", files)
    fails_here(capsys, "download org/other", "has no model 'org/other'", served.url)
    fails_here(capsys, "download no/such/id", "'no/such/id' is not a Hugging Face id")
    fails_here(capsys, "download org/name --revision ../x", "is not a revision")
    served.on("/resolve/", status(403, error="GatedRepo"))
    fails_here(capsys, "embed x --model org/name", "accepted its terms", f"{served.url}/org/name", "HF_TOKEN")
    served.faults.clear()
    served.on(r"^/org/name/model\.safetensors/", content(bytes(len(files["model.safetensors"]))))
    fails_here(capsys, "download org/name", "sha256 should be", "was deleted")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fails_here(capsys, "download org/name", "downloads are off by HF_HUB_OFFLINE=1")
    fails_here(
        capsys, "embed x --model org/name", "Downloads are off by HF_HUB_OFFLINE=1", "a download was interrupted"
    )


def test_info_lists_the_cache(served: Hub, files: dict[str, bytes], empty_cache: Path) -> None:
    first = served.add("org/first", files)
    second = served.add("a-longer/second", files, "v2")
    served.models["org/first"].revisions["v1"] = first
    for model, revision in (("org/first", "main"), ("org/first", "v1"), ("a-longer/second", "v2")):
        hub.download(model, revision=revision)
    folder = empty_cache / "models--a-longer--second" / "snapshots" / second
    (folder / "model.safetensors").unlink()

    listed = json.loads(run("info", "--json").stdout)["cached_models"]
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert listed[0] == {
        "name": "a-longer/second",
        "revisions": ["v2"],
        "commit": second,
        "folder": str(folder),
        "size_bytes": size,
        "problem": listed[0]["problem"],
        "is_complete": False,
    }
    assert "model.safetensors" in listed[0]["problem"]
    assert (listed[1]["name"], listed[1]["revisions"], listed[1]["problem"]) == ("org/first", ["main", "v1"], None)

    lines = run("info").stdout.splitlines()
    (start,) = (number for number, line in enumerate(lines) if line.startswith("cached models"))
    title = lines[start].index("a-longer/second")
    rows = [line[title:] for line in lines[start : start + 2]]
    assert re.fullmatch(
        rf"a-longer/second  v2        {second[:7]}  \S+ kB   incomplete: it .*model\.safetensors.*", rows[0]
    )
    assert re.fullmatch(rf"org/first        main, v1  {first[:7]}  618\.3 kB  complete", rows[1])


def test_info_of_an_empty_cache(empty_cache: Path) -> None:
    assert json.loads(run("info", "--json").stdout)["cached_models"] == []
    assert re.search(r"^cached models +none$", run("info").stdout, re.MULTILINE)
    assert list(empty_cache.iterdir()) == []
