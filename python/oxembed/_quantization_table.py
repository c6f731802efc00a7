"""A `QuantizationReport` as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from oxembed._columns import aligned
from oxembed.quantization_report import LEAST_MEAN, LEAST_MINIMUM

if TYPE_CHECKING:
    from oxembed.quantization_report import QuantizationReport


def table(report: QuantizationReport) -> str:
    """Lines for people, without an end of line after the last."""
    return "\n\n".join((_quality(report), _errors(report), _rest(report)))


def _quality(report: QuantizationReport) -> str:
    found = report.quality
    rows = [("cosine to float32", "texts", "mean", "1% below", "minimum")]
    rows += [
        (kind, f"{one.texts:,}", _cosine(one.mean), _cosine(one.first_percentile), _cosine(one.minimum))
        for kind, one in found.by_kind.items()
    ]
    total = (_cosine(found.mean), _cosine(found.first_percentile), _cosine(found.minimum))
    rows.append(("all", f"{found.texts:,}", *total))
    verdict = "passed" if report.passed else "MISSED"
    return (
        f"{_columns(rows)}\n{verdict}: a mean of at least {LEAST_MEAN} and a minimum of at least {LEAST_MINIMUM} are "
        "what int8 promises"
    )


def _errors(report: QuantizationReport) -> str:
    roles = [site.role.replace("_", " ") for site in report.layers[0].sites] if report.layers else []
    rows = [("layer", "error", *roles)]
    for layer in report.layers:
        sites = [f"{_share(site.error)} ({_share(site.rounded)})" for site in layer.sites]
        rows.append((str(layer.layer), _share(layer.error), *sites))
    note = (
        "errors relative to float32, of what a layer gives and of its products; in brackets, with weights only rounded"
    )
    return f"{_columns(rows)}\n{note}"


def _rest(report: QuantizationReport) -> str:
    speed = report.speed
    how = "made for it" if report.fast else "not made for it, so that int8 need not be faster here"
    return "\n".join(
        (
            f"{speed.ratio:.2f} times as fast as float32 here: {speed.int8:,.0f} against {speed.float32:,.0f} texts a "
            f"second; one text with one thread: {speed.single:.2f} times",
            f"instructions: {report.instructions}, {how}",
            f"{report.parameters_quantized:,} weights in {report.bytes / 1e6:.1f} MB, learned from "
            f"{report.calibration_texts:,} texts ({report.calibration_tokens:,} tokens) in {report.seconds:.0f} s; "
            f"recipe {report.recipe}",
        )
    )


def _cosine(value: float) -> str:
    """Rounded down: a cosine below a bound must not look as if it were on it."""
    return f"{math.floor(value * 1e6) / 1e6:.6f}"


def _share(value: float) -> str:
    return f"{value:.2%}"


def _columns(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(aligned(rows, numbers=range(1, len(rows[0]))))
