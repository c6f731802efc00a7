"""Downloads that succeed: which files, where to, how often, with which token, and by how many at once.

The hub is a server on this machine (`hub_server`), asked by whichever `huggingface_hub` is installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import FIXTURES, PATIENCE, TOLERANCE, Golden
from hub_server import Hub, files_of, sha256

from oxembed import Embedder, ModelNotFoundError, hub

pytest.importorskip("huggingface_hub")

JUNK = {
    "README.md": b"# A model",
    ".gitattributes": b"*.safetensors filter=lfs",
    "pytorch_model.bin": b"a pickle",
    "tf_model.h5": b"h5",
    "openvino/openvino_model.bin": b"openvino",
    "onnx/model_O4.onnx": b"onnx",
}
NEEDED = {
    "modules.json",
    "config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "1_Pooling/config.json",
}


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    """The model of `golden` as its repository would be, with what nobody needs."""
    return {**files_of(FIXTURES / "bert-mean-prompts"), **JUNK}


def names_in(folder: str | Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}


def test_vectors_are_those_of_the_folder(served: Hub, files: dict[str, bytes], golden: Golden) -> None:
    served.add("org/name", files)
    model = Embedder("org/name")
    assert np.abs(model.encode(golden.texts) - golden.vectors["embeddings"]).max() <= TOLERANCE
    queries = model.encode_query(golden.texts[:8])
    assert np.abs(queries - golden.vectors["prompt_query"]).max() <= TOLERANCE
    assert model.model_info().as_dict()["name"] == "org/name"


def test_only_the_needed_files_and_each_once(served: Hub, files: dict[str, bytes], empty_cache: Path) -> None:
    commit = served.add("org/name", files)
    resolved = hub.resolve("org/name")
    assert sorted(served.fetched()) == sorted(NEEDED)  # from the hub itself: the large file is elsewhere
    large = [request.path for request in served.requests if request.server == "content"]
    assert large == [f"/org/name/model.safetensors/{sha256(files['model.safetensors'])}"]
    assert resolved == hub.ResolvedModel(str(empty_cache / "models--org--name" / "snapshots" / commit), "org/name")
    assert names_in(resolved.folder) == NEEDED | {"model.safetensors"}
    for name in NEEDED | {"model.safetensors"}:
        assert (Path(resolved.folder) / name).read_bytes() == files[name]


def test_a_cached_model_makes_no_request(served: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    served.add("org/name", files)
    first = hub.resolve("org/name")
    served.requests.clear()
    served.add("org/name", {**files, "new": b"a newer commit"})
    assert hub.resolve("org/name") == first
    assert hub.resolve("org/name", local_files_only=True) == first
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.resolve("org/name") == first
    assert served.requests == []


def test_a_cached_model_does_not_import_the_library(served: Hub, files: dict[str, bytes]) -> None:
    served.add("org/name", files)
    hub.resolve("org/name")
    script = (
        "import sys, oxembed; print(oxembed.Embedder('org/name').dimension, "
        "[name for name in ('huggingface_hub', 'requests', 'httpx', 'httpx2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "48 []\n"


def test_download_brings_the_newest_revision(served: Hub, files: dict[str, bytes]) -> None:
    old = hub.download("org/name") if served.add("org/name", files) else None
    new = {**files, "config_sentence_transformers.json": b'{"prompts": {"query": "q: "}}'}
    commit = served.add("org/name", new)
    served.requests.clear()
    found = hub.download("org/name")
    assert (found.name, found != old) == (commit, True)
    assert served.asked("GET")[-1].endswith(f"/resolve/{commit}/config_sentence_transformers.json")
    assert len(served.fetched()) == 1  # what did not change is not downloaded again
    assert names_in(found) == NEEDED | {"model.safetensors"}
    assert hub.resolve("org/name").folder == str(found)
    served.requests.clear()
    assert hub.download("org/name") == found
    assert [path for path in served.asked() if "/resolve/" in path] == []


def test_revisions(served: Hub, files: dict[str, bytes]) -> None:
    first = served.add("org/name", files)
    second = served.add("org/name", {**files, "config_sentence_transformers.json": b"{}"}, "refs/pr/1")
    served.models["org/name"].revisions["v1"] = first
    assert Path(hub.resolve("org/name", revision="refs/pr/1").folder).name == second
    assert Path(hub.resolve("org/name", revision="v1").folder).name == first
    with pytest.raises(ModelNotFoundError, match="it has no revision 'main'; it has refs/pr/1, v1"):
        hub.resolve("org/name", local_files_only=True)
    served.requests.clear()
    assert Path(hub.resolve("org/name", revision=first).folder).name == first
    assert Path(hub.download("org/name", revision=second)).name == second  # a commit cannot change
    assert served.requests == []


def test_a_bare_name_is_looked_for_at_sentence_transformers_first(served: Hub, files: dict[str, bytes]) -> None:
    served.add("sentence-transformers/all-mpnet-base-v2", files)
    served.add("gpt2", files)
    assert hub.resolve("all-mpnet-base-v2").name == "sentence-transformers/all-mpnet-base-v2"
    assert hub.resolve("gpt2").name == "gpt2"
    served.requests.clear()
    assert hub.resolve("all-mpnet-base-v2").name == "sentence-transformers/all-mpnet-base-v2"
    assert hub.resolve("gpt2").name == "gpt2"
    assert served.requests == []


def test_cache_dir(served: Hub, files: dict[str, bytes], empty_cache: Path, tmp_path: Path) -> None:
    served.add("org/name", files)
    model = Embedder("org/name", cache_dir=tmp_path / "other" / "cache")
    assert model.dimension == 48
    assert list(empty_cache.iterdir()) == []
    assert (tmp_path / "other" / "cache" / "models--org--name").is_dir()


def test_the_onnx_file_that_is_asked_for(served: Hub, files: dict[str, bytes], golden: Golden) -> None:
    assert "onnx/model.onnx" in files
    served.add("org/name", files)
    model = Embedder("org/name", onnx_file="onnx/model.onnx")
    assert np.abs(model.encode(golden.texts) - golden.vectors["embeddings"]).max() <= TOLERANCE
    folder = Path(hub.resolve("org/name", onnx_file="onnx/model.onnx", local_files_only=True).folder)
    assert names_in(folder) == NEEDED | {"onnx/model.onnx"}
    with pytest.raises(ModelNotFoundError, match=r"it lacks model\.safetensors"):
        hub.resolve("org/name", local_files_only=True)
    assert names_in(hub.resolve("org/name").folder) == NEEDED | {"onnx/model.onnx", "model.safetensors"}


def test_an_onnx_file_in_place_of_weights(served: Hub, files: dict[str, bytes], golden: Golden) -> None:
    kept = {name: data for name, data in files.items() if name != "model.safetensors"}
    served.add("org/name", {**kept, "onnx/model.onnx_data": b"weights"})
    model = Embedder("org/name")
    assert np.abs(model.encode(golden.texts) - golden.vectors["embeddings"]).max() <= TOLERANCE
    folder = hub.resolve("org/name").folder
    assert names_in(folder) == NEEDED | {"onnx/model.onnx", "onnx/model.onnx_data"}


def test_a_model_without_modules(served: Hub, files: dict[str, bytes]) -> None:
    """A bare transformer; that it has no modules.json is remembered, so the second time nobody is asked."""
    bare = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    served.add("org/name", {name: files[name] for name in bare})
    folder = hub.resolve("org/name").folder
    assert names_in(folder) == set(bare)
    served.requests.clear()
    assert hub.resolve("org/name").folder == folder
    assert served.requests == []


def test_sharded_weights(served: Hub, files: dict[str, bytes]) -> None:
    index = b'{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}'
    shards = {"model-00001-of-00002.safetensors": b"first", "model-00002-of-00002.safetensors": b"second"}
    kept = {name: data for name, data in files.items() if name != "model.safetensors"}
    served.add("org/name", {**kept, **shards, "model.safetensors.index.json": index, "x.safetensors": b"not named"})
    folder = hub.resolve("org/name").folder
    assert names_in(folder) == NEEDED | {"model.safetensors.index.json", *shards}
    (Path(folder) / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"which is missing|it lacks"):
        hub.resolve("org/name", local_files_only=True)
    assert hub.resolve("org/name").folder == folder
    assert (Path(folder) / "model-00002-of-00002.safetensors").read_bytes() == b"second"


@pytest.mark.parametrize("token", ["argument", "variable"])
def test_the_token_goes_to_the_hub_and_nowhere_else(
    token: str, served: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    served.add("org/name", files)
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_variable")
    hub.resolve("org/name", token="hf_of_the_argument" if token == "argument" else None)
    sent = {(request.server, request.token) for request in served.requests if "/org/name" in request.path}
    assert sent == {("hub", f"Bearer hf_of_the_{token}"), ("content", None)}


def test_no_token_where_none_is_wanted(served: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    served.add("org/name", files)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.resolve("org/name", token=False)
    assert {request.token for request in served.requests if "/org/name" in request.path} == {None}


# --- several at once ---------------------------------------------------------------------------------------------


def test_threads_with_the_same_wish(served: Hub, files: dict[str, bytes]) -> None:
    served.add("org/name", files)
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: hub.resolve("org/name").folder, range(4)))
    assert len(set(folders)) == 1
    assert len([request for request in served.requests if request.server == "content"]) == 1


def test_processes_with_the_same_wish(served: Hub, files: dict[str, bytes], golden: Golden) -> None:
    served.add("org/name", files)
    script = "import oxembed; print(oxembed.Embedder('org/name').encode('one text')[:4].tolist())"
    command = [sys.executable, "-c", script]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    printed = [process.communicate(timeout=PATIENCE) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert {output for output, _ in printed} == {f"{Embedder(golden.folder).encode('one text')[:4].tolist()}\n"}
    assert len([request for request in served.requests if request.server == "content"]) == 1


# --- the same cache with other programs --------------------------------------------------------------------------


def test_what_other_programs_downloaded_is_used(served: Hub, files: dict[str, bytes]) -> None:
    """`hf download`, which takes everything, and sentence-transformers, which asks for one file after the other."""
    from huggingface_hub import hf_hub_download, snapshot_download

    cache = os.environ["HF_HUB_CACHE"]
    served.add("org/all", files)
    served.add("org/some", files)
    everything = snapshot_download("org/all", endpoint=served.url, cache_dir=cache)
    paths = [
        hf_hub_download("org/some", name, endpoint=served.url, cache_dir=cache)
        for name in NEEDED | {"model.safetensors"}
    ]
    served.requests.clear()
    assert hub.resolve("org/all").folder == everything
    some = hub.resolve("org/some").folder
    assert all(Path(path).is_relative_to(some) for path in paths)
    assert served.requests == []


def test_what_other_programs_left_out_is_added(served: Hub, files: dict[str, bytes], golden: Golden) -> None:
    """`AutoModel` and `AutoTokenizer` leave out the pooling: a folder that loads, as another model."""
    from huggingface_hub import hf_hub_download

    served.add("org/name", files)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        hf_hub_download("org/name", name, endpoint=served.url, cache_dir=os.environ["HF_HUB_CACHE"])
    with pytest.raises(ModelNotFoundError, match=r"it lacks modules\.json"):
        hub.resolve("org/name", local_files_only=True)
    served.requests.clear()
    assert np.abs(Embedder("org/name").encode(golden.texts) - golden.vectors["embeddings"]).max() <= TOLERANCE
    assert set(served.fetched()) == NEEDED - {"config.json", "tokenizer.json", "tokenizer_config.json"}


def test_other_programs_find_what_is_downloaded_here(served: Hub, files: dict[str, bytes]) -> None:
    from huggingface_hub import scan_cache_dir, try_to_load_from_cache

    served.add("org/name", files)
    folder = Path(hub.resolve("org/name").folder)
    cache = os.environ["HF_HUB_CACHE"]
    for name in NEEDED | {"model.safetensors"}:
        assert try_to_load_from_cache("org/name", name, cache_dir=cache) == str(folder / name)
    found = scan_cache_dir(cache)
    assert found.warnings == []
    (repository,) = found.repos
    assert (repository.repo_id, {path for one in repository.revisions for path in one.refs}) == ("org/name", {"main"})
