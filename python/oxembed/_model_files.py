"""Which of a repository's files a model needs: for what to download, and for whether a cached snapshot is complete."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple, cast

from oxembed._core import known_model_types
from oxembed.exceptions import InvalidModelError

MODULES = "modules.json"
# The ranges of int8 vectors are a file of ours; a repository may have it.
_SETTINGS = ("config_sentence_transformers.json", "calibration.json")
# What is read beside the weights, and what the loader refuses when it is there: an adapter, a chat template. Without
# those two the model would load as another one.
_TRANSFORMER_SETTINGS = (
    "config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
    "adapter_config.json",
    "chat_template.jinja",
)
_TOKENIZER = "tokenizer.json"
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
# What `quantize` made of the weights, for dtype="int8".
_QUANTIZED = "int8.safetensors"
_ONNX = ("onnx/model.onnx", "model.onnx")
# Exporters name the file with a graph's weights after the graph: model.onnx_data, model.onnx_data_1, model.onnx.data.
_EXTERNAL_DATA = re.compile(r"[._]data.*", re.DOTALL)
_MAX_SETTINGS_BYTES = 16 * 1024 * 1024
_PICKLES = re.compile(r"pytorch_model.*\.bin")


class Needed(NamedTuple):
    """What a model needs of its repository.

    Attributes:
        files: Names, in the order in which they are to arrive: settings first and `tokenizer.json`, without which
            nothing loads, last. A folder that is filled in this order loads only when all of it is there.
        absent: Names of files that the repository does not have, and that would have made other files needed.
    """

    files: list[str]
    absent: list[str]


class Module(NamedTuple):
    """An entry of modules.json: the class without its package, and the folder ("" or "1_Pooling/")."""

    kind: str
    folder: str


def needed_files(names: Collection[str], read: Callable[[str], bytes], onnx_file: str | None = None) -> Needed:
    """The files that loading the model takes.

    Args:
        names: Every file of the repository, with "/" between folders.
        read: Gives the content of one of them; asked for small files only.
        onnx_file: ONNX file to run in place of the weights, relative to the transformer's folder.

    Raises:
        InvalidModelError: The repository lacks something that no download can add; the message says what.
    """
    modules = _modules(read(MODULES)) if MODULES in names else [Module("Transformer", "")]
    folder = modules[0].folder
    if folder + _TOKENIZER not in names:
        raise InvalidModelError(
            f"it has no {folder}{_TOKENIZER}. Make it once in Python, where `transformers` is installed: "
            'AutoTokenizer.from_pretrained(ID).save_pretrained("folder")'
        )
    settings = [MODULES, *_SETTINGS, *(folder + name for name in _TRANSFORMER_SETTINGS)]
    weights: list[str] = []
    for module in modules[1:]:
        settings.append(module.folder + "config.json")
        if module.kind in ("Pooling", "Dense") and settings[-1] not in names:
            raise InvalidModelError(f"{MODULES} names a {module.kind} in {module.folder!r}, which has no config.json")
        if module.kind == "Dense":
            weights.append(_dense_weights(names, module.folder))
    if onnx_file is None and folder + _QUANTIZED in names:
        weights.append(folder + _QUANTIZED)
    main, absent = _main_weights(names, read, folder, onnx_file)
    if MODULES not in names:
        absent.append(MODULES)
    return Needed([*(name for name in settings if name in names), *weights, *main, folder + _TOKENIZER], absent)


def read_settings(path: Path) -> bytes:
    """The content of a settings file of a snapshot.

    Raises:
        InvalidModelError: The file is larger than any settings are; the loader has the same limit.
        OSError: The file cannot be read.
    """
    size = path.stat().st_size
    if size > _MAX_SETTINGS_BYTES:
        raise InvalidModelError(f"{path.name} has {size} bytes; at most {_MAX_SETTINGS_BYTES} are read")
    return path.read_bytes()


def _modules(content: bytes) -> list[Module]:
    modules: list[Module] = []
    entries = _json(MODULES, content)
    for entry in cast("list[object]", entries) if isinstance(entries, list) else []:
        fields = cast("dict[str, object]", entry) if isinstance(entry, dict) else {}
        kind, path = fields.get("type"), fields.get("path")
        if not isinstance(kind, str) or not isinstance(path, str) or not stays_inside(path):
            raise InvalidModelError(
                f"{MODULES}: an entry with a `type` and a `path` inside the repository is understood, not {entry!r}"
            )
        folder = "".join(f"{part}/" for part in path.split("/") if part not in ("", "."))
        modules.append(Module(kind.rpartition(".")[2], folder))
    if not modules:
        raise InvalidModelError(f"{MODULES}: a list of modules, [{{…}}, …], is understood")
    return modules


def _main_weights(
    names: Collection[str], read: Callable[[str], bytes], folder: str, onnx_file: str | None
) -> tuple[list[str], list[str]]:
    """The files of the transformer's weights or graph, and the absent ones that would have been used instead."""
    if onnx_file is not None:
        name = folder + onnx_file.replace("\\", "/").removeprefix("./")
        if name not in names:
            others = ", ".join(sorted(other for other in names if other.endswith(".onnx"))) or "none"
            raise InvalidModelError(f"it has no file {name!r}, which onnx_file= asks for; ONNX files there: {others}")
        return _with_external_data(names, name), []
    weights, index = folder + _WEIGHTS, folder + _INDEX
    onnx = next((folder + name for name in _ONNX if folder + name in names), None)
    if onnx is None and weights not in names and index not in names:
        raise InvalidModelError(_no_weights(names, folder))
    if not _is_known_family(names, read, folder, has_onnx=onnx is not None):
        return _with_external_data(names, str(onnx)), []
    if weights in names:
        return [weights], []
    if index in names:
        return [index, *_shards(names, folder, read(index))], []
    return _with_external_data(names, str(onnx)), [weights, index]


