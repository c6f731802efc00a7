"""Downloads that fail: each is one typed error in plain words, leaves nothing that loads, and works the next time."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIXTURES, PATIENCE, TOLERANCE, Golden, run_python
from hub_server import Fault, Hub, Stall, closed_port, content, cut_off, files_of, sha256, status, trickle

from oxembed import Embedder, InvalidModelError, ModelNotFoundError, OxembedError, hub

NO_HUB = "does not answer as a Hugging Face hub"
constants = pytest.importorskip("huggingface_hub.constants")


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    return {**files_of(FIXTURES / "bert-mean-prompts"), "README.md": b"# A model"}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waits of the library between attempts."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


def fails(kind: type[OxembedError], *says: str, model: str = "org/name", **options: Any) -> str:
    """The download fails in plain words, and neither it nor what is there already gives a model."""
    with pytest.raises(kind) as caught:
        Embedder(model, **options)
    message = str(caught.value)
    for words in says:
        assert words in message
    assert "\n" not in message
    error = caught.value  # shown without the traceback of an HTTP library
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    nothing_loads(model, **options)
    return message


def nothing_loads(model: str = "org/name", **options: Any) -> None:
    """Neither the id nor any folder of the cache is taken for a model."""
    with pytest.raises(ModelNotFoundError):
        Embedder(model, **{**options, "local_files_only": True})
    for cached in hub.cached_models():
        assert not cached.is_complete
        with pytest.raises(OxembedError):
            Embedder(cached.folder)


def works(served: Hub, golden: Golden, *, keep_faults: bool = False) -> None:
    """Once the fault is gone, the same call gives the right vectors."""
    if not keep_faults:
        served.faults.clear()
    assert np.abs(Embedder("org/name").encode(golden.texts) - golden.vectors["embeddings"]).max() <= TOLERANCE


# --- the hub says no ---------------------------------------------------------------------------------------------


def test_unknown_id(served: Hub) -> None:
    fails(ModelNotFoundError, f"{served.url} has no model 'org/name'", "401", f"{served.url}/org/name", "HF_TOKEN")
    message = fails(ModelNotFoundError, "has no model 'sentence-transformers/no-such'", model="no-such")
    assert "'no-such' is not there either" in message


def test_unknown_revision(served: Hub, files: dict[str, bytes]) -> None:
    served.add("org/name", files)
    fails(ModelNotFoundError, "has no revision 'v9'", f"{served.url}/org/name/tree/main", revision="v9")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (status(403, error="GatedRepo"), ["accept", "/org/name", "HF_TOKEN", "403"]),
        (status(401, error="GatedRepo"), ["accepted its terms", "HF_TOKEN", "401"]),
        (status(404, error="RepoNotFound"), ["has no model 'org/name'", "404"]),
        (status(401, message="Invalid credentials in Authorization header"), ["refuses the token", "HF_TOKEN", "401"]),
        (status(403), ["refuses the token", "403"]),
        (status(500), ["answers with status 500", "Try again later"]),
        (status(503), ["answers with status 503"]),
        (status(429), ["too many requests", "429"]),
        (status(200, body=b"<html>Log in to this hotel</html>", html=True), [NO_HUB, "HF_ENDPOINT"]),
        (status(200, body=b"[]"), [NO_HUB]),
        (status(200, body=b"{}"), [NO_HUB]),
        (status(200, body=b'{"id": "org/name", "sha": "../../x", "siblings": []}'), [NO_HUB]),
        (status(200, body=b'{"id": "org/name", "sha": 3, "siblings": 3}'), [NO_HUB]),
        (status(200, body=b"\xff"), [NO_HUB]),
    ],
)
def test_answers_about_the_model(
    fault: Fault, says: list[str], served: Hub, files: dict[str, bytes], empty_cache: Path
) -> None:
    served.add("org/name", files)
    served.on("^/api/models/org/name", fault)
    fails(ModelNotFoundError, *says)
    assert served.fetched() == []
    assert list(empty_cache.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (status(403, error="GatedRepo"), ["accepted its terms", "HF_TOKEN"]),  # the hub describes gated models to all
        (status(404, error="EntryNotFound"), ["lists the file 'model.safetensors'", "404"]),
        (status(500), ["model.safetensors of org/name", "500"]),
    ],
)
def test_answers_about_a_file(
    fault: Fault, says: list[str], served: Hub, files: dict[str, bytes], golden: Golden, impatient: None
) -> None:
    served.add("org/name", files)
    served.on(r"/resolve/\w+/model\.safetensors", fault)
    fails(ModelNotFoundError, *says)
    works(served, golden)


def test_pickles_are_refused_before_anything_large(served: Hub, files: dict[str, bytes]) -> None:
    kept = {name: data for name, data in files.items() if not name.endswith((".safetensors", ".onnx"))}
    served.add("org/name", {**kept, "pytorch_model.bin": b"pickle"})
    fails(InvalidModelError, "org/name at ", "pytorch_model.bin", "save_pretrained", "runs code")
    assert served.fetched() == ["modules.json"]
    assert all(request.server == "hub" for request in served.requests)


def test_names_that_lead_out_of_the_folder(served: Hub, files: dict[str, bytes], tmp_path: Path) -> None:
    served.add("org/name", {**files, "../../../../escaped.safetensors": b"x", "/escaped": b"y"})
    folder = hub.resolve("org/name").folder
    assert not any("escaped" in str(path) for path in tmp_path.rglob("*"))
    assert Path(folder).is_dir()


# --- the hub says nothing ----------------------------------------------------------------------------------------


def test_nobody_listens(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port() as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        fails(ModelNotFoundError, f"could not be downloaded from {url}", "Check the network", "pass its path")


def test_no_such_host(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://no-such-host.invalid")
    fails(ModelNotFoundError, "could not be downloaded from http://no-such-host.invalid")


def test_an_address_that_is_none(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "huggingface.co")
    fails(ModelNotFoundError, "HF_ENDPOINT", "'huggingface.co'", "https://")


@pytest.mark.parametrize("path", ["^/api/models/", r"^/org/name/model\.safetensors/"])
def test_an_endpoint_that_never_answers(
    path: str,
    served: Hub,
    files: dict[str, bytes],
    golden: Golden,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served.add("org/name", files)
    stall = Stall()
    served.on(path, stall)
    # Here alone: a hub that does answer may take longer than that, where the machine stands still.
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.3)
        patch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
        fails(ModelNotFoundError, "no answer within 0.3 seconds", "_TIMEOUT")
    stall.release.set()
    works(served, golden)


def test_a_server_that_is_slow_but_comes_through(served: Hub, files: dict[str, bytes], golden: Golden) -> None:
    served.add("org/name", files)
    served.on(r"^/org/name/model\.safetensors/", trickle(piece=40_000, pause=0.02))
    works(served, golden, keep_faults=True)


# --- what arrives is not what was promised -----------------------------------------------------------------------


def flipped(data: bytes) -> bytes:
    """The same length, one bit wrong, in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def test_a_wrong_hash(served: Hub, files: dict[str, bytes], golden: Golden, empty_cache: Path) -> None:
    served.add("org/name", files)
    good = files["model.safetensors"]
    served.on(r"^/org/name/model\.safetensors/", content(flipped(good)))
    fails(InvalidModelError, "model.safetensors of org/name", sha256(good), sha256(flipped(good)), "was deleted")
    blobs = [path.read_bytes() for path in empty_cache.rglob("blobs/*")]
    assert flipped(good) not in blobs
    works(served, golden)


