"""Which files of a repository are needed: the layouts on the hub, and what is refused before weights are read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from oxembed import calibration
from oxembed._model_files import MODULES, needed_files, read_settings
from oxembed.exceptions import InvalidModelError

ROOT = Path(__file__).resolve().parents[2]
TRANSFORMER = "sentence_transformers.models.Transformer"
POOLING = "sentence_transformers.models.Pooling"
DENSE = "sentence_transformers.sentence_transformer.modules.dense.Dense"
SMALL = {"config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json"}
JUNK = {
    "README.md",
    ".gitattributes",
    "vocab.txt",
    "pytorch_model.bin",
    "tf_model.h5",
    "flax_model.msgpack",
    "rust_model.ot",
    "openvino/openvino_model.bin",
    "onnx/model_quantized.onnx",
    "assets/picture.png",
    "1_Pooling/notes.json",
    "modeling_custom.py",
}


def modules(*entries: tuple[str, str]) -> bytes:
    listed = [{"idx": n, "name": str(n), "path": path, "type": kind} for n, (kind, path) in enumerate(entries)]
    return json.dumps(listed).encode()


def plan(
    names: set[str],
    listed: bytes | None = None,
    *,
    model_type: object = "bert",
    index: object = None,
    onnx_file: str | None = None,
) -> list[str]:
    """The plan for a repository of these files; everything that is read is also known to be there."""
    contents = {
        "modules.json": modules((TRANSFORMER, ""), (POOLING, "1_Pooling")) if listed is None else listed,
        "config.json": json.dumps({"model_type": model_type}).encode(),
        "0_Transformer/config.json": json.dumps({"model_type": model_type}).encode(),
        "model.safetensors.index.json": json.dumps(index).encode(),
    }
    return needed_files(names, lambda name: contents[name] if name in names else pytest.fail(name), onnx_file).files


def test_only_what_is_needed_and_the_tokenizer_last() -> None:
    wanted = SMALL | {"model.safetensors", "sentence_bert_config.json", "tokenizer_config.json"}
    found = plan(wanted | JUNK | {"onnx/model.onnx", "model.safetensors.index.json"})
    assert set(found) == wanted
    assert found[-2:] == ["model.safetensors", "tokenizer.json"]
    assert len(found) == len(set(found))


def test_shards_named_by_the_index() -> None:
    shards = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    index = {
        "metadata": {"total_size": 2},
        "weight_map": dict(zip("abc", [*sorted(shards), *sorted(shards)], strict=False)),
    }
    names = SMALL | shards | {"model.safetensors.index.json"}
    assert set(plan(names | JUNK | {"other.safetensors"}, index=index)) == names


def test_folders_of_the_modules() -> None:
    listed = modules(
        (TRANSFORMER, "0_Transformer"), (POOLING, "./1_Pooling/"), (DENSE, "2_Dense"), ("x.Normalize", "3_N")
    )
    names = {
        "modules.json",
        "0_Transformer/config.json",
        "0_Transformer/tokenizer.json",
        "0_Transformer/model.safetensors",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "3_N/config.json",
        "config_sentence_transformers.json",
    }
    assert set(plan(names | JUNK | {"2_Dense/pytorch_model.bin", "model.safetensors"}, listed)) == names


def test_a_transformer_alone() -> None:
    names = {"config.json", "tokenizer.json", "model.safetensors"}
    assert set(plan(names | JUNK)) == names


@pytest.mark.parametrize("weights", [set[str](), {"model.safetensors"}])
def test_the_onnx_file_where_no_graph_can_be_written(weights: set[str]) -> None:
    onnx = {"onnx/model.onnx", "onnx/model.onnx_data", "onnx/model.onnx_data_1", "onnx/model.onnx.data"}
    names = SMALL | JUNK | onnx | weights | {"onnx/model.onnx.txt", "onnx/model.onnx2"}
    assert set(plan(names, model_type="no-such-family")) == SMALL | onnx


def test_the_ranges_of_small_vectors_where_a_repository_has_them() -> None:
    names = SMALL | JUNK | {"model.safetensors", calibration.FILE_NAME}
    assert set(plan(names)) == names - JUNK


def test_the_onnx_file_that_is_asked_for() -> None:
    names = SMALL | JUNK | {"model.safetensors", "onnx/model.onnx", "onnx/model.onnx_data"}
    assert set(plan(names, onnx_file="onnx/model.onnx")) == SMALL | {"onnx/model.onnx", "onnx/model.onnx_data"}
    assert "onnx/model_quantized.onnx" in plan(names, onnx_file="./onnx/model_quantized.onnx")
    with pytest.raises(
        InvalidModelError, match=r"no file 'onnx/no\.onnx'.*onnx/model\.onnx, onnx/model_quantized\.onnx"
    ):
        plan(names, onnx_file="onnx/no.onnx")


def test_every_settings_file_that_the_loader_reads() -> None:
    """The loader is in another language; what its sources name is downloaded."""
    tests = re.compile(r"_tests\.rs$|/tests/")
    sources = [path for path in (ROOT / "src").rglob("*.rs") if not tests.search(path.as_posix())]
    code = "".join(re.split(r"#\[cfg\((?:all\()?test", path.read_text(encoding="utf-8"))[0] for path in sources)
    code = re.sub(r"^\s*//.*$", "", code, flags=re.MULTILINE)
    named = set(re.findall(r'"([\w-]+\.(?:json|jinja))"', code))
    assert {"modules.json", "sentence_bert_config.json", "chat_template.jinja", "tokenizer.json"} <= named
    unread = {"vocab.json", "model.safetensors.index.json"}  # named in a message; taken where there are shards
    wanted = (named - unread) | {"model.safetensors", "1_Pooling/config.json"}
    assert set(plan(wanted)) == wanted


def test_settings_that_are_too_large(tmp_path: Path) -> None:
    path = tmp_path / "modules.json"
    with path.open("wb") as stream:
        stream.truncate(16 * 1024 * 1024 + 1)
    with pytest.raises(InvalidModelError, match=r"modules\.json has 16777217 bytes"):
        read_settings(path)


def test_what_would_change_the_model_comes_along() -> None:
    """The loader refuses folders with these; without them it would load another model."""
    names = SMALL | {"model.safetensors", "adapter_config.json", "chat_template.jinja", "special_tokens_map.json"}
    assert set(plan(names)) == names


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (SMALL | {"pytorch_model.bin"}, r"only there as pytorch_model\.bin.*save_pretrained"),
        (SMALL | {"pytorch_model-00001-of-00002.bin"}, "neither downloaded nor opened"),
        (SMALL | {"tf_model.h5"}, r"no weights: neither model\.safetensors"),
        (SMALL | {"adapter_config.json", "adapter_model.safetensors"}, "merge_and_unload"),
        (SMALL - {"tokenizer.json"} | {"model.safetensors", "vocab.txt"}, r"no tokenizer\.json.*AutoTokenizer"),
        (SMALL - {"1_Pooling/config.json"} | {"model.safetensors"}, r"'1_Pooling/', which has no config\.json"),
        (SMALL | {"model.safetensors.index.json"}, "which is missing"),
    ],
)
def test_repositories_that_cannot_be_used(names: set[str], says: str) -> None:
    with pytest.raises(InvalidModelError, match=says):
        plan(names, index={"weight_map": {"a": "model-00001-of-00001.safetensors"}})


def test_a_family_that_is_not_known_is_refused_before_its_weights() -> None:
    with pytest.raises(InvalidModelError, match=r"config\.json: model_type is 'no-such-family'.*known are .*bert"):
        plan(SMALL | {"model.safetensors"}, model_type="no-such-family")


@pytest.mark.parametrize("dense", [set[str](), {"2_Dense/pytorch_model.bin"}])
def test_a_dense_layer_without_safetensors(dense: set[str]) -> None:
    listed = modules((TRANSFORMER, ""), (POOLING, "1_Pooling"), (DENSE, "2_Dense"))
    with pytest.raises(InvalidModelError, match="2_Dense/"):
        plan(SMALL | {"model.safetensors", "2_Dense/config.json"} | dense, listed)


@pytest.mark.parametrize(
    "listed",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b"{}",
        b"null",
        b"[3]",
        b'[{"path": ""}]',
        b'[{"type": "x.Transformer", "path": 3}]',
        modules((TRANSFORMER, "../other")),
        modules((TRANSFORMER, "/etc")),
        modules((TRANSFORMER, "a\\b")),
        modules((TRANSFORMER, "C:x")),
    ],
)
def test_hostile_modules(listed: bytes) -> None:
    with pytest.raises(InvalidModelError, match=r"modules\.json"):
        plan(SMALL | {"model.safetensors"}, listed)


@pytest.mark.parametrize(
    "index",
    [None, 3, [], {}, {"weight_map": {}}, {"weight_map": []}, {"weight_map": {"a": 3}}, {"weight_map": {"a": "../x"}}],
)
def test_hostile_indexes(index: object) -> None:
    with pytest.raises(InvalidModelError, match=r"model\.safetensors\.index\.json"):
        plan(SMALL | {"model.safetensors.index.json"}, index=index)


def test_what_would_have_made_other_files_needed() -> None:
    contents = {"config.json": b'{"model_type": "bert"}', MODULES: modules((TRANSFORMER, ""), (POOLING, "1_Pooling"))}
    bare = {"config.json", "tokenizer.json"}
    weights = ["model.safetensors", "model.safetensors.index.json"]
    assert needed_files({*SMALL, "model.safetensors"}, contents.__getitem__).absent == []
    assert needed_files({*bare, "model.safetensors"}, contents.__getitem__).absent == [MODULES]
    assert needed_files({*SMALL, "model.onnx"}, contents.__getitem__).absent == weights
    assert needed_files({*SMALL, "model.onnx"}, contents.__getitem__, "model.onnx").absent == []
    assert needed_files({*bare, "model.onnx"}, contents.__getitem__).absent == [*weights, MODULES]
