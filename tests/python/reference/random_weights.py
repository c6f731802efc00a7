"""Random weights of a scale at which every part of a layer matters to the output."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Tensors: TypeAlias = dict[str, npt.NDArray[np.generic]]


class RandomWeights:
    """Tensors drawn one after the other, so that a seed and an order of names give the same model always.

    `RandomState`, not `default_rng`: NumPy promises that its stream stays the same, which the golden files need.
    """

    def __init__(self, seed: int) -> None:
        self._state = np.random.RandomState(seed)
        self.tensors: Tensors = {}

    def normal(self, name: str, shape: tuple[int, ...], scale: float, mean: float = 0.0) -> None:
        """A tensor of normally distributed float32 numbers."""
        self.tensors[name] = (mean + scale * self._state.standard_normal(shape)).astype(np.float32)

    def linear(self, name: str, inputs: int, outputs: int, *, bias: bool = True) -> None:
        """`torch.nn.Linear`."""
        self.normal(f"{name}.weight", (outputs, inputs), 2.0 / math.sqrt(inputs))
        if bias:
            self.normal(f"{name}.bias", (outputs,), 0.1)

    def layer_norm(self, name: str, size: int, *, bias: bool = True) -> None:
        """`torch.nn.LayerNorm`."""
        self.normal(f"{name}.weight", (size,), 0.2, mean=1.0)
        if bias:
            self.normal(f"{name}.bias", (size,), 0.1)

    def rms_norm(self, name: str, size: int, *, mean: float = 1.0) -> None:
        """An RMSNorm; Gemma's weights are around 0."""
        self.normal(f"{name}.weight", (size,), 0.2, mean=mean)
