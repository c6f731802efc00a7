"""Weights in several files, weights of other programs, and every family's own settings, broken in any one way."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from broken import LOAD, SECONDS, WEIGHTS, Bomb, edit, put, refused, run_apart, small, take
from onnx import TensorProto, helper, numpy_helper
from reference.factory import FIXTURES, make_model
from reference.weights import read_safetensors, write_safetensors

from oxembed import Embedder

INDEX = "model.safetensors.index.json"
TEXTS = ["Hello, world!", "", "one two three"]
MEGABYTES = 50

# ---- Several files --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model of three shards."""
    return make_model(tmp_path_factory.mktemp("whole") / "model", "bert", **small(shards=3))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def shard(number: int) -> str:
    return f"model-{number:05d}-of-00003.safetensors"


def weight_map(folder: Path) -> dict[str, str]:
    stored: dict[str, str] = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
    return stored


def test_shards_give_the_bits_of_one_file(folder: Path, tmp_path: Path) -> None:
    single = make_model(tmp_path / "single", "bert", **small())
    model = Embedder(folder)
    assert model.model_info().source == INDEX
    assert np.array_equal(model.encode(TEXTS), Embedder(single).encode(TEXTS))


def test_one_file_wins_over_an_index(folder: Path, tmp_path: Path) -> None:
    """As in transformers, whatever the index says."""
    single = make_model(tmp_path / "single", "bert", **small(seed=52))
    shutil.copy(single / WEIGHTS, folder / WEIGHTS)
    (folder / INDEX).write_text("not even JSON", encoding="utf-8")
    model = Embedder(folder)
    assert model.model_info().source == WEIGHTS
    assert np.array_equal(model.encode(TEXTS), Embedder(single).encode(TEXTS))


def test_shards_behind_links_as_in_the_hugging_face_cache(folder: Path) -> None:
    truth = Embedder(folder).encode(TEXTS)
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    for number, path in enumerate(sorted(folder.glob("*.safetensors*"))):
        path.rename(blobs / str(number))
        path.symlink_to(f"../blobs/{number}")
    assert np.array_equal(Embedder(folder).encode(TEXTS), truth)


def test_a_total_size_that_lies(folder: Path) -> None:
    """Nobody reads it: transformers neither."""
    truth = Embedder(folder).encode(TEXTS)
    for size in (0, -1, 10**30, "much", None):
        edit(folder / INDEX, lambda index, size=size: index["metadata"].update(total_size=size))  # type: ignore[misc]
        assert np.array_equal(Embedder(folder).encode(TEXTS), truth)


def test_unaligned_weights(folder: Path) -> None:
    """Numbers that no processor would read in one piece: they are copied."""
    truth = Embedder(folder).encode(TEXTS)
    for number in (1, 2, 3):
        data = (folder / shard(number)).read_bytes()
        end = 8 + struct.unpack("<Q", data[:8])[0]
        header = data[8:end].rstrip()
        header += b" " * ((1 - (8 + len(header))) % 4)  # one byte behind a multiple of four
        (folder / shard(number)).write_bytes(struct.pack("<Q", len(header)) + header + data[end:])
    assert np.array_equal(Embedder(folder).encode(TEXTS), truth)


Attack = Callable[[Path], object]


def places(**changed: Any) -> Attack:
    """What the index says of the word table's place."""
    return lambda folder: edit(folder / INDEX, lambda index: index["weight_map"].update(changed))


def word_table_in(place: Any) -> Attack:
    return places(**{"embeddings.word_embeddings.weight": place})


def index_of(text: bytes) -> Attack:
    return lambda folder: (folder / INDEX).write_bytes(text)


