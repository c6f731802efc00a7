"""Models in int8 for tests: a small one with random weights, quantized here, and texts to compare on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from conftest import FIXTURES
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from oxembed import QuantizationReport, quantize

FILE = "int8.safetensors"
SMALL = FIXTURES / "bert-mean-st6"
ROOT = FIXTURES.parents[1]


def copied(folder: Path, source: Path = SMALL) -> Path:
    """A model's folder, to be written to."""
    return Path(shutil.copytree(source, folder))


def quantized(folder: Path, source: Path = SMALL) -> tuple[Path, QuantizationReport]:
    """A copy of a model with its int8 file, whatever the file's quality, and what was reported of it."""
    copied(folder, source)
    return folder, quantize(folder, force=True)


def rough(folder: Path) -> Path:
    """A copy of the small model with the same float32 vectors, up to rounding, that is beyond 8 bits.

    Half the channels of the attention's values are a thousand times as large, and the layer behind takes that back: the
    other half is lost where both share a scale.
    """
    copied(folder)
    tensors = load_file(folder / "model.safetensors")
    size = tensors["encoder.layer.0.attention.self.value.bias"].shape[0]
    factors = np.where(np.arange(size) % 2 == 0, 1_000, 1).astype(np.float32)
    for layer in ("encoder.layer.0", "encoder.layer.1"):
        tensors[f"{layer}.attention.self.value.weight"] *= factors[:, None]
        tensors[f"{layer}.attention.self.value.bias"] *= factors
        tensors[f"{layer}.attention.output.dense.weight"] /= factors
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def read_kinds(path: Path) -> dict[str, list[str]]:
    """The texts of a `.jsonl` file of `kind` and `text`, by kind."""
    kinds: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        kinds.setdefault(one["kind"], []).append(one["text"])
    return kinds


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """The cosine of every row of `a` to that row of `b`."""
    one, other = a.astype(np.float64), b.astype(np.float64)
    found: NDArray[np.float64] = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    return found


def read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file."""
    content = path.read_bytes()
    header: dict[str, Any] = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header


def write_header(path: Path, header: dict[str, Any]) -> None:
    """Give a safetensors file another header, before the same tensors."""
    content = path.read_bytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + int.from_bytes(content[:8], "little") :])


def change_metadata(path: Path, **values: str | None) -> None:
    """Set values of a file's metadata; `None` takes one away."""
    header = read_header(path)
    metadata = header["__metadata__"] | {name: value for name, value in values.items() if value is not None}
    header["__metadata__"] = {name: value for name, value in metadata.items() if values.get(name, "") is not None}
    write_header(path, header)
