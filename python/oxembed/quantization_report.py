"""What `quantize` did to a model: how near the vectors stay, where the error comes from, what it gains.

Example:
    >>> kind = KindQuality(mean=0.9998, first_percentile=0.9993, minimum=0.9991, texts=70)
    >>> kind.mean > kind.minimum
    True
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

__all__ = ["KindQuality", "LayerError", "QuantizationQuality", "QuantizationReport", "QuantizationSpeed", "SiteError"]

# The gate, which the core decides by (src/quantize/check.rs): here for the sentences that tell of it.
LEAST_MEAN = 0.9995
LEAST_MINIMUM = 0.998


@final
@dataclass(frozen=True, slots=True)
class KindQuality:
    """Cosines to float32 of the texts of one kind.

    Attributes:
        mean: Their mean.
        first_percentile: What one text in a hundred stays below.
        minimum: The least of them.
        texts: Number of texts.
    """

    mean: float
    first_percentile: float
    minimum: float
    texts: int


@final
@dataclass(frozen=True, slots=True)
class QuantizationQuality:
    """Cosines between int8 vectors and float32's, of texts that the calibration has not seen.

    Attributes:
        mean: Their mean.
        minimum: The least of them.
        first_percentile: What one text in a hundred stays below.
        texts: Number of texts.
        tokens: Tokens of all of them.
        by_kind: The same for each kind of text, such as `"sentence"` or `"code"`.
        passed: Whether mean and minimum reach what int8 promises: 0.9995 and 0.998.

    Example:
        >>> QuantizationQuality(0.9997, 0.9989, 0.9993, 413, 10_987, {}, passed=True).passed
        True
    """

    mean: float
    minimum: float
    first_percentile: float
    texts: int
    tokens: int
    by_kind: Mapping[str, KindQuality]
    passed: bool


@final
@dataclass(frozen=True, slots=True)
class SiteError:
    """The error of the linear layers that share one input.

    Attributes:
        role: Which they are, such as `"qkv"`: query, key and value of the attention.
        error: Difference of their outputs to float32's, relative to these (root of the mean squares).
        rounded: The same for weights that are only rounded: what the rest of the work gains.
    """

    role: str
    error: float
    rounded: float


@final
@dataclass(frozen=True, slots=True)
class LayerError:
    """The error of one layer of the model.

    Attributes:
        layer: Its number, from 0.
        error: Difference of the hidden states behind it to float32's, relative to these, with the errors of all layers
            before.
        sites: Its linear layers.
    """

    layer: int
    error: float
    sites: tuple[SiteError, ...]


@final
@dataclass(frozen=True, slots=True)
class QuantizationSpeed:
    """What int8 gains on this machine, measured in turn with float32.

    Attributes:
        float32: Texts a second in float32, with all threads.
        int8: Texts a second in int8, with all threads.
        ratio: How many times as fast int8 is: the median over the rounds.
        single: The same for one text with one thread.
    """

    float32: float
    int8: float
    ratio: float
    single: float


@final
@dataclass(frozen=True, slots=True)
class QuantizationReport:
    """What `quantize` did. `str(report)` is a table for people.

    Attributes:
        path: The file that was written; `None` where the quality is too low and nothing was.
        passed: Whether the vectors are as near to float32's as int8 promises.
        recipe: Version of the method.
        bytes: Size of the file.
        parameters_quantized: Numbers that became integers.
        calibration_texts: Texts that it learned from.
        calibration_tokens: Tokens of these.
        seconds: What it took.
        quality: How near the vectors are, on other texts.
        layers: Where the error comes from.
        speed: What it gains here.
        instructions: The processor's instructions that multiply the integers here, such as `"avx512-vnni"`.
        fast: Whether these are made for 8-bit integers; without, int8 gives the same vectors more slowly.
    """

    path: str | None
    passed: bool
    recipe: str
    bytes: int
    parameters_quantized: int
    calibration_texts: int
    calibration_tokens: int
    seconds: float
    quality: QuantizationQuality
    layers: tuple[LayerError, ...]
    speed: QuantizationSpeed
    instructions: str
    fast: bool

    @classmethod
    def from_core(cls, values: Mapping[str, Any]) -> QuantizationReport:
        """Build from the plain dict of the compiled module."""
        return cls(
            path=values["path"],
            passed=values["passed"],
            recipe=values["recipe"],
            bytes=values["bytes"],
            parameters_quantized=values["parameters_quantized"],
            calibration_texts=values["calibration"]["texts"],
            calibration_tokens=values["calibration"]["tokens"],
            seconds=values["seconds"],
            quality=_quality(values["quality"]),
            layers=tuple(
                LayerError(one["layer"], one["error"], tuple(SiteError(**site) for site in one["sites"]))
                for one in values["layers"]
            ),
            speed=QuantizationSpeed(**values["speed"]),
            instructions=values["instructions"],
            fast=values["fast"],
        )

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, ready for `json.dumps`."""
        values = asdict(self)
        layers: tuple[dict[str, Any], ...] = values["layers"]
        values["layers"] = [{**layer, "sites": list(layer["sites"])} for layer in layers]
        return values

    def __str__(self) -> str:
        from oxembed._quantization_table import table

        return table(self)


def _quality(values: Mapping[str, Any]) -> QuantizationQuality:
    by_kind: Mapping[str, Mapping[str, Any]] = values["by_kind"]
    plain: dict[str, Any] = {**values, "by_kind": {name: KindQuality(**one) for name, one in by_kind.items()}}
    return QuantizationQuality(**plain)
