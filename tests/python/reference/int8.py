"""The quantized layers of an int8.safetensors, computed in numpy as docs/int8.md describes them.

Only what the file holds and the page says is used: each row and each group of channels gets a scale and a zero point of
its own, the products are of whole numbers, and each group's sum is scaled back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import load_file

from .layers import Array


class QuantizedLayers:
    """The layers of a file, by the stem of their tensors in the model's own weights."""

    def __init__(self, path: Path) -> None:
        """Read the file."""
        with safe_open(path, framework="np") as stored:
            self.metadata: dict[str, str] = stored.metadata()
        self.tensors: dict[str, npt.NDArray[Any]] = load_file(path)
        self._first = {key: site[0] for site in json.loads(self.metadata["sites"]) for key in site}

    def __contains__(self, key: str) -> bool:
        return key in self._first

    def groups(self, key: str) -> list[npt.NDArray[np.int64]]:
        """The positions of each group, in the order of the file's columns."""
        lengths = self.tensors[f"{self._first[key]}.groups"]
        return np.split(np.arange(lengths.sum()), np.cumsum(lengths)[:-1])

    def weight(self, key: str) -> Array:
        """The weight that the integers stand for, (outputs, inputs), its columns in the model's own order."""
        scaled = self.tensors[f"{key}.weight"].astype(np.float64)
        for group, positions in enumerate(self.groups(key)):
            scaled[:, positions] *= self.tensors[f"{key}.weight_scale"][group][:, None]
        found = np.empty_like(scaled)
        found[:, self.tensors[f"{self._first[key]}.order"]] = scaled
        return found

    def linear(self, x: Array, weights: Mapping[str, Array], name: str, *, bias: bool = True) -> Array:
        """In place of `layers.linear`: the same layer in 8-bit integers, (tokens, outputs)."""
        ordered = x.astype(np.float32)[:, self.tensors[f"{self._first[name]}.order"]]
        result = np.tile(self.tensors[f"{name}.bias"].astype(np.float64), (len(x), 1))
        for group, positions in enumerate(self.groups(name)):
            rows = ordered[:, positions]
            low, high = np.minimum(rows.min(1), 0), np.maximum(rows.max(1), 0)
            scale = np.where(high > low, (high - low) / np.float32(255), np.float32(1))[:, None]
            zero = np.clip(np.rint(-low[:, None] / scale), 0, 255)
            codes = np.clip(np.rint(rows / scale) + zero, 0, 255)
            products = (codes - zero).astype(np.int64) @ self.tensors[f"{name}.weight"][:, positions].T.astype(np.int64)
            result += products * scale.astype(np.float64) * self.tensors[f"{name}.weight_scale"][group]
        return result
