"""A folder broken in any one way gives one typed error that names it: quickly, in bounded memory, never a panic."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from broken import (
    DENSE,
    LOAD,
    SECONDS,
    WEIGHTS,
    WIDTH,
    WORDS,
    Bomb,
    Break,
    Header,
    edit,
    put,
    refused,
    rewrite,
    run_apart,
    small,
    take,
)
from onnx import TensorProto, helper, numpy_helper
from reference.factory import FIXTURES, Family, make_model
from reference.weights import read_safetensors, write_safetensors

from oxembed import Embedder
from oxembed.exceptions import InferenceError, InvalidInputError, InvalidModelError

# The files of the folder below that can be done without
# (transformers takes the family's own tokenizer settings where tokenizer_config.json is not there).
OPTIONAL = {"modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "tokenizer_config.json"}
JSON_FILES = (
    "config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
    "1_Pooling/config.json",
    "2_Dense/config.json",
    "tokenizer.json",
)
FILES = (*JSON_FILES, WEIGHTS, DENSE)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole folder, the smallest that has everything."""
    return make_model(tmp_path_factory.mktemp("whole") / "model", "bert", **small(dense=[(8, True, "Tanh")]))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def test_the_whole_folder_is_whole(folder: Path) -> None:
    assert Embedder(folder).encode(["one", "two"]).shape == (2, 8)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(FILES)


# ---- Files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file(file: str, folder: Path) -> None:
    (folder / file).unlink()
    if file in OPTIONAL:
        assert Embedder(folder).encode(["one"]).shape[0] == 1
    else:
        refused(folder, str(folder / file), "missing")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("share", [0.0, 1e-9, 0.1, 0.5, 0.9, 1.0])
def test_a_truncated_file(file: str, share: float, folder: Path) -> None:
    """From no byte (0) and one (just above it) to all but one (1)."""
    path = folder / file
    content = path.read_bytes().rstrip(b"\n") if file in JSON_FILES else path.read_bytes()
    length = min(len(content) - 1, int(len(content) * share) + (1 if share > 0 else 0))
    path.write_bytes(content[:length])
    refused(folder, str(path))


@pytest.mark.parametrize("length", [1, 7, 8, 9, 40])
@pytest.mark.parametrize("file", [WEIGHTS, DENSE])
def test_weights_truncated_around_the_header(file: str, length: int, folder: Path) -> None:
    path = folder / file
    path.write_bytes(path.read_bytes()[:length])
    refused(folder, str(path))


@pytest.mark.parametrize("file", FILES)
def test_a_directory_in_place_of_a_file(file: str, folder: Path) -> None:
    (folder / file).unlink()
    (folder / file).mkdir()
    refused(folder, str(folder / file))


@pytest.mark.parametrize("file", FILES)
def test_a_link_to_nowhere(file: str, folder: Path) -> None:
    """As an interrupted download leaves it in the Hugging Face cache."""
    (folder / file).unlink()
    (folder / file).symlink_to("../../blobs/0123456789abcdef")
    refused(folder, str(folder / file))


@pytest.mark.parametrize("file", FILES)
def test_a_link_to_itself(file: str, folder: Path) -> None:
    (folder / file).unlink()
    (folder / file).symlink_to(Path(file).name)
    refused(folder, str(folder / file))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("file", FILES)
def test_an_unreadable_file(file: str, folder: Path) -> None:
    (folder / file).chmod(0)
    refused(folder, str(folder / file))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("file", FILES)
def test_a_pipe_in_place_of_a_file(file: str, folder: Path, whole: Path) -> None:
    """Opening one waits until somebody writes to it."""
    (folder / file).unlink()
    os.mkfifo(folder / file)
    kind, message, seconds, _ = json.loads(run_apart(LOAD, str(whole), str(folder)))
    assert kind == "InvalidModelError", (kind, message)
    assert str(folder / file) in message
    assert seconds < SECONDS


# ---- JSON -----------------------------------------------------------------------------------------------------------

SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "byte order mark": lambda content: b"\xef\xbb\xbf" + content,
    "UTF-16": lambda content: content.decode().encode("utf-16"),
    "not UTF-8": lambda content: content.rstrip()[:-1] + b', "x\xff": 1}',
    "a letter behind": lambda content: content + b"x",
    "two documents": lambda content: content + content,
    "a comma too many": lambda content: content.rstrip()[:-1] + b",}",
    "a comment": lambda content: b"// from a friend\n" + content,
    "a list": lambda _: b"[1, 2]",
    "a string": lambda _: b'"{}"',
    "a number": lambda _: b"17",
    "null": lambda _: b"null",
    "deep lists": lambda _: b'{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep objects": lambda _: b'{"x": ' * 200_000 + b"1" + b"}" * 200_000,
    "zeros": lambda content: b"\0" * len(content),
    "a pickle": lambda content: pickle.dumps(content),
    "a number beyond all": lambda content: content.rstrip()[:-1] + b', "x": 1' + b"0" * 400 + b"}",
    "NaN": lambda content: content.rstrip()[:-1] + b', "x": NaN}',
    "Infinity": lambda content: content.rstrip()[:-1] + b', "x": -Infinity}',
}