def in_place_of(name: str, make: Callable[[Path], object]) -> Attack:
    def attack(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return attack


def cut(name: str, length: int) -> Attack:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


def outside(folder: Path, place: str) -> None:
    """A good shard, outside: only the refusal keeps it from being read."""
    shutil.copy(folder / shard(2), folder.parent / "outside.safetensors")
    table = "embeddings.word_embeddings.weight"
    edit(folder / INDEX, lambda index: index["weight_map"].update({table: place.replace("PARENT", str(folder.parent))}))


def with_tensors(number: int, change: Callable[[dict[str, Any]], object]) -> Attack:
    def attack(folder: Path) -> None:
        tensors: dict[str, Any] = dict(read_safetensors(folder / shard(number)))
        change(tensors)
        write_safetensors(folder / shard(number), tensors)

    return attack


def twice(folder: Path) -> None:
    first = next(iter(read_safetensors(folder / shard(1)).items()))
    with_tensors(2, lambda tensors: tensors.update([first]))(folder)


SHARDS: dict[str, tuple[Attack, tuple[str, ...]]] = {
    "a shard missing": (lambda folder: (folder / shard(2)).unlink(), (shard(2), "missing", "download")),
    "a shard that is a link to nowhere": (
        in_place_of(shard(2), lambda path: path.symlink_to("../../blobs/0123")),
        (shard(2), "missing"),
    ),
    "a shard that is a folder": (in_place_of(shard(2), Path.mkdir), (shard(2), "not a regular file")),
    "a shard that is a device": (
        in_place_of(shard(2), lambda path: path.symlink_to("/dev/zero")),
        (shard(2), "not a regular file"),
    ),
    "a shard that is empty": (cut(shard(2), 0), (shard(2), "empty")),
    "a shard of seven bytes": (cut(shard(2), 7), (shard(2), "7 bytes")),
    "a shard cut in its header": (cut(shard(2), 100), (shard(2), "partial download")),
    "a shard cut in its tensors": (cut(shard(2), 2000), (shard(2), "partial download")),
    "a shard of another model": (
        with_tensors(3, lambda tensors: tensors.update(extra=np.ones(3))),
        (shard(3), "extra", "does not list it", "download the folder again"),
    ),
    "a shard without a tensor": (
        with_tensors(3, lambda tensors: tensors.pop(next(iter(tensors)))),
        (shard(3), "missing", INDEX),
    ),
    "a tensor in two shards": (twice, (shard(2), shard(1))),
    "shards exchanged": (
        lambda folder: [
            (folder / a).rename(folder / b) for a, b in ((shard(1), "x"), (shard(2), shard(1)), ("x", shard(2)))
        ],
        (shard(1), shard(2)),
    ),
    "a place above": (lambda folder: outside(folder, "../outside.safetensors"), (INDEX, "../outside.safetensors")),
    "an absolute place": (lambda folder: outside(folder, "PARENT/outside.safetensors"), (INDEX, "outside")),
    "a place of Windows": (lambda folder: outside(folder, "..\\outside.safetensors"), (INDEX, "outside")),
    "a place on a drive": (word_table_in("C:model.safetensors"), (INDEX, "C:model")),
    "a place in a folder": (word_table_in("sub/model.safetensors"), (INDEX, "sub/model")),
    "a place with NUL": (word_table_in("a\0.safetensors"), (INDEX, ".safetensors")),
    "a place that is a pickle": (word_table_in("pytorch_model.bin"), (INDEX, "pytorch_model.bin", ".safetensors")),
    "a place that is nothing": (word_table_in(""), (INDEX, ".safetensors")),
    "a place that is a dot": (word_table_in("."), (INDEX, ".safetensors")),
    "a place that is a number": (word_table_in(1), (INDEX,)),
    "a place that is a list": (word_table_in([shard(1)]), (INDEX,)),
    "a place of a megabyte": (word_table_in("x" * 2**20 + ".safetensors"), ("xxx",)),
    "a tensor with a name of a megabyte": (places(**{"x" * 2**20: shard(1)}), (INDEX, "xxx", "1024")),
    "a tensor that no shard has": (places(nobody=shard(1)), (shard(1), "nobody", "missing")),
    "a map without tensors": (index_of(b'{"weight_map": {}}'), (INDEX, "weight_map")),
    "a map that is a list": (index_of(b'{"weight_map": []}'), (INDEX,)),
    "a map that is null": (index_of(b'{"weight_map": null}'), (INDEX,)),
    "no map": (index_of(b'{"metadata": {}}'), (INDEX, "weight_map")),
    "an index that is a list": (index_of(b"[]"), (INDEX,)),
    "an index that is cut": (cut(INDEX, 200), (INDEX, "partial download")),
    "an index that is empty": (index_of(b""), (INDEX,)),
    "an index of deep lists": (index_of(b'{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"), (INDEX,)),
    "an index with a name twice": (
        lambda folder: (folder / INDEX).write_text(
            (folder / INDEX)
            .read_text()
            .replace('"weight_map": {', '"weight_map": {"a": "x.safetensors", "a": "x.safetensors",')
        ),
        (INDEX, '"a"', "twice"),
    ),
    "an index that is a folder": (in_place_of(INDEX, Path.mkdir), (INDEX, "folder")),
    "an index that is a link to nowhere": (in_place_of(INDEX, lambda path: path.symlink_to("nobody")), (INDEX, "link")),
    "an index that is a Git LFS pointer": (
        index_of(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 90868376\n"),
        (INDEX, "git lfs pull"),
    ),
}


@pytest.mark.parametrize("name", SHARDS)
def test_shards(name: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    attack, names = SHARDS[name]
    attack(folder)
    refused(folder, str(folder), *names, capfd=capfd)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("name", [shard(1), INDEX])
def test_a_pipe_in_place_of_a_shard(name: str, folder: Path, whole: Path) -> None:
    """Opening one waits until somebody writes to it."""
    (folder / name).unlink()
    os.mkfifo(folder / name)
    kind, message, seconds, _ = json.loads(run_apart(LOAD, str(whole), str(folder)))
    assert kind == "InvalidModelError", (kind, message)
    assert str(folder / name) in message
    assert seconds < SECONDS


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("name", [shard(1), INDEX])
def test_permission_denied(name: str, folder: Path) -> None:
    (folder / name).chmod(0)
    refused(folder, str(folder / name))


def sparse(length: int, start: bytes = b"") -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.write(start)
            file.truncate(length)

    return make


def many_names(count: int) -> bytes:
    names = ", ".join(f'"{number:x}": "a.safetensors"' for number in range(count))
    return f'{{"weight_map": {{{names}}}}}'.encode()


LARGE: dict[str, Attack] = {
    "an index of 100 MB": in_place_of(INDEX, sparse(100 << 20)),
    "an index of 8 GB": in_place_of(INDEX, sparse(8 << 30)),
    "an index of 130,000 names": index_of(many_names(130_000)),
    "an index of 600,000 names": index_of(many_names(600_000)),
    "a shard of 100 GB, all header": in_place_of(shard(2), sparse(100 << 30, struct.pack("<Q", (100 << 30) - 8))),
    "a shard of 100 GB, all tensors": in_place_of(shard(2), sparse(100 << 30, struct.pack("<Q", 2) + b"{}")),
    "a shard that says 100 GB": in_place_of(shard(2), sparse(4096, struct.pack("<Q", 100 << 30))),
    "a tensor of 100 GB that is not there": in_place_of(
        shard(2),
        lambda path: path.write_bytes(
            (lambda text: struct.pack("<Q", len(text)) + text)(
                json.dumps({"a": {"dtype": "F32", "shape": [25 << 30], "data_offsets": [0, 100 << 30]}}).encode()
            )
        ),
    ),
}


def test_large_lies_cost_no_memory(whole: Path, tmp_path: Path) -> None:
    """In a process that has loaded a good model: what each adds to the most memory it ever had."""
    folders = {name: Path(shutil.copytree(whole, tmp_path / str(number))) for number, name in enumerate(LARGE)}
    for name, attack in LARGE.items():
        attack(folders[name])
    output = run_apart(LOAD, str(whole), *(str(path) for path in folders.values()))
    for name, line in zip(LARGE, output.splitlines(), strict=True):
        kind, message, seconds, megabytes = json.loads(line)
        assert kind == "InvalidModelError", (name, kind, message)
        assert seconds < SECONDS, (name, seconds)
        assert megabytes < MEGABYTES, (name, megabytes)


# ---- Weights of other programs --------------------------------------------------------------------------------------

FORMATS: dict[str, tuple[str, ...]] = {
    "pytorch_model.bin": ("never opened", "save_pretrained"),
    "pytorch_model.bin.index.json": ("never opened", "save_pretrained"),
    "pytorch_model-00001-of-00002.bin": ("never opened", "save_pretrained"),
    "model.pt": ("never opened", "save_pretrained"),
    "model.pth": ("never opened", "save_pretrained"),
    "model.ckpt": ("never opened", "save_pretrained"),
    "tf_model.h5": ("TensorFlow", "from_tf=True"),
    "flax_model.msgpack": ("Flax", "from_flax=True"),
    "model-q4_k_m.gguf": ("llama.cpp", "original model"),
    "model.fp16.safetensors": ("another name", "rename"),
}


@pytest.mark.parametrize("file", FORMATS)
def test_weights_of_another_program(file: str, folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    trap = tmp_path / "trap"
    (folder / file).write_bytes(pickle.dumps(Bomb(trap)))
    (folder / "training_args.bin").write_bytes(pickle.dumps(Bomb(trap)))
    refused(folder, str(folder / WEIGHTS), file, *FORMATS[file])
    assert not trap.exists()


def test_files_of_training_are_not_taken_for_weights(folder: Path) -> None:
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    for name in ("training_args.bin", "optimizer.pt", "rng_state.pth"):
        (folder / name).write_bytes(b"\x80\x02.")
    message = refused(folder, str(folder / WEIGHTS), "missing")
    assert "never opened" not in message


IMPOSTORS: dict[str, tuple[bytes, str]] = {
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n", "git lfs pull"),
    "a web page": (b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>", "web page"),
    "a login page": (b"\n\n<html lang=en><body>Sign in</body></html>", "web page"),
    "a server's error": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    "a file of torch": (b"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl" + b"\0" * 64, "never opened"),
    "a pickle": (pickle.dumps({"a": 1}, protocol=2), "never opened"),
}


@pytest.mark.parametrize("name", IMPOSTORS)
@pytest.mark.parametrize(
    "file", [WEIGHTS, shard(2), "config.json", "modules.json", "tokenizer_config.json", "model.onnx"]
)
def test_another_file_under_this_name(file: str, name: str, folder: Path) -> None:
    content, word = IMPOSTORS[name]
    if file == "model.onnx":
        for path in folder.glob("*.safetensors*"):
            path.unlink()
    (folder / file).write_bytes(content)
    refused(folder, str(folder / file), word)


def test_dense_that_is_a_pickle_only(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "bert", **small(dense=[(8, True, "Tanh")]))
    (folder / "2_Dense" / WEIGHTS).unlink()
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "trap")))
    refused(folder, str(folder / "2_Dense" / WEIGHTS), "pytorch_model.bin", "never opened", "save_pretrained")
    assert not (tmp_path / "trap").exists()


# ---- Families -------------------------------------------------------------------------------------------------------

KNOWN = ("bert", "roberta", "distilbert", "mpnet", "modernbert", "nomic_bert", "gte", "qwen3", "gemma3_text", "llama")


def test_an_unknown_family(folder: Path) -> None:
    put(folder / "config.json", model_type="t5")
    message = refused(folder, str(folder / "config.json"), "model_type", '"t5"', "onnx", *KNOWN)
    assert "may be meant" not in message


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("brt", "bert"),
        ("BERT", "bert"),
        ("modern-bert", "modernbert"),
        ("nomic-bert", "nomic_bert"),
        ("xlm_roberta", "xlm-roberta"),
        ("qwen", "qwen2"),
        ("distillbert", "distilbert"),
        ("mistal", "mistral"),
    ],
)
def test_a_family_misspelled(name: str, meant: str, folder: Path) -> None:
    put(folder / "config.json", model_type=name)
    refused(folder, str(folder / "config.json"), f'"{meant}" may be meant')


def test_a_family_of_a_megabyte(folder: Path) -> None:
    put(folder / "config.json", model_type="bert" * 2**18)
    refused(folder, str(folder / "config.json"), "model_type")


AUTO_MAP = {"AutoConfig": "configuration.MyConfig", "AutoModel": "modeling.MyModel"}


@pytest.fixture
def with_code(folder: Path) -> Path:
    """A model with Python code of its own, which leaves a trace when it is run."""
    trap = f"open({str(folder / 'trap')!r}, 'w')\n"
    for name in ("modeling.py", "configuration.py", "__init__.py"):
        (folder / name).write_text(trap, encoding="utf-8")
    put(folder / "config.json", auto_map=AUTO_MAP)
    return folder


def test_a_model_of_its_own_code(with_code: Path) -> None:
    put(with_code / "config.json", model_type="my_model")
    refused(with_code, str(with_code / "config.json"), "my_model", "auto_map", "never run", "onnx/model.onnx", *KNOWN)
    assert not (with_code / "trap").exists()


def test_a_known_family_with_code_of_its_own_is_run_by_ours(with_code: Path) -> None:
    """nomic-ai and Alibaba publish theirs so."""
    vectors = Embedder(with_code).encode(TEXTS)
    take(with_code / "config.json", "auto_map")
    assert np.array_equal(vectors, Embedder(with_code).encode(TEXTS))
    assert not (with_code / "trap").exists()


def test_a_model_of_its_own_code_with_an_onnx_file(with_code: Path) -> None:
    put(with_code / "config.json", model_type="my_model")
    table = np.random.RandomState(3).standard_normal((2000, 16)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["out"])],
        "by hand",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ("b", "s"))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ("b", "s", 16))],
        [numpy_helper.from_array(table, "table")],
    )
    onnx.save_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), with_code / "model.onnx"
    )
    model = Embedder(with_code)
    assert model.model_info().source == "model.onnx"
    assert np.isfinite(model.encode(TEXTS)).all()
    assert not (with_code / "trap").exists()


