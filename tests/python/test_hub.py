"""Finding a model: paths, the embedded model, the local Hugging Face cache, and hostile names.

The cache is laid out by hand as `huggingface_hub` documents it, and once compared with that library itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from oxembed import ModelNotFoundError, hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


def put(cache: Path, model_id: str, commit: str = COMMIT, ref: str | None = "main") -> Path:
    """Make a cached model; returns its snapshot folder."""
    repository = cache / ("models--" + model_id.replace("/", "--"))
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    if ref is not None:
        (repository / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (repository / "refs" / ref).write_text(commit)
    return snapshot


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_embedded_model_by_its_names(name: str, empty_cache: Path) -> None:
    found = hub.resolve(name)
    assert found.name == "all-MiniLM-L6-v2"
    assert {"config.json", "modules.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in Path(found.folder).iterdir()
    }


def test_embedded_model_is_not_shadowed_by_a_folder_that_is_no_model(
    tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("all-MiniLM-L6-v2").mkdir()
    assert hub.resolve("all-MiniLM-L6-v2").folder == str(hub.embedded_folder())
    (Path("all-MiniLM-L6-v2") / "config.json").write_text("{}")
    assert hub.resolve("all-MiniLM-L6-v2").folder == str(tmp_path / "all-MiniLM-L6-v2")


def test_a_revision_means_the_cache(empty_cache: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="hf download"):
        hub.resolve("all-MiniLM-L6-v2", revision="main")
    snapshot = put(empty_cache, "sentence-transformers/all-MiniLM-L6-v2")
    assert hub.resolve("all-MiniLM-L6-v2", revision="main").folder == str(snapshot)


def test_path_as_str_and_as_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    expected = hub.ResolvedModel(str(folder), "my model", is_path=True)
    assert hub.resolve(str(folder)) == expected
    assert hub.resolve(folder) == expected
    monkeypatch.chdir(tmp_path)
    assert hub.resolve("my model") == expected, "relative paths become absolute"
    assert hub.resolve("./my model/../my model").name == "my model"
    monkeypatch.chdir(folder)
    assert hub.resolve(".").folder == str(folder)
    assert hub.resolve(".").name == "my model"


def test_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERPROFILE" if sys.platform == "win32" else "HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert hub.resolve("~/model").folder == str(tmp_path / "model")


@pytest.mark.parametrize("name", ["no/such/folder", "./nothing", "/nothing/there", "nothing/", "~/nothing-here"])
def test_missing_path_says_so(name: str, empty_cache: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="there is no folder") as caught:
        hub.resolve(name)
    assert name in str(caught.value)


def test_missing_path_object_is_never_an_id(empty_cache: Path) -> None:
    put(empty_cache, "org/name")
    with pytest.raises(ModelNotFoundError, match="there is no folder"):
        hub.resolve(Path("org/name"))


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ModelNotFoundError, match="is a file; pass the model folder"):
        hub.resolve(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        "a\x00b",
        "../x",
        "../../etc/passwd",
        "org/../name",
        "org/name/more",
        "org--name",
        "a..b",
        "-x",
        "org/",
        "/x",
        "x" * 10000,
        "org/" + "y" * 5000,
        "name with spaces",
        "naïve",
        "org\\name",
        "�",
    ],
)
def test_hostile_names(name: str, empty_cache: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        hub.resolve(name)


@pytest.mark.parametrize("revision", ["", "../main", "a/../../b", "/etc/passwd", "a\0b", "x" * 5_000, "a b", "main/"])
def test_hostile_revisions(revision: str, empty_cache: Path) -> None:
    put(empty_cache, "org/name")
    (empty_cache / "models--org--name" / "main").write_text(COMMIT)
    with pytest.raises(ModelNotFoundError):
        hub.resolve("org/name", revision=revision)


@pytest.mark.parametrize("commit", ["../../..", "", "main", COMMIT.upper(), COMMIT + "0", "\n"])
def test_hostile_refs(commit: str, empty_cache: Path) -> None:
    put(empty_cache, "org/name")
    (empty_cache / "models--org--name" / "refs" / "main").write_text(commit)
    with pytest.raises(ModelNotFoundError, match="unfinished download"):
        hub.resolve("org/name")


@pytest.mark.parametrize("model", [None, 3, b"all-MiniLM-L6-v2", ["x"]])
def test_wrong_types(model: object) -> None:
    with pytest.raises(TypeError, match="model must be a str or a path"):
        hub.resolve(model)  # type: ignore[arg-type]


def test_cached_id_by_branch_tag_and_commit(empty_cache: Path) -> None:
    first = put(empty_cache, "org/name")
    second = put(empty_cache, "org/name", OTHER, "refs/pr/1")
    assert hub.resolve("org/name") == hub.ResolvedModel(str(first), "org/name")
    assert hub.resolve("org/name", revision="refs/pr/1").folder == str(second)
    assert hub.resolve("org/name", revision=OTHER).folder == str(second)
    with pytest.raises(ModelNotFoundError, match="no revision 'v2'; it has main"):
        hub.resolve("org/name", revision="v2")


def test_bare_name_means_sentence_transformers_first(empty_cache: Path) -> None:
    plain = put(empty_cache, "gpt2")
    assert hub.resolve("gpt2") == hub.ResolvedModel(str(plain), "gpt2")
    ours = put(empty_cache, "sentence-transformers/gpt2")
    assert hub.resolve("gpt2") == hub.ResolvedModel(str(ours), "sentence-transformers/gpt2")


def test_not_cached_says_where_it_looked_and_what_works(empty_cache: Path) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        hub.resolve("BAAI/bge-small-en-v1.5")
    message = str(caught.value)
    assert str(empty_cache / "models--BAAI--bge-small-en-v1.5") in message
    assert "does not download" in message
    assert "hf download BAAI/bge-small-en-v1.5" in message


def test_order_of_the_cache_variables(tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def set_and_ask(name: str, value: str) -> list[Path]:
        monkeypatch.setenv(name, value)
        return hub.cache_folders()

    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("USERPROFILE" if sys.platform == "win32" else "HOME", str(tmp_path))
    assert hub.cache_folders() == [tmp_path / ".cache" / "huggingface" / "hub"]
    assert set_and_ask("XDG_CACHE_HOME", "/xdg") == [Path("/xdg/huggingface/hub")]
    assert set_and_ask("HF_HOME", "~/hf") == [tmp_path / "hf" / "hub"]
    assert set_and_ask("HUGGINGFACE_HUB_CACHE", "/old") == [Path("/old")]
    assert set_and_ask("HF_HUB_CACHE", "/new") == [Path("/new")]
    assert set_and_ask("SENTENCE_TRANSFORMERS_HOME", "/st") == [Path("/st"), Path("/new")]
    assert hub.cache_folders(tmp_path) == [tmp_path]


def test_cache_dir_argument_is_the_only_place(tmp_path: Path, empty_cache: Path) -> None:
    put(empty_cache, "org/name")
    with pytest.raises(ModelNotFoundError):
        hub.resolve("org/name", cache_dir=tmp_path / "other")
    snapshot = put(tmp_path / "other", "org/name", OTHER)
    assert hub.resolve("org/name", cache_dir=tmp_path / "other").folder == str(snapshot)


def test_lists_what_is_cached(empty_cache: Path) -> None:
    put(empty_cache, "org/name")
    put(empty_cache, "gpt2")
    (empty_cache / "models--unfinished--download" / "blobs").mkdir(parents=True)
    (empty_cache / "datasets--org--data" / "snapshots" / COMMIT).mkdir(parents=True)
    assert hub.cached_models() == ["gpt2", "org/name"]


def test_agrees_with_huggingface_hub(empty_cache: Path) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    put(empty_cache, "org/name", OTHER, "v1")
    put(empty_cache, "org/name")
    for revision in (None, "v1", COMMIT, OTHER):
        theirs = huggingface_hub.snapshot_download(
            "org/name", revision=revision, cache_dir=empty_cache, local_files_only=True
        )
        assert hub.resolve("org/name", revision=revision).folder == theirs
