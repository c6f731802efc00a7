"""Where the time of a call with all texts goes: 100% is all cores, for as long as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from oxembed._bench.measurement import Measurement, Operator

# The stages of `StageTimes`, in the order in which a text goes through them, and what they are.
_STAGES = {
    "tokenize": "texts to tokens",
    "plan": "finding equal texts, cutting batches",
    "copy": "making the arrays of a batch",
    "run": "ONNX Runtime",
    "pool": "pooling, dense layers, normalization, placing rows",
    "wait": "no core works on the call yet, or any more",
}
# Operators of linear layers, as ONNX Runtime calls them.
_PRODUCTS = {"Gemm", "FusedGemm", "MatMul", "FusedMatMul"}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the time.

    Attributes:
        name: What it is called.
        share: Of the time of all cores, 0 to 1.
        ms_per_1000_texts: Milliseconds of wall time for 1,000 texts.
        what: What it is.
        inside: The stage that it is a part of; `None` for a stage.
    """

    name: str
    share: float
    ms_per_1000_texts: float
    what: str
    inside: str | None = None


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Where the time goes.

    Attributes:
        parts: The stages, whose shares add up to 1, each followed by the parts that it has, which add up to it.
        operators: The time inside ONNX Runtime by operator; `None` where it is not known.
        why_no_operators: Why not.
    """

    parts: tuple[Part, ...]
    operators: tuple[Operator, ...] | None
    why_no_operators: str | None

    def as_dict(self) -> dict[str, Any]:
        """For `json.dumps`."""
        return {
            "parts": [asdict(one) for one in self.parts],
            "operators": None if self.operators is None else [asdict(one) for one in self.operators],
            "why_no_operators": self.why_no_operators,
        }

    def share(self, name: str) -> float:
        """The share of a part; 0 for one that is not there."""
        return sum(one.share for one in self.parts if one.name == name)


def breakdown(found: Measurement) -> Breakdown:
    """Of a measurement.

    Example:
        >>> from oxembed import Embedder
        >>> from oxembed._bench.measurement import measure
        >>> from oxembed._bench.texts import built_in
        >>> parts = breakdown(measure(Embedder(provider="cpu", threads=1), built_in(8), 1)).parts
        >>> round(sum(part.share for part in parts if part.inside is None), 9)
        1.0
    """
    wall = sum(one.seconds for one in found.passes)
    whole = wall * found.model.threads
    per_1000 = wall / (len(found.passes) * found.texts) * 1e6
    seconds: dict[str, float] = {name: sum(getattr(one.stages, name) for one in found.passes) for name in _STAGES}
    # Waiting is the call's: meanwhile no core works for it.
    seconds["wait"] *= found.model.threads
    seconds["rest"] = whole - sum(seconds.values())
    parts: list[Part] = []
    for name, what in {**_STAGES, "rest": "cores without work, Python"}.items():
        parts.append(_part(name, seconds[name] / whole, per_1000, what))
        if name == "run":
            parts += _inside_the_run(found, seconds["run"] / whole, whole, per_1000)
    return Breakdown(tuple(parts), found.operators, found.why_no_operators)


def _inside_the_run(found: Measurement, run: float, whole: float, per_1000: float) -> Sequence[Part]:
    tokens = sum(one.stages.tokens for one in found.passes)
    padding = sum(one.stages.padded_tokens for one in found.passes) - tokens
    if found.limit is None or found.model.dtype != "float32" or found.model.provider != "cpu":
        # What products would take at the limit says nothing of another arithmetic or device.
        padded = run * padding / (tokens + padding)
        return [
            _part("texts", run - padded, per_1000, "the tokens of the texts", "run"),
            _part("padding", padded, per_1000, "tokens that fill up shorter texts", "run"),
        ]
    of_a_token = found.limit.work / found.limit.peak.median * found.model.threads / whole
    linear, padded = tokens * of_a_token, padding * of_a_token
    parts = [
        _part("linear layers", linear, per_1000, "of the texts' tokens, as fast as products can be", "run"),
        _part("padding", padded, per_1000, "linear layers of tokens that fill up shorter texts", "run"),
    ]
    rest = run - linear - padded
    products = run * sum(one.share for one in found.operators or () if one.name in _PRODUCTS)
    if products > 0:
        slower = products - linear - padded
        parts.append(_part("slower products", slower, per_1000, "what the same products take above that", "run"))
        return [*parts, _part("others", rest - slower, per_1000, "attention, norms, activations", "run")]
    return [*parts, _part("others", rest, per_1000, "attention, norms, activations; slower products", "run")]


def _part(name: str, share: float, per_1000: float, what: str, inside: str | None = None) -> Part:
    return Part(name, share, share * per_1000, what, inside)