# Every family whose graph is written: a fixture, and the sizes that a tensor contradicts when they are others.
# A new family is a new row.
FAMILIES: dict[str, tuple[str, ...]] = {
    "bert-mean-prompts": (
        "hidden_size",
        "num_hidden_layers",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
        "type_vocab_size",
    ),
    "bert-mean-f16": ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size"),
    "roberta-mean": ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size", "max_position_embeddings"),
    "xlmr-mean-prompts": ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size"),
    "distilbert-mean": ("dim", "n_layers", "hidden_dim", "vocab_size", "max_position_embeddings"),
    "mpnet-mean-b": ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size", "max_position_embeddings"),
    "modernbert-cls": ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size"),
    "nomicbert-mean": ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size", "type_vocab_size"),
    "gte-cls": ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size"),
    "qwen3-lasttoken": (
        "hidden_size",
        "num_hidden_layers",
        "intermediate_size",
        "vocab_size",
        "head_dim",
        "num_attention_heads",
        "num_key_value_heads",
    ),
    "qwen3-sharded-bf16": ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size", "head_dim"),
    "gemma3-mean-dense": (
        "hidden_size",
        "num_hidden_layers",
        "intermediate_size",
        "vocab_size",
        "head_dim",
        "num_attention_heads",
    ),
}

