"""Rotary positions: modeling_rope_utils.py of transformers 5.23 and `apply_rotary_pos_emb` of its modeling files.

The frequencies, the angles, their cosines and sines are float32 there whatever the model computes in. At token 8000 the
rounding of an angle is 2e-4, so it is part of the answer and repeated here; all else is in the model's own precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .layers import Array

Singles: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rope:
    """One kind of rotation: a frequency for each pair of a head's numbers, and a factor on cosines and sines.

    `long_frequencies` take over in texts of more than `long_from` tokens (longrope); texts of more than `limit` are
    refused (dynamic, which there changes with the longest text seen so far). `interleaved` pairs neighbours instead of
    the two halves; numbers past the last pair are left as they are (both in Nomic's own code alone).
    """

    frequencies: Singles
    scale: float = 1.0
    long_frequencies: Singles | None = None
    long_from: int = 0
    limit: int | None = None
    interleaved: bool = False

    def rotate(self, x: Array) -> Array:
        """Turn x (heads, tokens, size) by its tokens' positions, counted from 0."""
        tokens = x.shape[1]
        if self.limit is not None and tokens > self.limit:
            raise ValueError(f"a text of {tokens} tokens: dynamic rope is in the reference up to {self.limit}")
        frequencies = self.frequencies
        if self.long_frequencies is not None and tokens > self.long_from:
            frequencies = self.long_frequencies
        angles = (np.arange(tokens, dtype=np.float32)[:, None] * frequencies).astype(np.float64)
        scale = np.float32(self.scale)
        cosines = (np.cos(angles).astype(np.float32) * scale).astype(x.dtype)
        sines = (np.sin(angles).astype(np.float32) * scale).astype(x.dtype)
        pairs = frequencies.size
        turned = np.array(x)
        first, second = slice(pairs), slice(pairs, 2 * pairs)
        if self.interleaved:
            first, second = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
        turned[..., first] = x[..., first] * cosines - x[..., second] * sines
        turned[..., second] = x[..., second] * cosines + x[..., first] * sines
        return turned


def plain_frequencies(base: float, size: int) -> Singles:
    """`compute_default_rope_parameters`: 1 / base^(2i / size), each step rounded to float32."""
    return (np.float32(1) / _powers(base, size)).astype(np.float32)


def parameters(config: Mapping[str, Any], default_theta: float) -> dict[str, Any]:
    """`convert_rope_params_to_dict` and `standardize_rope_params`: one kind of rotation for all layers.

    `rope_scaling` (transformers 4) goes before `rope_parameters` (5); `rope_theta`, `partial_rotary_factor` and
    `original_max_position_embeddings` may stand inside or beside them.
    """
    found = dict(config.get("rope_scaling") or config.get("rope_parameters") or {})
    if any(isinstance(value, Mapping) for value in found.values()):
        raise ValueError("rope_parameters by layer type: not in this family")
    found.setdefault("rope_theta", config.get("rope_theta", default_theta))
    if config.get("partial_rotary_factor") is not None:
        found.setdefault("partial_rotary_factor", config["partial_rotary_factor"])
    if "original_max_position_embeddings" in config:
        found["original_max_position_embeddings"] = config["original_max_position_embeddings"]
    return found


def parameters_by_layer_type(
    config: Mapping[str, Any],
    thetas: Mapping[str, tuple[str, float]],
    scaled: tuple[str, ...],
) -> dict[str, dict[str, Any]]:
    """`convert_rope_params_to_dict` of the families that rotate differently by layer type.

    `thetas` has for each type the key that transformers 4 wrote its base under, and its default; transformers 4's
    `rope_scaling` holds for the types in `scaled`.
    """
    stored = config.get("rope_parameters") or {}
    result = {}
    for layer_type, (key, default) in thetas.items():
        found = dict(stored.get(layer_type) or {"rope_type": "default"})
        if layer_type in scaled:
            found |= config.get("rope_scaling") or {}
        found.setdefault("rope_theta", config.get(key, default))
        # modeling_rope_utils.py looks for yarn's `truncate` beside the layer types, never inside one.
        found.pop("truncate", None)
        result[layer_type] = found | {key: stored[key] for key in ("truncate",) if key in stored}
    return result


def rope(found: Mapping[str, Any], head_size: int, max_position_embeddings: int) -> Rope:
    """`ROPE_INIT_FUNCTIONS` for one standardized dict.

    The default kind ignores `partial_rotary_factor`. With any other kind, a part of a head would be rotated, for which
    no family here has code: transformers fails at the first text, and so is it an error here.
    """
    kind = found.get("rope_type", found.get("type", "default"))
    base = found["rope_theta"]
    if base is None:
        raise ValueError("rope_theta is null")
    if kind == "default":
        return Rope(plain_frequencies(base, head_size))
    if kind == "proportional":
        return Rope(_proportional(found, base, head_size))
    if int(head_size * found.get("partial_rotary_factor", 1.0)) != head_size:
        raise ValueError(f"rope_type {kind!r} with partial_rotary_factor {found['partial_rotary_factor']}")
    original = found.get("original_max_position_embeddings", max_position_embeddings)
    if kind == "linear":
        return Rope(plain_frequencies(base, head_size) / np.float32(found["factor"]))
    if kind == "dynamic":
        return Rope(plain_frequencies(base, head_size), limit=max_position_embeddings)
    if kind == "llama3":
        return Rope(_llama3(found, base, head_size, original))
    if kind == "yarn":
        factor = found["factor"] or max_position_embeddings / original
        return Rope(_yarn(found, base, head_size, factor, original), _yarn_scale(found, factor))
    if kind == "longrope":
        short, long = (
            (np.float32(1) / (np.asarray(found[key], dtype=np.float32) * _powers(base, head_size))).astype(np.float32)
            for key in ("short_factor", "long_factor")
        )
        factor = found.get("factor") or max_position_embeddings / original
        scale = found.get("attention_factor")
        if scale is None:
            scale = 1.0 if factor <= 1.0 else math.sqrt(1 + math.log(factor) / math.log(original))
        return Rope(short, scale, long, original)
    raise ValueError(f"rope_type {kind!r} is not in the reference")


def _powers(base: float, size: int, count: int | None = None) -> Singles:
    """base^(2i / size) with a float32 base and exponent, rounded to float32."""
    exponents = np.arange(0, size, 2, dtype=np.float32)[:count] / np.float32(size)
    powers = np.float64(np.float32(base)) ** exponents.astype(np.float64)
    return powers.astype(np.float32)


def _proportional(found: Mapping[str, Any], base: float, size: int) -> Singles:
    """`_compute_proportional_rope_parameters`: the last frequencies are zero."""
    turned = int(found.get("partial_rotary_factor", 1.0) * size // 2)
    frequencies = np.zeros(size // 2, dtype=np.float32)
    frequencies[:turned] = np.float32(1) / _powers(base, size, turned)
    return frequencies / np.float32(found.get("factor", 1.0))


def _llama3(found: Mapping[str, Any], base: float, size: int, original: int) -> Singles:
    """`_compute_llama3_parameters`: long waves are stretched by `factor`, short ones kept, those between in between."""
    factor, low, high = (found[key] for key in ("factor", "low_freq_factor", "high_freq_factor"))
    frequencies = plain_frequencies(base, size)
    waves = np.float32(2 * math.pi) / frequencies
    stretched = np.where(waves > np.float32(original / low), frequencies / np.float32(factor), frequencies)
    smooth = (np.float32(original) / waves - np.float32(low)) / np.float32(high - low)
    between = (np.float32(1) - smooth) * stretched / np.float32(factor) + smooth * stretched
    middle = (waves >= np.float32(original / high)) & (waves <= np.float32(original / low))
    return np.where(middle, between, stretched).astype(np.float32)


def _yarn(found: Mapping[str, Any], base: float, size: int, factor: float, original: int) -> Singles:
    """`_compute_yarn_parameters`: a ramp over the pairs from the plain frequencies to those stretched by `factor`."""

    def pair_of(turns: float) -> float:
        """Which pair makes that many turns in the original length."""
        return size * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))

    first, last = pair_of(found.get("beta_fast") or 32), pair_of(found.get("beta_slow") or 1)
    if found.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, size - 1)
    if first == last:
        last += 0.001
    ramp = (np.arange(size // 2, dtype=np.float32) - np.float32(first)) / np.float32(last - first)
    kept = np.float32(1) - np.clip(ramp, 0, 1)
    powers = _powers(base, size)
    stretched = np.float32(1) / (np.float32(factor) * powers)
    mixed: Singles = stretched * (np.float32(1) - kept) + np.float32(1) / powers * kept
    return mixed


def _yarn_scale(found: Mapping[str, Any], factor: float) -> float:
    """The factor on cosines and sines; `attention_factor` where it is given."""

    def grown(by: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * by * math.log(factor) + 1.0

    if found.get("attention_factor") is not None:
        return float(found["attention_factor"])
    if found.get("mscale") and found.get("mscale_all_dim"):
        return grown(found["mscale"]) / grown(found["mscale_all_dim"])
    return grown(1.0)
