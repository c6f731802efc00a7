"""The registry says what the models' repositories say, and a model of each one's exact shape does what it should.

The shapes are those of the repositories with fewer layers; the truth about the vectors is the implementation in
`reference`, which shares no code with oxembed.
"""

from __future__ import annotations

import gc
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import FIXTURES, TOLERANCE, run_python
from reference.sentence_transformer import SentenceTransformer
from registry.folders import repository, stored_ids, write_folder
from registry.shapes import count, dense_shapes, shapes_of

from oxembed import Embedder, registry
from oxembed._core import known_model_types
from oxembed.cli import main
from oxembed.exceptions import ModelNotFoundError
from oxembed.registry import RegisteredModel

MODELS = registry.models()
IDS = [model.id for model in MODELS]
# https://spdx.org/licenses; a licence that has no entry there is a LicenseRef-.
LICENSES = {"Apache-2.0", "MIT", "LicenseRef-Gemma"}
MODES = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "lasttoken"}
# Enough layers for each kind of layer to be there.
LAYERS = {"modernbert": 4, "gemma3_text": 6}
# From this width on there are fewer layers and texts, and float32, as float64 takes too long.
WIDE = 2_048
TEXTS = ["Hello, world!", "", "A cat is a small furry animal; kittens are young cats.", "Straße 猫 🙂 naïve"]


def by_id(model_id: str) -> RegisteredModel:
    return registry.find(model_id)


