"""The safetensors format, read and written by hand: an eight-byte length, a JSON header, raw little-endian tensors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .layers import Array

Precision: TypeAlias = type[np.float64] | type[np.float32]

_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_DTYPE_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
# What a whole model may put before its encoder's names. transformers drops its own `base_model_prefix` (bert, roberta
# also for XLM-R, distilbert, mpnet, nomic_bert, gte, and "model" for ModernBERT and the decoders); "new." is that of
# Alibaba's GTE code. "model." before the other families is met in other tools' exports.
_PREFIXES = ("", "bert.", "roberta.", "distilbert.", "mpnet.", "model.", "nomic_bert.", "gte.", "new.")
# The table of words, which every family has under one of these names.
_ANCHORS = ("embeddings.word_embeddings.weight", "embeddings.tok_embeddings.weight", "embed_tokens.weight")
# Smaller files are read whole: a mapped one could not be deleted on Windows while the model is there.
_MAPPED_BYTES = 2**24
# Converted tensors are kept up to this many bytes in all; what comes after is converted each time it is asked for.
_KEPT_BYTES = 2**28


@dataclass(frozen=True)
class Stored:
    """A tensor as its file holds it; of a large file mapped, not read."""

    dtype: str
    values: npt.NDArray[Any]

    def converted(self, precision: Precision) -> Array:
        """Its numbers. float32 that is stored as such stays in the file."""
        values = self.values
        if self.dtype == "BF16":  # the upper half of a float32
            values = (values.astype(np.uint32) << 16).view(np.float32)
        result: Array = values.astype(precision, copy=False)
        return result


class Checkpoint(Mapping[str, Array]):
    """Tensors by name, converted when asked for, so that a model's size is that of its file and of one layer."""

    def __init__(self, stored: Mapping[str, Stored], precision: Precision = np.float64) -> None:
        self._stored = stored
        self._precision = precision
        self._kept: dict[str, Array] = {}
        self._kept_bytes = 0

    def __getitem__(self, name: str) -> Array:
        """The whole tensor, in the checkpoint's precision."""
        if name not in self._kept:
            tensor = self._stored[name].converted(self._precision)
            if self._kept_bytes + tensor.nbytes > _KEPT_BYTES:
                return tensor
            self._kept[name] = tensor
            self._kept_bytes += tensor.nbytes
        return self._kept[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def rows(self, name: str, indices: npt.NDArray[np.int64]) -> Array:
        """`torch.nn.Embedding`: rows of a table, no others read; an index outside it is an error here as there."""
        stored = self._stored[f"{name}.weight"]
        if indices.size and (indices.min() < 0 or indices.max() >= len(stored.values)):
            raise IndexError(f"{name} has {len(stored.values)} rows; asked for row {int(indices.max())}")
        return Stored(stored.dtype, stored.values[indices]).converted(self._precision)


def map_safetensors(path: Path) -> dict[str, Stored]:
    """The floating-point tensors of one file. Others (old `position_ids` buffers) are left out."""
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(start - 8))
    data: npt.NDArray[np.uint8]
    if path.stat().st_size > _MAPPED_BYTES:
        data = np.memmap(path, dtype=np.uint8, mode="r")
    else:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] in _FLOATS:
            begin, end = entry["data_offsets"]
            values = data[start + begin : start + end].view(_FLOATS[entry["dtype"]]).reshape(entry["shape"])
            tensors[name] = Stored(entry["dtype"], values)
    return tensors


def read_safetensors(path: Path) -> dict[str, Array]:
    """The floating-point tensors of one file, in float64."""
    return {name: stored.converted(np.float64) for name, stored in map_safetensors(path).items()}


def read_model(folder: Path, precision: Precision = np.float64) -> Checkpoint:
    """A model folder's weights under the encoder's own names.

    `model.safetensors`, else the shards that `model.safetensors.index.json` lists. The prefix of a whole model is taken
    off, and TensorFlow's LayerNorm names (gamma, beta) become weight and bias: conversion_mapping.py of transformers.
    """
    if (folder / "model.safetensors").is_file():
        stored = map_safetensors(folder / "model.safetensors")
    else:
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        stored = {}
        for shard in sorted(set(index["weight_map"].values())):
            stored |= map_safetensors(folder / shard)
    prefixes = [prefix for prefix in _PREFIXES if any(prefix + anchor in stored for anchor in _ANCHORS)]
    if len(prefixes) != 1:
        raise ValueError(f"{folder}: the table of words stands under {prefixes or 'no known name'}")
    weights = {}
    for name, tensor in stored.items():
        if name.startswith(prefixes[0]):
            short = name[len(prefixes[0]) :]
            short = short.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
            weights[short] = tensor
    return Checkpoint(weights, precision)


def _encode(tensor: npt.NDArray[np.generic], dtype: str) -> tuple[str, bytes]:
    if tensor.dtype == np.int64:
        return "I64", tensor.astype("<i8").tobytes()
    if dtype == "bfloat16":  # to nearest, ties to even
        bits = tensor.astype("<f4").view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return "BF16", rounded.astype("<u2").tobytes()
    name = _DTYPE_NAMES[dtype]
    return name, tensor.astype(_FLOATS[name]).tobytes()


def write_safetensors(path: Path, tensors: Mapping[str, npt.NDArray[np.generic]], dtype: str = "float32") -> None:
    """Write `tensors` as `dtype` ("float32", "float16" or "bfloat16"); int64 tensors stay int64. Names are sorted."""
    if dtype not in _DTYPE_NAMES:
        raise ValueError(f"dtype {dtype!r}: one of {', '.join(_DTYPE_NAMES)}")
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    chunks: list[bytes] = []
    offset = 0
    for name in sorted(tensors):
        stored, chunk = _encode(tensors[name], dtype)
        shape = list(tensors[name].shape)
        header[name] = {"dtype": stored, "shape": shape, "data_offsets": [offset, offset + len(chunk)]}
        chunks.append(chunk)
        offset += len(chunk)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(chunks))


def write_model(
    folder: Path, tensors: Mapping[str, npt.NDArray[np.generic]], dtype: str = "float32", shards: int = 1
) -> None:
    """Write a model's weights as `model.safetensors`, or as `shards` files with an index, as transformers does."""
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors, dtype)
        return
    names = sorted(tensors)
    size = -(-len(names) // shards)
    groups = [names[first : first + size] for first in range(0, len(names), size)]
    weight_map: dict[str, str] = {}
    for number, group in enumerate(groups, start=1):
        file = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        write_safetensors(folder / file, {name: tensors[name] for name in group}, dtype)
        weight_map |= dict.fromkeys(group, file)
    total = sum(len(_encode(tensor, dtype)[1]) for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