# Sizes that are read, whatever the family calls them; those that a tensor cannot contradict too.
SIZES = {key for keys in FAMILIES.values() for key in keys} | {
    "num_attention_heads",
    "n_heads",
    "max_position_embeddings",
    "num_key_value_heads",
    "sliding_window",
    "local_attention",
    "global_attn_every_n_layers",
    "relative_attention_num_buckets",
}
NO_SIZES: tuple[Any, ...] = (-1, 0.5, 10**18, 2**63, 2**64, 1e300, "16", True, [], [16], {}, "NaN", "")


def linked(fixture: str, folder: Path) -> Path:
    """A fixture, of which only config.json is a copy."""
    source = FIXTURES / fixture
    shutil.copytree(source, folder, copy_function=os.symlink, ignore=shutil.ignore_patterns("onnx", "golden*"))
    (folder / "config.json").unlink()
    shutil.copy(source / "config.json", folder / "config.json")
    return folder


def config_of(fixture: str) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((FIXTURES / fixture / "config.json").read_text(encoding="utf-8"))
    return stored


SIZED = [(fixture, key) for fixture in FAMILIES for key in sorted(SIZES & config_of(fixture).keys())]
SIZED = [(fixture, key) for fixture, key in SIZED if config_of(fixture)[key] is not None]


