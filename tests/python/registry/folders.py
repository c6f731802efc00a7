"""Writes a registered model's folder: its own settings, fewer layers, random weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .shapes import TABLES, Shapes, dense_shapes, shapes_of

_REPOSITORIES = Path(__file__).parent / "repositories"
_FIXTURES = Path(__file__).parents[2] / "fixtures"
# The kind of tokenizer by its class, and the fixture that has a small one of that kind.
_TOKENIZERS: Mapping[str, str] = {
    "BertTokenizer": "bert-cls",
    "MPNetTokenizer": "mpnet-mean-b",
    "XLMRobertaTokenizer": "xlmr-mean-prompts",
    "Qwen2Tokenizer": "qwen3-lasttoken",
    "GemmaTokenizerFast": "gemma3-mean-dense",
}
# Those whose own tokenizer_config.json fits the small tokenizer; of the others, what cuts and pads.
_OWN_SETTINGS = ("BertTokenizer", "XLMRobertaTokenizer", "PreTrainedTokenizerFast")
# More than the tokenizers have words, and more than the texts have tokens.
_ROWS = 2_048


class _Format(NamedTuple):
    """A floating-point format: its name in safetensors, and where its exponent stands."""

    name: str
    integer: type[np.unsignedinteger[Any]]
    fraction_bits: int
    bias: int


_FORMATS: Mapping[str, _Format] = {
    "float32": _Format("F32", np.uint32, 23, 127),
    "float16": _Format("F16", np.uint16, 10, 15),
    "bfloat16": _Format("BF16", np.uint16, 7, 127),
}


def repository(model_id: str) -> dict[str, Any]:
    """The stored files of a model's repository: contents by name."""
    text = (_REPOSITORIES / f"{model_id.replace('/', '__')}.json").read_text(encoding="utf-8")
    files: dict[str, Any] = json.loads(text)
    return files


def stored_ids() -> list[str]:
    """Ids of the models that have a stored repository."""
    return sorted(path.stem.replace("__", "/", 1) for path in _REPOSITORIES.glob("*.json"))


def shortened(config: Mapping[str, Any], layers: int) -> dict[str, Any]:
    """config.json with the first layers only."""
    short = dict(config)
    for key in ("num_hidden_layers", "n_layer"):
        if key in short:
            short[key] = layers
    if "layer_types" in short:
        short["layer_types"] = short["layer_types"][:layers]
    return short


def write_folder(folder: Path, model_id: str, *, layers: int, dtype: str, seed: int) -> None:
    """Write the whole folder; `dtype` is that of the repository's weights."""
    files = repository(model_id)
    files["config.json"] = shortened(files["config.json"], layers)
    tokenizer = _fixture_of(files["tokenizer_config.json"])
    files["tokenizer_config.json"] = _tokenizer_settings(files["tokenizer_config.json"], tokenizer)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    (folder / "tokenizer.json").write_bytes((tokenizer / "tokenizer.json").read_bytes())
    random = np.random.default_rng(seed)
    write_random(folder / "model.safetensors", shapes_of(files["config.json"]), dtype, random)
    for name, content in files.items():
        if name.endswith("_Dense/config.json"):
            write_random(folder / Path(name).with_name("model.safetensors"), dense_shapes(content), dtype, random)


def _fixture_of(settings: Mapping[str, Any]) -> Path:
    kind = settings["tokenizer_class"]
    if kind == "PreTrainedTokenizerFast":
        return _FIXTURES / ("xlmr-mean-prompts" if settings["cls_token"] == "<s>" else "modernbert-cls")
    return _FIXTURES / _TOKENIZERS[kind]


def _tokenizer_settings(settings: Mapping[str, Any], fixture: Path) -> dict[str, Any]:
    if settings["tokenizer_class"] in _OWN_SETTINGS:
        return dict(settings)
    small: dict[str, Any] = json.loads((fixture / "tokenizer_config.json").read_text(encoding="utf-8"))
    return small | {key: settings[key] for key in ("model_max_length", "padding_side") if key in settings}


def write_random(path: Path, shapes: Shapes, dtype: str, random: np.random.Generator) -> None:
    """Write a safetensors file of random weights.

    Of a large table only the first rows are written; the rest is a hole in the file, which reads as zeros and takes
    neither time nor room on the disk.
    """
    form = _FORMATS[dtype]
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    size = 0
    for name, shape in shapes.items():
        stored = "I64" if name.endswith("position_ids") else form.name
        width = 8 if stored == "I64" else np.dtype(form.integer).itemsize
        header[name] = {"dtype": stored, "shape": shape, "data_offsets": [size, size + width * math.prod(shape)]}
        size += width * math.prod(shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        start = file.tell()
        file.truncate(start + size)
        for name, shape in shapes.items():
            rows = (min(_ROWS, shape[0]), *shape[1:]) if name.endswith(TABLES) else shape
            values = np.arange(shape[-1]) if name.endswith("position_ids") else _weights(name, rows, form, random)
            entry: Any = header[name]
            file.seek(start + entry["data_offsets"][0])
            file.write(values.tobytes())


def _weights(
    name: str, shape: tuple[int, ...], form: _Format, random: np.random.Generator
) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Numbers of random sign and fraction, all of one binary order of magnitude, as bits of the format.

    The order is one at which every part of a layer matters to the output, and yet attention is not so sharp that the
    rounding of float32 decides: NumPy in float32 is then well within the tolerance of NumPy in float64.
    """
    is_table, is_norm = len(shape) == 2 and "embed" in name, "norm" in name.lower() or "_ln" in name
    if is_table or "relative_attention" in name:
        exponent = -1
    elif len(shape) == 2:
        exponent = round(math.log2(1.0 / math.sqrt(shape[1]) / 1.5))
    else:
        exponent = 0 if is_norm and name.endswith("weight") else -4
    unsigned = is_norm and name.endswith("weight")
    width = np.dtype(form.integer).itemsize
    bits = np.frombuffer(random.bytes(width * math.prod(shape)), dtype=form.integer)
    kept = (1 << form.fraction_bits) - 1 | (0 if unsigned else 1 << (8 * width - 1))
    weights: npt.NDArray[np.unsignedinteger[Any]] = bits & form.integer(kept)
    weights |= form.integer(exponent + form.bias << form.fraction_bits)
    return weights.reshape(shape)