def setting(config: dict[str, Any], *keys: str) -> Any:
    return next(config[key] for key in keys if key in config)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that is gone after the test: the models are large."""
    with tempfile.TemporaryDirectory(prefix="registry-", ignore_cleanup_errors=True) as path:
        yield Path(path)


def test_every_model_has_a_stored_repository() -> None:
    assert sorted(IDS) == stored_ids()
    assert len(set(IDS)) == len(IDS)


def test_families_are_known() -> None:
    assert {model.family for model in MODELS} <= set(known_model_types())


@pytest.mark.parametrize("model_id", IDS)
def test_row_says_what_the_repository_says(model_id: str) -> None:
    model, files = by_id(model_id), repository(model_id)
    config, pooling = files["config.json"], files["1_Pooling/config.json"]
    assert model.family == config["model_type"]
    assert model.layers == setting(config, "num_hidden_layers", "n_layer")
    assert model.hidden_size == setting(config, "hidden_size", "n_embd")
    assert model.heads == setting(config, "num_attention_heads", "n_head")
    assert model.key_value_heads == config.get("num_key_value_heads")
    assert model.intermediate_size == setting(config, "intermediate_size", "n_inner")
    assert model.vocabulary == config["vocab_size"]
    assert model.dtype == config.get("torch_dtype", config.get("dtype", "float32"))
    assert [mode for key, mode in MODES.items() if pooling.get(f"pooling_mode_{key}")] == [model.pooling]
    classes = [module["type"].rpartition(".")[2] for module in files["modules.json"]]
    assert model.normalize == (classes[-1] == "Normalize")
    settings = files.get("config_sentence_transformers.json", {})
    assert model.prompts == settings.get("prompts", {})
    assert settings.get("default_prompt_name") is None


@pytest.mark.parametrize("model_id", IDS)
def test_parameters_are_those_of_the_shape(model_id: str) -> None:
    files = repository(model_id)
    dense = [dense_shapes(content) for name, content in files.items() if name.endswith("_Dense/config.json")]
    assert by_id(model_id).parameters == count(shapes_of(files["config.json"])) + sum(map(count, dense))


@pytest.mark.parametrize("model_id", IDS)
def test_row_is_consistent(model_id: str) -> None:
    model = by_id(model_id)
    assert re.fullmatch(r"[\w-]+/[\w.-]+", model.id)
    assert model.license in LICENSES
    assert model.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", model.sha256)
    assert (model.sha256 is None) or (model.weights == "model.safetensors")
    assert model.dtype in ("float32", "float16", "bfloat16")
    assert all(0 < length < model.dimension for length in model.matryoshka)
    assert list(model.matryoshka) == sorted(model.matryoshka, reverse=True)
    assert not (model.prompts and model.card_prompts), "either the folder says it or the card does"
    known = {each.name for each in fields(RegisteredModel)} | set(repository(model_id))
    assert set(model.unconfirmed) <= known - {"sha256", "unconfirmed"}


@pytest.mark.parametrize("model_id", IDS)
def test_model_of_the_exact_shape(model_id: str, folder: Path) -> None:
    """Loads, says what the registry says, and agrees with NumPy: alone, in a batch, beyond a window, with prompts."""
    model = by_id(model_id)
    wide = model.hidden_size >= WIDE
    layers = LAYERS.get(model.family, 1 if wide else 2)
    write_folder(folder, model_id, layers=layers, dtype=model.dtype, seed=IDS.index(model_id))
    window = window_of(repository(model_id)["config.json"])
    texts = TEXTS[:2] if wide else [*TEXTS, "word " * (40 + window * 2 // 3)]
    prompts = sorted({text: name for name, text in model.prompts.items()}.values())

    embedder = Embedder(folder, threads=2)
    info = embedder.model_info()
    assert (info.family, info.source, info.pooling) == (model.family, "model.safetensors", (model.pooling,))
    assert (info.dimension, info.max_seq_length) == (model.dimension, model.max_length)
    assert {name: info.prompts[name] for name in model.prompts} == model.prompts
    vectors = embedder.encode(texts)
    alone = embedder.encode(texts[0])
    prompted = [embedder.encode(texts[:1], prompt_name=name) for name in prompts]
    del embedder
    gc.collect()

    reference = SentenceTransformer(folder, np.float32 if wide else np.float64)
    assert reference.max_seq_length == model.max_length
    assert wide or len(reference.tokenize(texts[-1])) > window + 1
    expected = reference.encode(texts)
    assert expected.shape == (len(texts), model.dimension)
    assert apart(vectors, expected) <= TOLERANCE
    assert np.array_equal(alone, vectors[0])
    for name, rows in zip(prompts, prompted, strict=True):
        assert apart(rows, reference.encode(texts[:1], prompt_name=name)) <= TOLERANCE
    lengths = np.linalg.norm(vectors, axis=1)
    assert np.allclose(lengths, 1, atol=1e-5) == model.normalize


def apart(vectors: npt.NDArray[np.floating[Any]], expected: npt.NDArray[np.floating[Any]]) -> float:
    """The largest difference; in vectors that the model does not scale, for each unit of the largest number."""
    return float(np.abs(vectors - expected).max() / max(1.0, float(np.abs(expected).max())))


def window_of(config: dict[str, Any]) -> int:
    """Tokens that a sliding layer sees at once, 0 where no layer slides."""
    window: int = config.get("local_attention") or config.get("sliding_window") or 0
    return window


def test_find_is_forgiving_and_helps() -> None:
    assert registry.find("bge-m3").id == registry.find("baai/BGE-M3").id == "BAAI/bge-m3"
    with pytest.raises(ModelNotFoundError, match="intfloat/e5-small-v2"):
        registry.find("e5-smal-v2")


def test_what_python_gives_is_what_the_file_says() -> None:
    assert registry.models() is MODELS
    model = registry.find("google/embeddinggemma-300m")
    assert model.matryoshka == (512, 256, 128)
    assert model.prompts["Retrieval-document"] == "title: none | text: "
    assert set(model.as_dict()) == {each.name for each in fields(RegisteredModel)}


def printed(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["models", *arguments]) == 0
    return capfd.readouterr().out


@pytest.fixture
def cached(empty_cache: Path) -> str:
    """A registered model in the local cache: its id."""
    model_id, commit = "intfloat/e5-small-v2", "a" * 40
    repository = empty_cache / "models--intfloat--e5-small-v2"
    shutil.copytree(FIXTURES / "bert-cls", repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit, encoding="ascii")
    return model_id


def test_list_in_a_pipe(cached: str, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [line.split("\t") for line in printed(capfd).splitlines()]
    assert [row[0] for row in rows] == IDS
    for model, row in zip(MODELS, rows, strict=True):
        numbers = [str(model.dimension), str(model.max_length), str(model.parameters)]
        assert row[1:7] == [model.family, *numbers, model.pooling, model.license]
    places = {row[0]: row[7] for row in rows if row[7]}
    assert places == {"sentence-transformers/all-MiniLM-L6-v2": "package", cached: "cache"}


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_table_fits_the_terminal(
    columns: int, cached: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oxembed._commands.models.is_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    head, *rows = printed(capfd).partition("\n\n")[0].splitlines()
    assert all(len(line) <= max(columns, 41) for line in (head, *rows))
    assert len(rows) == len(MODELS)
    short = [model_id.removeprefix("sentence-transformers/") for model_id in IDS]
    assert [row[2:].split()[0] for row in rows] == short
    assert [row[2:].split()[0] for row in rows if row[0] == "*"] == ["all-MiniLM-L6-v2", cached]
    if columns >= 80:
        assert rows[0].split() == ["*", "all-MiniLM-L6-v2", "bert", "22.7M", "384", "256"]
        assert rows[IDS.index("Qwen/Qwen3-Embedding-8B")].split()[2:] == ["7.57B", "4096", "40960"]


def test_json_has_every_field(cached: str, capfd: pytest.CaptureFixture[str]) -> None:
    records = json.loads(printed(capfd, "--json"))
    assert [record["id"] for record in records] == IDS
    assert all(set(record) == {each.name for each in fields(RegisteredModel)} | {"here"} for record in records)
    assert next(record["here"] for record in records if record["id"] == cached) == "cache"


def test_everything_about_one_model(capfd: pytest.CaptureFixture[str]) -> None:
    record = json.loads(printed(capfd, "e5-base-v2", "--json"))
    assert record["card_prompts"] == {"query": "query: ", "passage": "passage: "}
    assert record["prompts"] == {}
    shown = dict(re.split(r"  +", line, maxsplit=1) for line in printed(capfd, "bge-m3").splitlines())
    assert (shown["family"], shown["max length"], shown["license"]) == ("xlm-roberta", "8,192", "MIT")
    assert main(["models", "no-such-model"]) == 1
    assert "oxembed info no-such-model" in capfd.readouterr().err


def test_nothing_of_it_is_read_to_load_a_model() -> None:
    script = (
        "import sys, oxembed; oxembed.Embedder(); print('oxembed.registry' in sys.modules, 'tomllib' in sys.modules)"
    )
    assert run_python(script, measured=False).stdout.split() == ["False", "False"]


def test_readme_lists_the_registered_models() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    section = text.partition("<!-- registered models -->\n")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"`([^`]+)`", section)) == sorted(model_id.rpartition("/")[2] for model_id in IDS)