@pytest.mark.parametrize("name", ["modules.json", "config.json", "tokenizer.json"])
def test_a_wrong_hash_of_a_small_file(name: str, served: Hub, files: dict[str, bytes], golden: Golden) -> None:
    served.add("org/name", files)
    served.on(rf"/resolve/\w+/{name}$", lambda handler, data: _send(handler, data, name))
    fails(InvalidModelError, f"{name} of org/name", "sha1", "was deleted")
    works(served, golden)


def _send(handler: Any, data: bytes, name: str) -> bool:
    if handler.command == "HEAD":
        return False
    handler.send_file(flipped(data))
    return True


def test_weights_that_were_left_unchecked(served: Hub, files: dict[str, bytes], golden: Golden) -> None:
    """Killed between the arrival of the weights and their check: the next time they are checked, arrived or not."""
    from huggingface_hub import hf_hub_download

    commit = served.add("org/name", files)
    good = files["model.safetensors"]
    served.on(r"^/org/name/model\.safetensors/", content(flipped(good)))
    # What is there when the process dies at that moment, made by hand.
    for name in ("modules.json", "1_Pooling/config.json", "config.json", "model.safetensors"):
        path = hf_hub_download(
            "org/name", name, revision=commit, endpoint=served.url, cache_dir=os.environ["HF_HUB_CACHE"]
        )
    marker = Path(path).parents[2] / ".oxembed-unfinished" / commit
    marker.parent.mkdir()
    marker.touch()
    served.faults.clear()
    fails(InvalidModelError, "model.safetensors of org/name", "was deleted", revision=commit)
    works(served, golden)