@pytest.mark.parametrize("spoil", SPOILED)
@pytest.mark.parametrize("file", JSON_FILES)
def test_spoiled_json(file: str, spoil: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = folder / file
    content = path.read_bytes()
    if file == "modules.json" and SPOILED[spoil](b"{}").endswith(b"}") and spoil != "deep objects":
        content = content.rstrip()[:-1] + b', {"name": "x"}'  # the list, open, as if it were an object
    path.write_bytes(SPOILED[spoil](content))
    refused(folder, str(path), capfd=capfd)


@pytest.mark.parametrize("file", [file for file in JSON_FILES if file != "tokenizer.json"])
def test_a_configuration_of_many_megabytes(file: str, folder: Path) -> None:
    path = folder / file
    path.write_bytes(path.read_bytes() + b" " * (17 << 20))
    refused(folder, str(path))


# ---- config.json ----------------------------------------------------------------------------------------------------

NUMBERS = {
    "hidden_size": (0, -1, 10**18, 2**64, 16.5, "16", True, None, [], {}, 15, 17, 32, 1 << 19),
    "num_hidden_layers": (0, -1, 10**18, 1.5, "1", False, None, [], 2, 1000),
    "num_attention_heads": (0, -1, 10**18, 2.5, "2", True, None, [2], 3, 5, 17, 32),
    "intermediate_size": (0, -1, 10**18, 24.5, "24", True, None, {}, 23, 1 << 19),
    "vocab_size": (0, -1, 10**18, 0.5, "100", True, None, [], 100, 1 << 27),
    "max_position_embeddings": (0, -1, 10**18, 64.5, "64", True, None, [], 63, 65, 1 << 19),
    "type_vocab_size": (0, -1, 10**18, 2.5, "2", True, [], 1, 3, 1 << 19),
    "layer_norm_eps": (0, -1e-12, 1e39, 1e-60, "1e-12", True, None, []),
    "hidden_act": ("", "swishy", "GELU", 1, None, ["gelu"], {"name": "gelu"}),
    "model_type": ("", "bert2", "BERT", 1, None, ["bert"]),
    "is_decoder": ("false", 1, None, True),
    "position_embedding_type": ("relative_key", "relative_key_query", 1, ["absolute"]),
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in NUMBERS.items() for value in values], ids=str
)
def test_config_value(key: str, value: object, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    put(folder / "config.json", **{key: value})
    wrong_shape = isinstance(value, int) and not isinstance(value, bool) and value > 0 and "layer_norm" not in key
    if wrong_shape:  # a number that other files contradict: one of the two is named
        message = refused(folder, str(folder), capfd=capfd)
        assert any(file in message for file in (WEIGHTS, "config.json", "modules.json")), message
    else:
        refused(folder, str(folder / "config.json"), key, capfd=capfd)


@pytest.mark.parametrize("key", ["model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
def test_config_key_missing(key: str, folder: Path) -> None:
    take(folder / "config.json", key)
    message = refused(folder, str(folder / "config.json"), key)
    assert "needed" in message or "understood" in message


@pytest.mark.parametrize("value", [-1, 2.5, "1", True, [], 66, 10**18])
@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
def test_padding_id(family: Family, value: object, tmp_path: Path) -> None:
    """RoBERTa's positions begin behind it: there have to be some left."""
    folder = make_model(tmp_path, family, **small())
    put(folder / "config.json", pad_token_id=value)
    refused(folder, str(folder / "config.json"))


@pytest.mark.parametrize("value", [0, -1, 16, 31, 33, 10**18, 32.5, "32", True, []])
def test_relative_buckets(value: object, tmp_path: Path) -> None:
    folder = make_model(tmp_path, "mpnet", **small())
    put(folder / "config.json", relative_attention_num_buckets=value)
    refused(folder, "relative_attention")


@pytest.mark.parametrize("key", ["dim", "n_layers", "n_heads", "hidden_dim", "activation"])
def test_distilbert_names(key: str, tmp_path: Path) -> None:
    folder = make_model(tmp_path, "distilbert", **small())
    put(folder / "config.json", **{key: 0})
    refused(folder, str(folder / "config.json"), key)


# ---- Weights --------------------------------------------------------------------------------------------------------


def changed(change: Callable[[Any], object]) -> Callable[[Header], bytes]:
    """The first tensor's entry, changed."""

    def pack(header: Header) -> bytes:
        change(header.tensor())
        return header.pack()

    return pack


def duplicated(header: Header) -> bytes:
    """A name twice: the second time as a part of the first's numbers."""
    name = next(name for name in header.entries if name != "__metadata__")
    entry = dict(header.entries[name])
    entry |= {"shape": [1], "data_offsets": [entry["data_offsets"][0], entry["data_offsets"][0] + 4]}
    text = json.dumps(header.entries).encode().rstrip()
    return header.pack(text[:-1] + b", " + json.dumps({name: entry}).encode()[1:])


def overlapping(header: Header) -> bytes:
    names = [name for name in header.entries if name != "__metadata__"]
    header.entries[names[1]] = header.entries[names[0]]
    return header.pack()


def extra(entry: dict[str, Any]) -> Callable[[Header], bytes]:
    return lambda header: Header(header.entries | {"zz": entry}, header.body).pack()


LIES: dict[str, Callable[[Header], bytes]] = {
    "length of 2^64 - 1": lambda header: header.pack(length=2**64 - 1),
    "length of 2^63": lambda header: header.pack(length=2**63),
    "length of 2^32": lambda header: header.pack(length=2**32),
    "length past the end": lambda header: header.pack(length=len(header.pack())),
    "length one past the end": lambda header: header.pack(length=len(header.pack()) - 7),
    "length one short": lambda header: header.pack(length=len(json.dumps(header.entries)) - 1),
    "length one long": lambda header: header.pack(length=len(json.dumps(header.entries)) + 1),
    "length of 0": lambda header: header.pack(length=0),
    "length of 1": lambda header: header.pack(length=1),
    "length of 100 MB": lambda header: header.pack(length=100_000_000),
    "big-endian length": lambda header: struct.pack(">Q", 600) + header.pack()[8:],
    "header not UTF-8": lambda header: header.pack(b'{"\xff\xfe": 1}'),
    "header of zeros": lambda header: header.pack(b"\0" * 64),
    "header a list": lambda header: header.pack(b"[]"),
    "header empty": lambda header: header.pack(b"{}"),
    "header of an empty entry": lambda header: header.pack(b'{"a": {}}'),
    "header deeply nested": lambda header: header.pack(b'{"a": ' + b"[" * 500_000),
    "header with NaN": lambda header: header.pack(b'{"a": NaN}'),
    "metadata of numbers": lambda header: Header({**header.entries, "__metadata__": {"a": 1}}, header.body).pack(),
    "offsets overlap": overlapping,
    "offsets past the end": changed(lambda entry: entry.update(data_offsets=[0, 10**12])),
    "offsets of 2^64 - 1": changed(lambda entry: entry.update(data_offsets=[2**64 - 5, 2**64 - 1])),
    "offsets beyond 64 bits": changed(lambda entry: entry.update(data_offsets=[2**70, 2**70 + 4])),
    "offsets negative": changed(lambda entry: entry.update(data_offsets=[-4, 0])),
    "offsets backwards": changed(lambda entry: entry["data_offsets"].reverse()),
    "offsets of floats": changed(lambda entry: entry.update(data_offsets=[0.0, 4.0])),
    "offsets of one": changed(lambda entry: entry.update(data_offsets=[0])),
    "offsets of three": changed(lambda entry: entry.update(data_offsets=[0, 4, 8])),
    "offsets with a gap": lambda header: extra(
        {"dtype": "F32", "shape": [1], "data_offsets": [len(header.body) + 4, len(header.body) + 8]}
    )(Header(header.entries, header.body + b"\0" * 8)),
    "shape of one more": changed(lambda entry: entry["shape"].__setitem__(0, entry["shape"][0] + 1)),
    "shape that overflows": changed(lambda entry: entry.update(shape=[2**40, 2**40])),
    "shape that wraps around": changed(lambda entry: entry.update(shape=[2**62, 4, *entry["shape"]])),
    "shape negative": changed(lambda entry: entry.update(shape=[-1, *entry["shape"][1:]])),
    "shape of zero": changed(lambda entry: entry.update(shape=[0])),
    "dtype unknown": changed(lambda entry: entry.update(dtype="F7")),
    "dtype a number": changed(lambda entry: entry.update(dtype=32)),
    "dtype of half the width": changed(lambda entry: entry.update(dtype="F16")),
    "dtype left out": changed(lambda entry: entry.pop("dtype")),
    "bytes behind the last tensor": lambda header: header.pack() + b"\0" * 16,
    "bytes missing": lambda header: header.pack()[:-4],
    "a name twice": duplicated,
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("file", [WEIGHTS, DENSE])
def test_a_header_that_lies(file: str, lie: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = folder / file
    path.write_bytes(LIES[lie](Header.read(path)))
    refused(folder, str(path), capfd=capfd)


def test_headers_that_lie_cost_no_memory(tmp_path: Path, whole: Path) -> None:
    """In a process that has loaded a good model: what each of them adds to the most memory it ever had."""
    folders: dict[str, Path] = {}

    def broken(name: str, file: str, write: Callable[[Path], object]) -> None:
        folders[f"{name} in {file}"] = Path(shutil.copytree(whole, tmp_path / f"{len(folders)}"))
        write(folders[f"{name} in {file}"] / file)

    def sparse(path: Path, length: int) -> None:
        with path.open("wb") as stored:
            stored.write(struct.pack("<Q", length))
            stored.truncate(8 + length)

    for file in (WEIGHTS, DENSE):
        for name, lie in LIES.items():
            broken(name, file, lambda path, lie=lie: path.write_bytes(lie(Header.read(path))))  # type: ignore[misc]
        broken("a header of 100 MB", file, lambda path: sparse(path, 100_000_000))
        broken("a header of 8 GB", file, lambda path: sparse(path, 8 << 30))
    for key in ("hidden_size", "vocab_size", "max_position_embeddings", "intermediate_size"):
        broken(f"{key} of a million", "config.json", lambda path, key=key: put(path, **{key: 1_000_000}))  # type: ignore[misc]
    output = run_apart(LOAD, str(whole), *(str(path) for path in folders.values()))
    results = dict(zip(folders, map(json.loads, output.splitlines()), strict=True))
    for name, (kind, message, seconds, megabytes) in results.items():
        assert kind == "InvalidModelError", (name, kind, message)
        assert seconds < SECONDS, (name, seconds)
        # A header of up to 100 MB may be looked at, in pages of the file; nothing is made of it.
        assert megabytes < (128 if "100 MB" in name else 16), (name, megabytes)


@pytest.mark.parametrize("file", [WEIGHTS, DENSE])
def test_a_header_of_a_million_tensors(file: str, folder: Path, whole: Path) -> None:
    """Well-formed, so it is read: memory must stay within a few times the file's."""
    entries = b", ".join(b'"%x": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}' % i for i in range(1_000_000))
    text = b"{" + entries + b"}"
    (folder / file).write_bytes(struct.pack("<Q", len(text)) + text)
    kind, message, seconds, megabytes = json.loads(run_apart(LOAD, str(whole), str(folder)))
    assert kind == "InvalidModelError", (kind, message)
    assert str(folder / file) in message
    assert megabytes < 256, megabytes
    assert seconds < 2 * SECONDS


NEEDED = [
    WORDS,
    "embeddings.position_embeddings.weight",
    "embeddings.token_type_embeddings.weight",
    "embeddings.LayerNorm.weight",
    "embeddings.LayerNorm.bias",
    *(
        f"encoder.layer.0.{part}.{kind}"
        for part in (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
            "attention.output.LayerNorm",
            "intermediate.dense",
            "output.dense",
            "output.LayerNorm",
        )
        for kind in ("weight", "bias")
    ),
]


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_tensor(name: str, folder: Path) -> None:
    rewrite(folder / WEIGHTS, lambda tensors: tensors.pop(name))
    refused(folder, str(folder / WEIGHTS), name, "missing")


@pytest.mark.parametrize("name", ["linear.weight", "linear.bias"])
def test_a_missing_tensor_of_dense(name: str, folder: Path) -> None:
    rewrite(folder / DENSE, lambda tensors: tensors.pop(name))
    refused(folder, str(folder / DENSE), name, "missing")


@pytest.mark.parametrize("name", NEEDED)
def test_a_tensor_of_another_shape(name: str, folder: Path, whole: Path) -> None:
    """One row more, all numbers in one row, no rows, no dimensions."""
    for change in (
        lambda tensor: np.concatenate([tensor, tensor[:1]]),
        lambda tensor: tensor.reshape(1, -1),
        lambda tensor: tensor[:0],
        lambda tensor: np.array(1.0),
    ):
        rewrite(folder / WEIGHTS, lambda tensors, change=change: tensors.update({name: change(tensors[name])}))  # type: ignore[misc]
        refused(folder, str(folder / WEIGHTS), name, "shape")
        shutil.copy(whole / WEIGHTS, folder / WEIGHTS)


@pytest.mark.parametrize("name", ["linear.weight", "linear.bias"])
def test_a_tensor_of_dense_of_another_shape(name: str, folder: Path) -> None:
    rewrite(folder / DENSE, lambda tensors: tensors.update({name: tensors[name][:-1]}))
    refused(folder, str(folder / DENSE), name, "shape")


@pytest.mark.parametrize("dtype", ["F64", "I64", "I32", "I8", "U8", "BOOL", "F8_E4M3"])
@pytest.mark.parametrize("name", [WORDS, "encoder.layer.0.output.dense.bias"])
def test_a_tensor_of_another_type(name: str, dtype: str, folder: Path) -> None:
    """The right numbers of bytes for its shape; the message says which type it has."""
    sizes = {"F64": 8, "I64": 8, "I32": 4, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1}
    tensors = dict(read_safetensors(folder / WEIGHTS))
    entries, body = {}, b""
    for key, tensor in tensors.items():
        raw = b"\0" * (sizes[dtype] * tensor.size) if key == name else tensor.astype("<f4").tobytes()
        offsets = [len(body), len(body) + len(raw)]
        entries[key] = {
            "dtype": dtype if key == name else "F32",
            "shape": list(tensor.shape),
            "data_offsets": offsets,
        }
        body += raw
    (folder / WEIGHTS).write_bytes(Header(entries, body).pack())
    refused(folder, str(folder / WEIGHTS), name, dtype)


@pytest.mark.parametrize("prefixes", [("", "bert."), ("query.", "passage."), ("model.", "model.bert.")])
def test_two_encoders_in_one_file(prefixes: Sequence[str], folder: Path) -> None:
    tensors = read_safetensors(folder / WEIGHTS)
    both = {prefix + name: tensor for prefix in prefixes for name, tensor in tensors.items()}
    write_safetensors(folder / WEIGHTS, both)
    refused(folder, str(folder / WEIGHTS), WORDS, *(repr(prefix).replace("'", '"') for prefix in prefixes))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("file", "name"), [(WEIGHTS, "encoder.layer.0.output.LayerNorm.bias"), (DENSE, "linear.bias"), (WEIGHTS, WORDS)]
)
def test_weights_that_are_not_numbers(file: str, name: str, value: float, folder: Path) -> None:
    def spoil(tensors: dict[str, Any]) -> None:
        tensors[name] = np.full_like(tensors[name], value)

    put(folder / "2_Dense" / "config.json", activation_function="torch.nn.modules.linear.Identity")
    rewrite(folder / file, spoil)
    refused(folder, "not finite", "NaN", error=InferenceError, encode=True)


@pytest.mark.parametrize("module", ["", "2_Dense"])
def test_a_pickle_is_never_opened(module: str, folder: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    (folder / module / WEIGHTS).unlink()
    (folder / module / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(trap)))
    refused(folder, str(folder / module), WEIGHTS, "pytorch_model.bin")
    assert not trap.exists()
    pickle.loads((folder / module / "pytorch_model.bin").read_bytes()).close()
    assert trap.exists()  # it would have


def test_an_index_without_its_shards(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    index = {"metadata": {}, "weight_map": {WORDS: "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    refused(folder, str(folder / "model"))


# ---- Modules --------------------------------------------------------------------------------------------------------


def module(index: int, **values: Any) -> Break:
    return lambda folder: edit(folder / "modules.json", lambda entries: entries[index].update(values))


def modules(change: Callable[[list[Any]], Any]) -> Break:
    return lambda folder: edit(folder / "modules.json", change)


def without(index: int, key: str) -> Break:
    return modules(lambda entries: entries[index].pop(key) and None)


MODULES: dict[str, tuple[Break, Sequence[str]]] = {
    "unknown class": (module(1, type="sentence_transformers.models.WordWeights"), ["type", "Pooling"]),
    "class of somebody else": (module(1, type="os.system"), ["type", "os.system"]),
    "class of the model's own code": (module(0, type="modeling.MyTransformer"), ["type"]),
    "class in the wrong file": (module(1, type="sentence_transformers.models.Dense.Pooling"), ["type"]),
    "class not a string": (module(1, type=7), ["type"]),
    "no class": (without(1, "type"), ["type"]),
    "no path": (without(1, "path"), ["path"]),
    "no name": (without(1, "name"), ["name"]),
    "name twice": (module(1, name="0"), ["name"]),
    "idx twice": (module(1, idx=0), ["idx"]),
    "idx negative": (module(1, idx=-1), ["idx"]),
    "unknown key": (module(1, device="cuda"), ["device"]),
    "empty list": (modules(lambda _: []), ["empty"]),
    "a list of strings": (modules(lambda _: ["Transformer"]), ["[0]"]),
    "transformer alone": (modules(lambda entries: entries[:1]), ["Pooling"]),
    "no transformer": (modules(lambda entries: [entry | {"idx": i} for i, entry in enumerate(entries[1:])]), ["type"]),
    "two transformers": (module(1, type="sentence_transformers.models.Transformer"), ["type"]),
    "path that climbs": (module(1, path="../other"), ["path", "../other"]),
    "path that climbs and returns": (module(1, path="1_Pooling/../1_Pooling"), ["path"]),
    "path absolute": (module(1, path="/etc"), ["path", "/etc"]),
    "path of Windows": (module(1, path="C:\\Windows"), ["path"]),
    "path that climbs on Windows": (module(1, path="..\\other"), ["path"]),
    "path with NUL": (module(1, path="1_Pooling\0"), ["path"]),
    "path not a string": (module(1, path=["1_Pooling"]), ["path"]),
    "path of the transformer": (module(1, path=""), ["path"]),
    "path of the transformer, as a dot": (module(1, path="."), ["path"]),
    "path of another module": (module(2, path="1_Pooling"), ["path"]),
    "path to nothing": (module(1, path="9_Pooling"), ["9_Pooling"]),
    "path too long": (module(1, path="x" * 5000), ["x" * 50]),
    "path too deep": (module(1, path="x/" * 3000), ["x/x/x"]),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name: str, folder: Path) -> None:
    spoil, names = MODULES[name]
    (folder.parent / "other").mkdir()
    shutil.copytree(folder / "1_Pooling", folder.parent / "other", dirs_exist_ok=True)
    spoil(folder)
    refused(folder, str(folder), *names)


@pytest.mark.parametrize("target", ["..", ".", "1_Pooling", "../other", "/", "/etc"])
@pytest.mark.parametrize("name", ["1_Pooling", "2_Dense"])
def test_a_module_that_is_a_link(name: str, target: str, folder: Path) -> None:
    """Out of the folder, onto the folder, onto itself: with a good module behind the link outside."""
    outside = Path(shutil.copytree(folder, folder.parent / "other"))
    shutil.rmtree(folder / name)
    shutil.copytree(outside / name, outside, dirs_exist_ok=True)
    if (name, target) == ("2_Dense", "1_Pooling"):
        target = "2_Dense"
    (folder / name).symlink_to(target, target_is_directory=True)
    message = refused(folder, str(folder))
    assert name in message or "path" in message


def pooling(**values: Any) -> Break:
    return lambda folder: put(folder / "1_Pooling" / "config.json", **values)


def dense(**values: Any) -> Break:
    return lambda folder: put(folder / "2_Dense" / "config.json", **values)


def setting(file: str, key: str, value: object) -> tuple[Break, Sequence[str]]:
    return lambda folder: put(folder / file, **{key: value}), [file, key]


def length_of(value: object) -> tuple[Break, Sequence[str]]:
    """The two special tokens alone take two."""
    return lambda folder: put(folder / "sentence_bert_config.json", max_seq_length=value), ["max_seq_length"]


SETTINGS: dict[str, tuple[Break, Sequence[str]]] = {
    "pooling, unknown mode": (pooling(pooling_mode="median"), ["1_Pooling", "pooling_mode", "median", "lasttoken"]),
    "pooling, unknown among modes": (pooling(pooling_mode=["mean", "median"]), ["pooling_mode", "median", "mean"]),
    "pooling, no modes": (pooling(pooling_mode=[]), ["pooling_mode"]),
    "pooling, a number": (pooling(pooling_mode=1), ["pooling_mode"]),
    "pooling, a list of numbers": (pooling(pooling_mode=[1]), ["pooling_mode"]),
    "pooling, unknown key": (pooling(pooling_mode_median_tokens=True), ["pooling_mode_median_tokens"]),
    "pooling, mode not a boolean": (pooling(pooling_mode_mean_tokens="yes"), ["pooling_mode_mean_tokens"]),
    "pooling, prompt not a boolean": (pooling(include_prompt=None), ["include_prompt"]),
    "pooling, another width": (pooling(word_embedding_dimension=17), ["17", "16"]),
    "pooling, no width": (pooling(word_embedding_dimension=0), ["word_embedding_dimension"]),
    "pooling, negative width": (pooling(word_embedding_dimension=-16), ["word_embedding_dimension"]),
    "dense, unknown activation": (dense(activation_function="torch.nn.modules.activation.Mish"), ["Mish", "Tanh"]),
    "dense, foreign activation": (dense(activation_function="os.system"), ["activation_function", "os.system"]),
    "dense, no activation": (dense(activation_function=None), ["activation_function"]),
    "dense, other input": (dense(in_features=17), ["17", "16"]),
    "dense, other output": (dense(out_features=9), ["linear.weight", "shape"]),
    "dense, no input": (dense(in_features=0), ["in_features"]),
    "dense, huge output": (dense(out_features=10**15), ["out_features"]),
    "dense, large output": (dense(out_features=1_000_000), ["linear.weight", "shape"]),
    "dense, input a string": (dense(in_features="16"), ["in_features"]),
    "dense, residual": (dense(use_residual=True), ["use_residual"]),
    "dense, bias not a boolean": (dense(bias=1), ["bias"]),
    "dense, of token embeddings": (dense(module_input_name="token_embeddings"), ["module_input_name"]),
    "dense, unknown key": (dense(dropout=0.5), ["dropout"]),
    **{f"length of {value!r}": length_of(value) for value in (0, -1, 1, 2, 2.5, "64", True, [64])},
    **{
        f"{file}, {key} of {value!r}": setting(file, key, value)
        for file, key, value in (
            ("sentence_bert_config.json", "do_lower_case", "yes"),
            ("sentence_bert_config.json", "new_key", 1),
            ("sentence_bert_config.json", "transformer_task", "fill-mask"),
            ("sentence_bert_config.json", "modality_config", {"image": {}}),
            ("config_sentence_transformers.json", "default_prompt_name", "nobody"),
            ("config_sentence_transformers.json", "default_prompt_name", 3),
            ("config_sentence_transformers.json", "prompts", ["query: "]),
            ("config_sentence_transformers.json", "prompts", {"query": 3}),
            ("config_sentence_transformers.json", "similarity_fn_name", "hamming"),
            ("config_sentence_transformers.json", "truncate_dim", 0),
            ("config_sentence_transformers.json", "model_type", "CrossEncoder"),
            ("tokenizer_config.json", "padding_side", "middle"),
            ("tokenizer_config.json", "truncation_side", 1),
            ("tokenizer_config.json", "pad_token", None),
            ("tokenizer_config.json", "pad_token", "[NOT THERE]"),
            ("tokenizer_config.json", "pad_token", {"text": "[PAD]"}),
            ("tokenizer_config.json", "pad_token", 0),
        )
    },
}


@pytest.mark.parametrize("name", SETTINGS)
def test_setting(name: str, folder: Path) -> None:
    spoil, names = SETTINGS[name]
    spoil(folder)
    refused(folder, str(folder), *names)


@pytest.mark.parametrize("length", [0, -1, 2.5, "64", True])
def test_length_of_the_tokenizer(length: object, folder: Path) -> None:
    take(folder / "sentence_bert_config.json", "max_seq_length")
    put(folder / "tokenizer_config.json", model_max_length=length)
    refused(folder, str(folder / "tokenizer_config.json"), "model_max_length")


@pytest.mark.parametrize("length", [65, 512, 2**30])
def test_a_length_beyond_the_position_table_is_cut_and_said(length: int, folder: Path) -> None:
    put(folder / "sentence_bert_config.json", max_seq_length=length)
    model = Embedder(folder)
    assert model.max_seq_length == 64
    assert any("max_seq_length" in text and "64" in text for text in model.model_info().assumptions)
    assert np.isfinite(model.encode("word " * 1000)).all()


# ---- Tokenizers -----------------------------------------------------------------------------------------------------


def tokenizer(change: Callable[[Any], Any]) -> Break:
    return lambda folder: edit(folder / "tokenizer.json", change)


def set_in(part: str, value: Any) -> Break:
    return tokenizer(lambda content: content.update({part: value}))


TOKENIZERS: dict[str, Break] = {
    "no model": tokenizer(lambda content: content.pop("model") and None),
    "unknown model": tokenizer(lambda content: content["model"].update(type="Magic")),
    "no vocabulary": tokenizer(lambda content: content["model"].pop("vocab") and None),
    "vocabulary a list": tokenizer(lambda content: content["model"].update(vocab=["a", "b"])),
    "negative id": tokenizer(lambda content: content["model"]["vocab"].update({"hello": -1})),
    "id of 2^32": tokenizer(lambda content: content["model"]["vocab"].update({"hello": 2**32})),
    "empty object": lambda folder: (folder / "tokenizer.json").write_text("{}"),
    "another program's": lambda folder: (folder / "tokenizer.json").write_text('{"version": 7, "rules": []}'),
    "unknown normalizer": set_in("normalizer", {"type": "Magic"}),
    "garbage in the normalizer's table": set_in("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    "normalizer's table not base64": set_in("normalizer", {"type": "Precompiled", "precompiled_charsmap": "*"}),
    "normalizer's table that lies": set_in("normalizer", {"type": "Precompiled", "precompiled_charsmap": "/////wAA"}),
    "broken expression": set_in(
        "pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated", "invert": False}
    ),
    "unknown template": set_in("post_processor", {"type": "TemplateProcessing", "single": [{"Magic": {}}]}),
    "template without its tokens": set_in(
        "post_processor",
        {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [],
            "special_tokens": {},
        },
    ),
    "special tokens beyond the vocabulary": set_in(
        "post_processor", {"type": "BertProcessing", "sep": ["[SEP]", 999_999], "cls": ["[CLS]", 2]}
    ),
    "token types beyond the table": set_in(
        "post_processor",
        {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 77}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {},
        },
    ),
    "word pieces without an unknown token": tokenizer(
        lambda content: content["model"].update(vocab={"[PAD]": 0, "[CLS]": 2, "[SEP]": 3}, unk_token="[NONE]")
    ),
    "unigrams whose unknown token is beyond them": set_in(
        "model", {"type": "Unigram", "unk_id": 99, "vocab": [["[PAD]", 0.0], ["a", -1.0]], "byte_fallback": False}
    ),
    "unigrams without any": set_in("model", {"type": "Unigram", "unk_id": None, "vocab": [], "byte_fallback": False}),
    "merges of tokens that are not there": set_in(
        "model", {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["x y"], "unk_token": None}
    ),
    "merges that are not pairs": set_in("model", {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizer(name: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if name == "token types beyond the table":  # they count where the model is given them
        put(folder / "tokenizer_config.json", model_input_names=["input_ids", "token_type_ids"])
    TOKENIZERS[name](folder)
    refused(folder, str(folder), "tokenizer", capfd=capfd, encode=True)


def test_a_tokenizer_with_more_tokens_than_the_model(folder: Path) -> None:
    """Another model's: it is told at the latest when such a token turns up."""
    rewrite(folder / WEIGHTS, lambda tensors: tensors.update({WORDS: tensors[WORDS][:100]}))
    put(folder / "config.json", vocab_size=100)
    refused(folder, str(folder / "tokenizer.json"), "100", encode=True)


def test_a_tokenizer_whose_special_tokens_the_model_lacks(folder: Path) -> None:
    rewrite(folder / WEIGHTS, lambda tensors: tensors.update({WORDS: tensors[WORDS][:2]}))
    put(folder / "config.json", vocab_size=2)
    refused(folder, str(folder / "tokenizer.json"))


def test_a_tokenizer_without_a_padding_token(folder: Path) -> None:
    take(folder / "tokenizer_config.json", "pad_token")
    refused(folder, "tokenizer_config.json", "pad_token")


def test_a_vocabulary_alone(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "vocab.txt")
    refused(folder, str(folder / "tokenizer.json"), "vocab.txt")


# ---- ONNX files -----------------------------------------------------------------------------------------------------


def onnx_model(
    *,
    inputs: Sequence[tuple[str, int, Sequence[str | int]]] = (("input_ids", TensorProto.INT64, ("b", "s")),),
    nodes: Sequence[onnx.NodeProto] | None = None,
    outputs: Sequence[tuple[str, int, Sequence[str | int]]] = (("out", TensorProto.FLOAT, ("b", "s", WIDTH)),),
    width: int = WIDTH,
) -> onnx.ModelProto:
    """Rows of a table, unless other nodes are given."""
    rows = len(json.loads((FIXTURES / "bert-cls" / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
    table = np.random.RandomState(3).standard_normal((rows, width)).astype(np.float32)
    graph = helper.make_graph(
        list(nodes) if nodes is not None else [helper.make_node("Gather", ["table", "input_ids"], ["out"])],
        "by hand",
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_value_info(*port) for port in outputs],
        [numpy_helper.from_array(table, "table")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def onnx_folder(folder: Path) -> Path:
    (folder / WEIGHTS).unlink()
    onnx.save_model(onnx_model(), folder / "model.onnx")
    return folder


def test_the_onnx_folder_is_whole(onnx_folder: Path) -> None:
    assert Embedder(onnx_folder).encode(["one", "two three"]).shape == (2, 8)


def node(operator: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], **attributes)


IDS = ("input_ids", TensorProto.INT64, ("b", "s"))
GATHER = node("Gather", ["table", "input_ids"], "rows")
ONNX_FILES: dict[str, tuple[Callable[[], onnx.ModelProto], Sequence[str]]] = {
    "an image": (
        lambda: onnx_model(inputs=[IDS, ("pixel_values", TensorProto.FLOAT, ("b", 3, 224, 224))]),
        ["pixel_values", "input_ids"],
    ),
    "a past": (lambda: onnx_model(inputs=[IDS, ("past_key_values.0.key", TensorProto.FLOAT, ("b", 2))]), ["past_key"]),
    "no ids": (
        lambda: onnx_model(
            inputs=[("attention_mask", TensorProto.INT64, ("b", "s"))],
            nodes=[node("Gather", ["table", "attention_mask"], "out")],
        ),
        ["input_ids"],
    ),
    "ids of floats": (
        lambda: onnx_model(
            inputs=[("input_ids", TensorProto.FLOAT, ("b", "s"))],
            nodes=[node("Cast", ["input_ids"], "ids", to=TensorProto.INT64), node("Gather", ["table", "ids"], "out")],
        ),
        ["input_ids", "int64", "int32"],
    ),
    "output of integers": (
        lambda: onnx_model(
            nodes=[GATHER, node("Cast", ["rows"], "last_hidden_state", to=TensorProto.INT64)],
            outputs=[("last_hidden_state", TensorProto.INT64, ("b", "s", WIDTH))],
        ),
        ["last_hidden_state", "float32"],
    ),
    "output of doubles": (
        lambda: onnx_model(
            nodes=[GATHER, node("Cast", ["rows"], "last_hidden_state", to=TensorProto.DOUBLE)],
            outputs=[("last_hidden_state", TensorProto.DOUBLE, ("b", "s", WIDTH))],
        ),
        ["last_hidden_state", "float32"],
    ),
    "two outputs, both odd": (
        lambda: onnx_model(
            nodes=[GATHER, node("Neg", ["rows"], "a"), node("Abs", ["rows"], "b")],
            outputs=[(name, TensorProto.FLOAT, ("b", "s", WIDTH)) for name in "ab"],
        ),
        ["a [", "b [", "last_hidden_state"],
    ),
    "output of one dimension": (
        lambda: onnx_model(
            nodes=[node("Cast", ["input_ids"], "f", to=TensorProto.FLOAT), node("ReduceSum", ["f"], "out", keepdims=0)],
            outputs=[("out", TensorProto.FLOAT, ())],
        ),
        ["out"],
    ),
    "another width": (
        lambda: onnx_model(width=WIDTH + 1, outputs=[("out", TensorProto.FLOAT, ("b", "s", WIDTH + 1))]),
        ["17", "16"],
    ),
    "an operator nobody has": (
        lambda: onnx_model(nodes=[helper.make_node("Magic", ["input_ids"], ["out"], domain="com.example")]),
        ["model.onnx"],
    ),
    "a node without its input": (
        lambda: onnx_model(nodes=[node("Gather", ["table", "nobody"], "out")]),
        ["model.onnx"],
    ),
}


@pytest.mark.parametrize("name", ONNX_FILES)
def test_onnx(name: str, onnx_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make, names = ONNX_FILES[name]
    onnx.save_model(make(), onnx_folder / "model.onnx")
    refused(onnx_folder, str(onnx_folder), *names, capfd=capfd)


@pytest.mark.parametrize("share", [0.0, 1e-9, 0.2, 0.5, 0.99, 1.0])
def test_onnx_truncated(share: float, onnx_folder: Path) -> None:
    path = onnx_folder / "model.onnx"
    content = path.read_bytes()
    path.write_bytes(content[: min(len(content) - 1, int(len(content) * share) + (1 if share > 0 else 0))])
    refused(onnx_folder, str(path))


@pytest.mark.parametrize(
    "content", [b"\0" * 4096, b"\xff" * 4096, b"{}", b"<html>Not Found</html>", b"version https://"]
)
def test_onnx_garbage(content: bytes, onnx_folder: Path) -> None:
    (onnx_folder / "model.onnx").write_bytes(content)
    refused(onnx_folder, str(onnx_folder / "model.onnx"))


@pytest.mark.parametrize("seed", range(10))
def test_onnx_random_bytes(seed: int, onnx_folder: Path) -> None:
    (onnx_folder / "model.onnx").write_bytes(np.random.RandomState(seed).bytes(5000))
    refused(onnx_folder, str(onnx_folder / "model.onnx"))


def external(location: str, offset: int = 0, length: int | None = None) -> onnx.ModelProto:
    model = onnx_model()
    tensor = model.graph.initializer[0]
    size = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length or size))):
        tensor.external_data.add(key=key, value=value)
    return model


@pytest.mark.parametrize("place", ["../secret", "absolute", "data/../../secret", "/etc/passwd", "missing"])
def test_onnx_with_data_outside_of_the_folder(place: str, onnx_folder: Path) -> None:
    """The numbers are there, so that only the refusal keeps them from being read."""
    secret = onnx_folder.parent / "secret"
    secret.write_bytes(onnx_model().graph.initializer[0].raw_data)
    (onnx_folder / "data").mkdir()
    location = str(secret) if place == "absolute" else place
    onnx.save_model(external(location), onnx_folder / "model.onnx")
    refused(onnx_folder, str(onnx_folder / "model.onnx"), capfd=None)


@pytest.mark.parametrize(("offset", "length"), [(0, 10**12), (10**15, None), (-4, None), (0, 4), (64, None)])
def test_onnx_with_data_that_lies(offset: int, length: int | None, onnx_folder: Path) -> None:
    (onnx_folder / "data").write_bytes(onnx_model().graph.initializer[0].raw_data)
    onnx.save_model(external("data", offset, length), onnx_folder / "model.onnx")
    refused(onnx_folder, str(onnx_folder / "model.onnx"))


def test_onnx_output_of_another_shape_than_said(onnx_folder: Path) -> None:
    """Twice as many tokens as the text has: the rows would be somebody else's."""
    twice = [GATHER, node("Concat", ["rows", "rows"], "last_hidden_state", axis=1)]
    said = [("last_hidden_state", TensorProto.FLOAT, ("b", "anything", WIDTH))]
    onnx.save_model(onnx_model(nodes=twice, outputs=said), onnx_folder / "model.onnx")
    refused(onnx_folder, "last_hidden_state", "shape", error=InferenceError, encode=True)


def test_onnx_table_smaller_than_the_tokenizer(onnx_folder: Path) -> None:
    """The graph itself finds out."""
    model = onnx_model()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((4, WIDTH), np.float32), "table"))
    onnx.save_model(model, onnx_folder / "model.onnx")
    refused(onnx_folder, error=InferenceError, encode=True)


@pytest.mark.parametrize("file", ["nobody.onnx", "../model.onnx", "/etc/passwd", "1_Pooling", "", "tokenizer.json"])
def test_onnx_file_that_is_none(file: str, onnx_folder: Path) -> None:
    shutil.copy(onnx_folder / "model.onnx", onnx_folder.parent / "model.onnx")
    with pytest.raises((InvalidModelError, InvalidInputError)):
        Embedder(onnx_folder, onnx_file=file)


# ---- What must work -------------------------------------------------------------------------------------------------


def as_in_the_cache(folder: Path, cache: Path) -> Path:
    """models--a--b/snapshots/<commit> with a link for every file, to models--a--b/blobs/<number>."""
    repository = cache / "models--a--b"
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = repository / "snapshots" / commit
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit, encoding="ascii")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for number, path in enumerate(files):
        blob = repository / "blobs" / f"{number:040x}"
        shutil.copy(path, blob)
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


TEXTS = ["Hello, world!", "", "one two three"]


def test_the_hugging_face_cache(folder: Path, tmp_path: Path) -> None:
    truth = Embedder(folder).encode(TEXTS)
    snapshot = as_in_the_cache(folder, tmp_path / "cache")
    assert np.array_equal(Embedder(snapshot).encode(TEXTS), truth)
    assert np.array_equal(Embedder("a/b", cache_dir=tmp_path / "cache").encode(TEXTS), truth)


@pytest.mark.parametrize("location", ["model.onnx_data", "data.bin"])
def test_the_hugging_face_cache_with_an_onnx_file_and_its_data(
    location: str, onnx_folder: Path, tmp_path: Path
) -> None:
    (onnx_folder / location).write_bytes(onnx_model().graph.initializer[0].raw_data)
    onnx.save_model(external(location), onnx_folder / "model.onnx")
    truth = Embedder(onnx_folder).encode(TEXTS)
    assert np.array_equal(Embedder(as_in_the_cache(onnx_folder, tmp_path / "cache")).encode(TEXTS), truth)


def test_a_link_to_the_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    assert np.array_equal(Embedder(tmp_path / "link").encode(TEXTS), Embedder(folder).encode(TEXTS))


@pytest.mark.parametrize("name", ["with space", "ünïcode 日本", "a'b\"c", "x" * 200])
def test_the_name_of_the_folder_does_not_matter(name: str, folder: Path) -> None:
    truth = Embedder(folder).encode(TEXTS)
    renamed = folder.rename(folder.parent / name)
    assert np.array_equal(Embedder(renamed).encode(TEXTS), truth)


def test_a_relative_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = Embedder(folder).encode(TEXTS)
    monkeypatch.chdir(folder)
    assert np.array_equal(Embedder(".").encode(TEXTS), truth)
    monkeypatch.chdir(folder.parent)
    assert np.array_equal(Embedder("model").encode(TEXTS), truth)
    assert np.array_equal(Embedder("./model/../model/").encode(TEXTS), truth)
