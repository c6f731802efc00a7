"""The safetensors format, read and written by hand: an eight-byte length, a JSON header, raw little-endian tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .layers import Array

_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_DTYPE_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
# Prefixes that a checkpoint of a whole model may put before the encoder's names. transformers drops its own
# `base_model_prefix` (bert, roberta also for XLM-R, distilbert, mpnet); "model." is met in other tools' exports.
_PREFIXES = ("", "bert.", "roberta.", "distilbert.", "mpnet.", "model.")


def read_safetensors(path: Path) -> dict[str, Array]:
    """The floating-point tensors of one file, in float64. Others (old `position_ids` buffers) are left out."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = data[start + begin : start + end]
        if entry["dtype"] in _FLOATS:
            values = np.frombuffer(raw, dtype=_FLOATS[entry["dtype"]])
        elif entry["dtype"] == "BF16":  # the upper half of a float32
            values = (np.frombuffer(raw, dtype="<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            continue
        tensors[name] = values.astype(np.float64).reshape(entry["shape"])
    return tensors


def read_model(folder: Path) -> dict[str, Array]:
    """A model folder's weights under the encoder's own names.

    `model.safetensors`, else the shards that `model.safetensors.index.json` lists. The prefix of a whole model is taken
    off, and TensorFlow's LayerNorm names (gamma, beta) become weight and bias: conversion_mapping.py of transformers.
    """
    if (folder / "model.safetensors").is_file():
        stored = read_safetensors(folder / "model.safetensors")
    else:
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        stored = {}
        for shard in sorted(set(index["weight_map"].values())):
            stored |= read_safetensors(folder / shard)
    anchor = "embeddings.word_embeddings.weight"
    prefixes = [prefix for prefix in _PREFIXES if prefix + anchor in stored]
    if len(prefixes) != 1:
        raise ValueError(f"{folder}: {anchor} stands under {prefixes or 'no known prefix'}")
    weights = {}
    for name, tensor in stored.items():
        if name.startswith(prefixes[0]):
            short = name[len(prefixes[0]) :]
            short = short.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
            weights[short] = tensor
    return weights


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
