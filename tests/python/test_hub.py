"""Finding a model without a network: paths, the embedded model, the local Hugging Face cache, and hostile names.

The cache is laid out by hand as `huggingface_hub` documents it, and once compared with that library itself.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from oxembed import ModelNotFoundError, hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]
FILES = {
    "modules.json": json.dumps(MODULES),
    "1_Pooling/config.json": "{}",
    "config.json": '{"model_type": "bert"}',
    "model.safetensors": "",
    "tokenizer.json": "{}",
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def put(
    cache: Path, model_id: str, commit: str = COMMIT, ref: str | None = "main", *, without: tuple[str, ...] = ()
) -> Path:
    """Make a cached model that looks complete, but for what is left out; returns its snapshot folder."""
    repository = cache / ("models--" + model_id.replace("/", "--"))
    snapshot = repository / "snapshots" / commit
    for name, content in FILES.items():
        if name not in without:
            (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
            (snapshot / name).write_text(content)
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
    with pytest.raises(ModelNotFoundError, match="oxembed download all-MiniLM-L6-v2 --revision main"):
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
    assert "Downloads are off by HF_HUB_OFFLINE=1" in message
    assert "oxembed download BAAI/bge-small-en-v1.5" in message


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
    first = put(empty_cache, "org/name")
    (empty_cache / "models--org--name" / "refs" / "v1").write_text(COMMIT)
    put(empty_cache, "gpt2", OTHER, None, without=("model.safetensors",))
    (empty_cache / "models--unfinished--download" / "blobs").mkdir(parents=True)
    (empty_cache / "datasets--org--data" / "snapshots" / COMMIT).mkdir(parents=True)
    gpt2, name = hub.cached_models()
    expected = hub.CachedModel("org/name", ("main", "v1"), COMMIT, str(first), sum(map(len, FILES.values())), None)
    assert name == expected
    assert name.is_complete
    assert (gpt2.name, gpt2.revisions, gpt2.commit, gpt2.is_complete) == ("gpt2", (), OTHER, False)
    assert "model.safetensors" in str(gpt2.problem)


@pytest.mark.parametrize("missing", FILES)
def test_an_incomplete_snapshot_is_not_used(missing: str, empty_cache: Path) -> None:
    put(empty_cache, "org/name", without=(missing,))
    with pytest.raises(ModelNotFoundError, match="not complete in the local Hugging Face cache") as caught:
        hub.resolve("org/name")
    assert missing.removeprefix("1_Pooling/") in str(caught.value)


def test_a_model_that_is_known_to_have_no_modules(empty_cache: Path) -> None:
    """Two ways in which `huggingface_hub` keeps that a file is not in the repository."""
    snapshot = put(empty_cache, "org/first", without=("modules.json",))
    absence = empty_cache / "models--org--first" / ".no_exist" / COMMIT / "modules.json"
    absence.parent.mkdir(parents=True)
    absence.touch()
    assert hub.resolve("org/first").folder == str(snapshot)

    snapshot = put(empty_cache, "org/second", without=("modules.json",))
    tree = empty_cache / "models--org--second" / "trees" / f"{COMMIT}.json"
    tree.parent.mkdir()
    listed = {name: {"size": 1, "blob_id": OTHER} for name in FILES if name != "modules.json"}
    tree.write_text(json.dumps({"format_version": 1, "files": listed}))
    assert hub.resolve("org/second").folder == str(snapshot)


def test_a_listing_tells_of_settings_that_are_missing(empty_cache: Path) -> None:
    put(empty_cache, "org/name")
    tree = empty_cache / "models--org--name" / "trees" / f"{COMMIT}.json"
    tree.parent.mkdir()
    listed = {name: {"size": 1, "blob_id": OTHER} for name in [*FILES, "sentence_bert_config.json", "README.md"]}
    tree.write_text(json.dumps({"format_version": 1, "files": listed}))
    with pytest.raises(ModelNotFoundError, match=r"it lacks sentence_bert_config\.json\)"):
        hub.resolve("org/name")


@pytest.mark.parametrize("content", ["", "[", "[]", '{"files": 3}', '{"files": []}', "null", "\udcff"])
def test_a_damaged_listing_counts_for_nothing(content: str, empty_cache: Path) -> None:
    snapshot = put(empty_cache, "org/name")
    tree = empty_cache / "models--org--name" / "trees" / f"{COMMIT}.json"
    tree.parent.mkdir()
    tree.write_bytes(content.encode(errors="surrogateescape"))
    assert hub.resolve("org/name").folder == str(snapshot)


@pytest.mark.parametrize(
    ("variables", "is_off"),
    [
        ({"HF_HUB_OFFLINE": "1"}, True),
        ({"HF_HUB_OFFLINE": "true"}, True),
        ({"TRANSFORMERS_OFFLINE": "yes"}, True),
        ({"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"}, False),
        ({"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "ON"}, True),
        ({}, False),
    ],
)
def test_the_offline_variables(
    variables: dict[str, str], is_off: bool, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule of `huggingface_hub.constants`; where downloads are on, the port with nobody behind it is asked."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ModelNotFoundError, match="Downloads are off by" if is_off else "could not be downloaded"):
        hub.resolve("org/name")
    with pytest.raises(ModelNotFoundError, match="downloads are off by" if is_off else "could not be downloaded"):
        hub.download("org/name")
    with pytest.raises(ModelNotFoundError, match="Downloads are off by local_files_only=True"):
        hub.resolve("org/name", local_files_only=True)


def test_agrees_with_huggingface_hub(empty_cache: Path) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    put(empty_cache, "org/name", OTHER, "v1")
    put(empty_cache, "org/name")
    for revision in (None, "v1", COMMIT, OTHER):
        theirs = huggingface_hub.snapshot_download(
            "org/name", revision=revision, cache_dir=empty_cache, local_files_only=True
        )
        assert hub.resolve("org/name", revision=revision).folder == theirs