@pytest.mark.parametrize("fixture", FAMILIES)
def test_the_linked_fixture_is_whole(fixture: str, tmp_path: Path) -> None:
    folder = linked(fixture, tmp_path / "model")
    assert np.array_equal(Embedder(folder).encode(TEXTS), Embedder(FIXTURES / fixture).encode(TEXTS))


def test_every_family_is_a_row() -> None:
    folders = {path.parent.name for path in FIXTURES.glob("*/config.json")}
    families = {config_of(fixture)["model_type"] for fixture in folders}
    assert families == {config_of(fixture)["model_type"] for fixture in FAMILIES}


@pytest.mark.parametrize(("fixture", "key"), SIZED)
def test_a_size_that_is_none(fixture: str, key: str, tmp_path: Path) -> None:
    folder = linked(fixture, tmp_path / "model")
    for value in (*NO_SIZES, *([] if key == "type_vocab_size" else [0])):
        put(folder / "config.json", **{key: value})
        refused(folder, str(folder / "config.json"), key)


@pytest.mark.parametrize(("fixture", "key"), [(fixture, key) for fixture, keys in FAMILIES.items() for key in keys])
def test_a_size_that_the_tensors_contradict(fixture: str, key: str, tmp_path: Path) -> None:
    folder = linked(fixture, tmp_path / "model")
    right = config_of(fixture)[key]
    for value in (right + 1, 2 * right, 1000, 1 << 20):
        put(folder / "config.json", **{key: value})
        refused(folder, str(folder))