def _is_known_family(names: Collection[str], read: Callable[[str], bytes], folder: str, *, has_onnx: bool) -> bool:
    """Whether a graph can be written for the weights; the loader's own rule, before gigabytes are downloaded."""
    name = folder + "config.json"
    config = _json(name, read(name)) if name in names else None
    family = cast("dict[str, object]", config).get("model_type") if isinstance(config, dict) else None
    known = known_model_types()
    if family not in known and not has_onnx:
        raise InvalidModelError(
            f"{name}: model_type is {family!r}, whose graph cannot be written, and there is no {' or '.join(_ONNX)} "
            f"to run; known are {', '.join(known)}"
        )
    return family in known


def _shards(names: Collection[str], folder: str, content: bytes) -> list[str]:
    index = _json(folder + _INDEX, content)
    weight_map = cast("dict[str, object]", index).get("weight_map") if isinstance(index, dict) else None
    shards = set(cast("dict[str, object]", weight_map).values()) if isinstance(weight_map, dict) else set[object]()
    if not shards:
        raise InvalidModelError(f"{folder}{_INDEX}: `weight_map` has to name the files of the weights")
    for shard in shards:
        if not isinstance(shard, str) or folder + shard not in names:
            raise InvalidModelError(f"{folder}{_INDEX} names the file {shard!r}, which is missing")
    return sorted(folder + str(shard) for shard in shards)


def _dense_weights(names: Collection[str], folder: str) -> str:
    if folder + _WEIGHTS in names:
        return folder + _WEIGHTS
    if any(name.startswith(folder) and _PICKLES.fullmatch(name.removeprefix(folder)) for name in names):
        raise InvalidModelError(_only_pickles(folder))
    raise InvalidModelError(f"{MODULES} names a Dense in {folder!r}, which has no {_WEIGHTS}")


def _with_external_data(names: Collection[str], onnx: str) -> list[str]:
    return [
        onnx,
        *sorted(name for name in names if name.startswith(onnx) and _EXTERNAL_DATA.fullmatch(name[len(onnx) :])),
    ]


def _no_weights(names: Collection[str], folder: str) -> str:
    here = [name.removeprefix(folder) for name in names if name.startswith(folder)]
    if any(_PICKLES.fullmatch(name) for name in here):
        return _only_pickles(folder)
    if "adapter_config.json" in here:
        return (
            "it holds an adapter (PEFT), not a model; merge it into its model with merge_and_unload(), save that with "
            "save_pretrained(folder) and pass the folder"
        )
    return f"it has no weights: neither {folder}{_WEIGHTS} nor {folder}{_INDEX} nor {' or '.join(_ONNX)}"


def _only_pickles(folder: str) -> str:
    return (
        f"its weights are only there as {folder}pytorch_model.bin, which runs code when it is read and is therefore "
        "neither downloaded nor opened. Convert the model once in Python, where sentence-transformers is installed: "
        'SentenceTransformer(ID).save_pretrained("folder") writes model.safetensors; then pass that folder. Or name a '
        'revision that has safetensors: the hub\'s own conversion, where there is one, is revision="refs/pr/N"'
    )


def stays_inside(path: str) -> bool:
    """Whether a path that somebody else wrote is a plain relative one, on every system."""
    return not (path.startswith(("/", "\\")) or "\\" in path or ":" in path or ".." in path.split("/"))


def _json(name: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:  # bad JSON, bytes that are not UTF-8, or endless nesting
        raise InvalidModelError(f"{name} is not JSON: {error}") from None
