"""From token vectors to an embedding: sentence-transformers 6.2's Pooling, Dense and Normalize modules.

Sources: sentence_transformer/modules/pooling.py, base/modules/dense.py, base/modules/normalize.py. A module reads and
writes named features; here they are those of one text without padding, so the attention mask is all ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .layers import Activation, Array, Weights, gelu, identity, linear, relu, sigmoid, silu, tanh
from .weights import read_safetensors

# In the order in which the six booleans of an old Pooling config are concatenated (`_LEGACY_POOLING_MODE_KWARGS`).
LEGACY_MODES: Mapping[str, str] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
POOLING_MODES = tuple(LEGACY_MODES.values())

DENSE_ACTIVATIONS: Mapping[str, Activation] = {
    "Identity": identity,
    "Tanh": tanh,
    "ReLU": relu,
    "GELU": gelu,
    "Sigmoid": sigmoid,
    "SiLU": silu,
}


@dataclass
class Features:
    """What flows through the modules: named arrays, and how many tokens the prompt took, None without a prompt."""

    arrays: dict[str, Array]
    prompt_length: int | None = None


class Module(Protocol):
    """One entry of modules.json after the Transformer."""

    def __call__(self, features: Features) -> None:
        """Read features and write one."""


def pool(tokens: Array, mode: str, skipped: int = 0) -> Array:
    """One pooling mode over (tokens, dim), the first `skipped` tokens (the prompt's) masked out; `_forward_padded`.

    - cls: the first token that is not masked out, so the first one after a prompt (before 5.5: always token 0);
    - max: minus infinity where no token is left (before 5.4: -1e9 stood for masked tokens);
    - mean, mean_sqrt_len_tokens: the sum over the count or its root, the count not under 1e-9;
    - weightedmean: weights 1, 2, 3, …; skipping a prompt leaves the other tokens their weights;
    - lasttoken: the last token, times its mask: zeros where no token is left.
    """
    count = len(tokens)
    mask: Array = (np.arange(count) >= skipped).astype(np.float64)[:, None]
    pooled: Array
    if mode == "cls":
        pooled = tokens[skipped if skipped < count else 0]
    elif mode == "max":
        pooled = np.where(mask > 0, tokens, -np.inf).max(axis=0)
    elif mode == "mean":
        pooled = (tokens * mask).sum(axis=0) / max(mask.sum(), 1e-9)
    elif mode == "mean_sqrt_len_tokens":
        pooled = (tokens * mask).sum(axis=0) / math.sqrt(max(mask.sum(), 1e-9))
    elif mode == "weightedmean":
        weights = mask * np.arange(1, count + 1, dtype=np.float64)[:, None]
        pooled = (tokens * weights).sum(axis=0) / max(weights.sum(), 1e-9)
    elif mode == "lasttoken":
        pooled = tokens[-1] * mask[-1]
    else:
        raise ValueError(f"pooling mode {mode!r}: one of {', '.join(POOLING_MODES)}")
    return pooled


@dataclass(frozen=True)
class Pooling:
    """Pools token_embeddings into sentence_embedding: the modes' vectors side by side."""

    modes: Sequence[str]
    include_prompt: bool

    @staticmethod
    def load(folder: Path) -> Pooling:
        """`Pooling.load_config`: `pooling_mode`, a name or a list in its order, else the old booleans, else mean."""
        config = _config(folder)
        modes: str | list[str]
        if "pooling_mode" in config:
            modes = config["pooling_mode"]
        else:
            modes = [mode for key, mode in LEGACY_MODES.items() if config.get(key, False)] or "mean"
        modes = [modes] if isinstance(modes, str) else modes
        for mode in modes:
            if mode not in POOLING_MODES:
                raise ValueError(f"pooling mode {mode!r}: one of {', '.join(POOLING_MODES)}")
        return Pooling(modes=modes, include_prompt=config.get("include_prompt", True))

    def __call__(self, features: Features) -> None:
        """`Pooling.forward`."""
        skipped = 0 if self.include_prompt else features.prompt_length or 0
        tokens = features.arrays["token_embeddings"]
        features.arrays["sentence_embedding"] = np.concatenate([pool(tokens, mode, skipped) for mode in self.modes])


@dataclass(frozen=True)
class Dense:
    """activation(x W^T + b), with `use_residual` plus x, or plus x R^T where the sizes differ."""

    weights: Weights
    activation: Activation
    use_residual: bool
    input_name: str
    output_name: str

    @staticmethod
    def load(folder: Path) -> Dense:
        """`Dense.load`: config.json and model.safetensors with linear.weight, linear.bias and residual.weight.

        A missing `activation_function` is Tanh, the constructor's default; so is, there, one outside of torch, with a
        warning: here that is an error, as is any class that `DENSE_ACTIVATIONS` lacks.
        """
        config = _config(folder)
        path = config.get("activation_function", "torch.nn.modules.activation.Tanh")
        name = path.rpartition(".")[2]
        if not path.startswith("torch.nn.") or name not in DENSE_ACTIVATIONS:
            raise ValueError(f"activation_function {path!r}: one of torch.nn's {', '.join(DENSE_ACTIVATIONS)}")
        weights = read_safetensors(folder / "model.safetensors")
        shape = (config["out_features"], config["in_features"])
        if weights["linear.weight"].shape != shape or ("linear.bias" in weights) != config.get("bias", True):
            raise ValueError(f"{folder}: config.json and model.safetensors disagree")
        if "linear.bias" not in weights:
            weights["linear.bias"] = np.zeros(shape[0])
        input_name = config.get("module_input_name", "sentence_embedding")
        return Dense(
            weights=weights,
            activation=DENSE_ACTIVATIONS[name],
            use_residual=config.get("use_residual", False),
            input_name=input_name,
            output_name=config.get("module_output_name") or input_name,
        )

    def __call__(self, features: Features) -> None:
        """`Dense.forward`."""
        x = features.arrays[self.input_name]
        result = self.activation(linear(x, self.weights, "linear"))
        if self.use_residual:
            result = result + (x if x.shape == result.shape else x @ self.weights["residual.weight"].T)
        features.arrays[self.output_name] = result


@dataclass(frozen=True)
class Normalize:
    """Unit length over the last axis."""

    input_name: str
    output_name: str

    @staticmethod
    def load(folder: Path) -> Normalize:
        """`Normalize.load`; folders written before 5.4 have no config, often not even the folder."""
        config = _config(folder)
        input_name = config.get("module_input_name", "sentence_embedding")
        return Normalize(input_name=input_name, output_name=config.get("module_output_name") or input_name)

    def __call__(self, features: Features) -> None:
        """`Normalize.forward`."""
        if self.input_name in features.arrays:
            features.arrays[self.output_name] = normalize(features.arrays[self.input_name])


def normalize(x: Array) -> Array:
    """`torch.nn.functional.normalize`: over the L2 norm, not under 1e-12, so zeros stay zeros."""
    unit: Array = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
    return unit


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        return {}
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config