@pytest.mark.parametrize("fixture", FAMILIES)
def test_heads_that_do_not_share_the_width(fixture: str, tmp_path: Path) -> None:
    """Five heads of 48 numbers; with a width of their own they contradict the tensors."""
    folder = linked(fixture, tmp_path / "model")
    key = "n_heads" if "n_heads" in config_of(fixture) else "num_attention_heads"
    put(folder / "config.json", **{key: 5})
    refused(folder, str(folder))


def huge(fixture: str) -> Iterator[dict[str, int]]:
    """The largest sizes that are believed, alone and together: the tables would have terabytes."""
    config = config_of(fixture)
    largest = {
        key: 1 << 24 if key == "vocab_size" else 1 << 10 if "heads" in key else 1 << 20
        for key in (*FAMILIES[fixture], "max_position_embeddings", "head_dim", "sliding_window", "local_attention")
        if config.get(key) is not None and "layers" not in key
    }
    yield largest
    yield {key: value for key, value in largest.items() if key not in ("hidden_size", "dim")}
    for key, value in largest.items():
        if key in FAMILIES[fixture]:
            yield {key: value}
            yield {key: value, "max_position_embeddings": 1 << 20}


def cost_no_memory(cases: list[tuple[str, dict[str, int]]], tmp_path: Path) -> None:
    folders: dict[str, Path] = {}
    for number, (fixture, sizes) in enumerate(cases):
        folder = linked(fixture, tmp_path / str(number))
        put(folder / "config.json", **sizes)
        put_length(folder, 1 << 20)
        folders[f"{number}, {fixture}: {sizes}"] = folder
    good = linked("bert-cls", tmp_path / "good")
    output = run_apart(LOAD, str(good), *(str(path) for path in folders.values()))
    for name, line in zip(folders, output.splitlines(), strict=True):
        kind, message, seconds, megabytes = json.loads(line)
        assert kind == "InvalidModelError", (name, kind, message)
        assert seconds < SECONDS, (name, seconds)
        assert megabytes < MEGABYTES, (name, megabytes)