@pytest.mark.parametrize("without", ["lfs", "blobId"])
def test_a_mirror_that_gives_no_hash_is_named_in_a_warning(
    without: str, served: Hub, files: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    served.add("org/name", files)

    def describe(handler: Any, _: bytes) -> bool:
        names = [{"rfilename": name, **({} if without == "blobId" else {"blobId": "0" * 40})} for name in files]
        commit = served.models["org/name"].revisions["main"]
        handler.reply(200, json.dumps({"id": "org/name", "sha": commit, "siblings": names}).encode(), {})
        return True

    served.on("^/api/models/", describe)
    if without == "lfs":  # a hash that is not the file's, whichever kind it is, is an error
        fails(InvalidModelError, "sha1 should be 0000")
        return
    assert Embedder("org/name").dimension == 48
    assert f"{served.url} gives no hash for model.safetensors of org/name" in caplog.text


# --- interrupted -------------------------------------------------------------------------------------------------


def test_a_connection_that_breaks_twice_and_goes_on(
    served: Hub, files: dict[str, bytes], golden: Golden, impatient: None
) -> None:
    """The library of these days takes it up again by itself; an old one gives up, and does so with the next call."""
    served.add("org/name", files)
    served.on(r"^/org/name/model\.safetensors/", cut_off(100_000, times=1))
    try:
        Embedder("org/name")
    except ModelNotFoundError as error:
        assert "Run the same again" in str(error)  # noqa: PT017
        nothing_loads()
    assert np.abs(Embedder("org/name").encode(golden.texts) - golden.vectors["embeddings"]).max() <= TOLERANCE


def test_a_connection_that_always_breaks(served: Hub, files: dict[str, bytes], golden: Golden, impatient: None) -> None:
    served.add("org/name", files)
    served.on(r"^/org/name/model\.safetensors/", cut_off(100_000))
    fails(
        ModelNotFoundError, "model.safetensors of org/name could not be downloaded", "was cut off. Run the same again"
    )
    works(served, golden)


def test_an_interrupted_refresh_leaves_the_old_model(
    served: Hub, files: dict[str, bytes], golden: Golden, impatient: None
) -> None:
    served.add("org/name", files)
    old = hub.download("org/name")
    new = {**files, "model.safetensors": files["model.safetensors"][:-4] + b"\0\0\0\0"}
    served.add("org/name", new)
    served.on(r"^/org/name/model\.safetensors/", cut_off(100_000))
    with pytest.raises(ModelNotFoundError, match="Run the same again"):
        hub.download("org/name")
    served.requests.clear()
    assert hub.resolve("org/name").folder == str(old)
    assert np.abs(Embedder("org/name").encode(golden.texts) - golden.vectors["embeddings"]).max() <= TOLERANCE
    assert served.requests == []
    served.faults.clear()
    assert hub.download("org/name") != old
    assert hub.resolve("org/name").folder != str(old)


def in_a_process(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


DOWNLOAD = "import sys; from oxembed.cli import main; sys.exit(main(['download', 'org/name']))"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("path", [r"^/org/name/model\.safetensors/", r"/resolve/\w+/tokenizer\.json$"])
def test_killed_in_the_middle(path: str, served: Hub, files: dict[str, bytes], golden: Golden) -> None:
    served.add("org/name", files)
    stall = Stall(after=20_000)
    served.on(path, stall)
    process = in_a_process(DOWNLOAD)
    assert stall.reached.wait(PATIENCE), process.communicate(timeout=PATIENCE)
    process.kill()
    process.communicate()
    nothing_loads()
    stall.release.set()
    served.requests.clear()
    works(served, golden)
    assert "config.json" not in served.fetched()  # what was complete is not downloaded again


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_interrupted_by_the_user(served: Hub, files: dict[str, bytes], golden: Golden) -> None:
    served.add("org/name", files)
    stall = Stall(after=20_000)
    served.on(r"^/org/name/model\.safetensors/", stall)
    process = in_a_process(DOWNLOAD)
    assert stall.reached.wait(PATIENCE), process.communicate(timeout=PATIENCE)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output, errors) == (130, "", "oxembed: interrupted\n")
    nothing_loads()
    stall.release.set()
    works(served, golden)


# --- this machine ------------------------------------------------------------------------------------------------


def test_the_library_is_missing(served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    fails(ModelNotFoundError, "huggingface_hub", "is not installed", 'pip install "oxembed[hub]"')
    assert Embedder().dimension == 384
    assert served.requests == []


def test_the_library_is_broken(served: Hub, tmp_path: Path) -> None:
    package = tmp_path / "huggingface_hub"
    package.mkdir()
    (package / "__init__.py").write_text("import a_package_that_it_needs")
    done = run_python(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport oxembed\ntry: oxembed.Embedder('org/name')\n"
        "except oxembed.ModelNotFoundError as error: print(error)"
    )
    assert "is broken (No module named 'a_package_that_it_needs')" in done.stdout
    assert "pip install --upgrade" in done.stdout


def test_a_cache_that_cannot_be_written(served: Hub, files: dict[str, bytes], tmp_path: Path) -> None:
    served.add("org/name", files)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ModelNotFoundError, match=r"cannot be stored in the cache .*HF_HUB_CACHE"):
        Embedder("org/name", cache_dir=tmp_path / "file")


def test_a_full_disk(
    served: Hub, files: dict[str, bytes], golden: Golden, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    import huggingface_hub

    served.add("org/name", files)
    download: Callable[..., str] = huggingface_hub.hf_hub_download

    def full(model_id: str, name: str, **options: Any) -> str:
        if name == "model.safetensors":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return download(model_id, name, **options)

    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub, "hf_hub_download", full)
        with pytest.raises(ModelNotFoundError, match=rf"{re.escape(os.strerror(errno.ENOSPC))}\. Free space there"):
            Embedder("org/name")
        nothing_loads()
    works(served, golden)


def test_no_saved_token(served: Hub, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served.add("org/name", files)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    fails(ModelNotFoundError, "token=True", "HF_TOKEN", token=True)


def test_the_library_was_imported_offline(served: Hub) -> None:
    """It reads its variables once; ours are read at each call."""
    done = run_python(
        """
        import os
        os.environ["HF_HUB_OFFLINE"] = "1"
        import huggingface_hub.constants, oxembed
        del os.environ["HF_HUB_OFFLINE"]
        try:
            oxembed.Embedder("org/name")
        except oxembed.ModelNotFoundError as error:
            print(error)
        """
    )
    assert "huggingface_hub was imported with HF_HUB_OFFLINE set" in done.stdout
    assert served.requests == []
