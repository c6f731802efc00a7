"""Full disks, caches that cannot be written, homes that are not there: an error in plain words, or the work without.

What is written on a full disk leaves nothing behind, and works as soon as there is room.
"""

from __future__ import annotations

import os
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIXTURES, TOLERANCE, Golden
from faults import copied, on_linux, on_unix, small_disk, told
from hub_server import Hub, files_of

from oxembed import Embedder, InvalidInputError, ModelNotFoundError, export, quantize

FIXTURE = FIXTURES / "bert-mean-prompts"
NOBODY = 65534


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@on_linux
def test_export_to_a_full_disk() -> None:
    with small_disk(64) as disk:
        with pytest.raises(InvalidInputError, match=r"model\.onnx cannot be written: No space left on device"):
            export(FIXTURE, disk / "model.onnx")
        assert files_in(disk) == []
    with small_disk(20_000) as disk:
        export(FIXTURE, disk / "model.onnx")
        assert files_in(disk) == ["model.onnx"]


@on_linux
def test_quantize_to_a_full_disk(tmp_path: Path) -> None:
    folder = copied(tmp_path / "model")
    texts = [f"text number {number}" for number in range(40)]
    with small_disk(16) as disk:
        with pytest.raises(InvalidInputError, match="No space left on device"):
            quantize(folder, output=disk, calibration=texts, force=True)
        assert files_in(disk) == []
    assert quantize(folder, calibration=texts, force=True).path == str(folder / "int8.safetensors")


@on_linux
def test_download_to_a_full_disk(served: Hub, golden: Golden, tmp_path: Path) -> None:
    """Nothing of what arrived in part is taken for a model; the same call with room completes it."""
    pytest.importorskip("huggingface_hub")
    served.add("org/name", files_of(FIXTURE))
    with small_disk(96) as disk:
        with pytest.raises(ModelNotFoundError, match=r"No space left on device|Not enough free disk space"):
            Embedder("org/name", cache_dir=disk)
        with pytest.raises(ModelNotFoundError):
            Embedder("org/name", cache_dir=disk, local_files_only=True)
    vectors = Embedder("org/name", cache_dir=tmp_path).encode(golden.texts)
    assert np.abs(vectors - golden.vectors["embeddings"]).max() <= TOLERANCE


def works_with(monkeypatch: pytest.MonkeyPatch, **environment: str | None) -> None:
    """A model that is loaded with `auto` and int8, which keep things in the cache, has the right vectors."""
    for name, value in environment.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    found = told(
        """
        agree = [right(model(provider="auto")) for _ in range(2)]
        embedded = [Embedder(dtype="int8", provider=provider).encode("x").shape for provider in ("auto", "cpu")]
        tell(agree=agree, embedded=embedded)
        """.replace("\n        ", "\n")
    )
    assert found == {"agree": [True, True], "embedded": [[384], [384]]}


@on_linux
def test_a_cache_on_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(16) as disk:
        with suppress(OSError), (disk / "full").open("wb", buffering=0) as file:
            while file.write(b"x" * 512):
                pass
        assert os.statvfs(disk).f_bavail == 0
        works_with(monkeypatch, OXEMBED_CACHE=str(disk / "cache"))
        assert [name for name in files_in(disk) if name != "full"] == []


@pytest.mark.parametrize("kind", ["a file", "below a file", "a link to nothing", "a device"])
@on_unix
def test_a_cache_that_is_no_folder(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "cache"
    if kind == "a link to nothing":
        place.symlink_to(tmp_path / "gone" / "away")
    elif kind == "a device":
        place = Path(os.devnull)
    else:
        place.write_text("mine")
        place = place / "below" if kind == "below a file" else place
    works_with(monkeypatch, OXEMBED_CACHE=str(place))
    if "file" in kind:
        assert (tmp_path / "cache").read_text() == "mine"


@on_unix
@pytest.mark.parametrize("home", [None, "", "/dev/null/home"])
def test_without_a_home(home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """HOME unset, empty or nothing that a folder can be made in."""
    works_with(monkeypatch, HOME=home, XDG_CACHE_HOME=None, OXEMBED_CACHE=None, HF_HOME=None)


def as_nobody(script: str, *arguments: str | Path) -> Any:
    """Runs a script as a user who may write nothing: root may write everything."""
    # Imported before: where Python itself lies may be closed to others.
    before = "import hashlib, oxembed._export, oxembed.quantization, oxembed._download\n"
    drop = f"os.setgid({NOBODY}); os.setuid({NOBODY})\n" if os.geteuid() == 0 else ""
    return told(before + drop + textwrap.dedent(script), *arguments)


@pytest.fixture
def readable(tmp_path: Path) -> Path:
    """A folder that other users can reach, where the interpreter and the sources can be reached by them, too."""
    if sys.platform == "win32":
        pytest.skip("users as Unix has them")
    if os.geteuid() == 0:
        for folder in (tmp_path, *tmp_path.parents):
            if folder.stat().st_uid == 0 and str(folder).startswith(str(tmp_path.parents[1])):
                folder.chmod(0o755)
        try:
            as_nobody("tell(fine=right(model()))")
        except AssertionError:
            pytest.skip("another user may not read this Python or these sources")
    return tmp_path


def test_a_read_only_home_and_cache(readable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = readable / "home"
    home.mkdir()
    home.chmod(0o555)
    for name in ("XDG_CACHE_HOME", "OXEMBED_CACHE", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    script = """
    agree = [right(model(provider="auto")), bool(Embedder(dtype="int8").encode("x").shape)]
    exported = outcome(lambda: oxembed.export(FOLDER, Path(sys.argv[1]) / "model.onnx"))
    quantized = outcome(lambda: oxembed.quantize(FOLDER, output=Path(sys.argv[1]), force=True,
                                                 calibration=TEXTS))
    tell(agree=agree, exported=exported, quantized=quantized, next=right(model()))
    """
    found = as_nobody(script, home)
    assert (found["agree"], found["next"]) == ([True, True], True)
    assert found["exported"][0] == found["quantized"][0] == "InvalidInputError"
    assert "ermission" in found["exported"][1]
    assert files_in(home) == []


def test_a_model_that_may_not_be_read(readable: Path) -> None:
    """A folder of another user, in part and whole."""
    folder = copied(readable / "model")
    if os.geteuid() == 0:
        os.chown(folder / "model.safetensors", 0, 0)
    (folder / "model.safetensors").chmod(0)
    script = """
    found = [outcome(lambda: model(Path(sys.argv[1])))]
    tell(found=found, next=right(model()))
    """
    found = as_nobody(script, folder)
    kind, message = found["found"][0]
    assert kind == "InvalidModelError"
    assert "model.safetensors: permission to read the file is denied" in message
    assert found["next"]