def test_huge_sizes_cost_no_memory(tmp_path: Path) -> None:
    cost_no_memory([(fixture, sizes) for fixture in FAMILIES for sizes in huge(fixture)], tmp_path)


def test_many_layers_of_wide_heads_cost_no_memory(tmp_path: Path) -> None:
    """Each layer has its settings, and a width of heads may be written into them."""
    key = {fixture: "n_layers" if "n_layers" in config_of(fixture) else "num_hidden_layers" for fixture in FAMILIES}
    cost_no_memory([(fixture, {key[fixture]: 1024, "head_dim": 1 << 20}) for fixture in FAMILIES], tmp_path)


def put_length(folder: Path, tokens: int) -> None:
    """The longest texts, so that tables of positions are not cut short by a limit."""
    for name, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        stored = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).unlink()
        (folder / name).write_text(json.dumps(stored | {key: tokens}), encoding="utf-8")


def kinds_of_tensors(fixture: str) -> list[str]:
    """Those of the first layer and those outside of layers, without heads that nobody asks for."""
    names = sorted(stored(fixture))
    unused = ("pooler", "lm_head", "position_ids")
    return [
        name
        for name in names
        if not any(part in name for part in unused)
        and (".0." in name or not any(part.isdigit() for part in name.split(".")))
    ]


def stored(fixture: str) -> dict[str, Any]:
    folder = FIXTURES / fixture
    files = sorted(folder.glob("*.safetensors"))
    return {name: tensor for file in files for name, tensor in read_safetensors(file).items()}


@pytest.mark.parametrize("fixture", FAMILIES)
def test_a_tensor_missing_or_of_another_shape(fixture: str, tmp_path: Path) -> None:
    folder = linked(fixture, tmp_path / "model")
    whole = stored(fixture)
    for path in folder.glob("model*"):
        path.unlink()
    write_safetensors(folder / WEIGHTS, whole)
    assert np.isfinite(Embedder(folder).encode(TEXTS)).all()
    for name in kinds_of_tensors(fixture):
        tensor = whole[name]
        write_safetensors(folder / WEIGHTS, {other: whole[other] for other in whole if other != name})
        refused(folder, str(folder / WEIGHTS), name, "missing")
        for changed in (tensor[:-1], np.concatenate([tensor, tensor]), tensor[None], tensor[:0]):
            write_safetensors(folder / WEIGHTS, whole | {name: changed})
            refused(folder, str(folder / WEIGHTS), f"{name} = shape {list(changed.shape)}", str(list(tensor.shape)))


@pytest.mark.parametrize("fixture", FAMILIES)
@pytest.mark.parametrize("dtype", ["I64", "F8_E4M3", "U8", "F64"])
def test_tensors_of_a_type_that_is_not_understood(fixture: str, dtype: str, tmp_path: Path) -> None:
    """As quantized models have them: the message says which are."""
    folder = linked(fixture, tmp_path / "model")
    for path in folder.glob("model*"):
        path.unlink()
    size = {"I64": 8, "F64": 8}.get(dtype, 1)
    entries: dict[str, Any] = {}
    offset = 0
    for name, tensor in stored(fixture).items():
        end = offset + size * math.prod(tensor.shape)
        entries[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries).encode()
    sparse(8 + len(text) + offset, struct.pack("<Q", len(text)) + text)(folder / WEIGHTS)
    refused(folder, str(folder / WEIGHTS), dtype, "F32", "F16", "BF16")
