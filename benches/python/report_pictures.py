"""The pictures of docs/performance.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import picture
from report_tables import FLOAT32, OWN, OWN_INT8, measured

# What the parts of a profile are drawn in, in their order; what is too small to be seen is one part.
PROFILE = {
    "linear layers": ("linear layers at the peak", picture.OURS),
    "slower products": ("the same products, slower", picture.OURS_INT8),
    "texts": ("the model", picture.OURS),
    "others": ("attention, norms, activations", picture.OTHERS),
    "padding": ("padding", "#7b61c4"),
}
REST = ("all else", picture.WRONG)


def draw(results: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """All pictures, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    peers(results["peers"], folder / "peers.svg")
    batches(results["latency"], results["throughput"], folder / "batches.svg")
    profile(results["limit"], folder / "profile.svg")
    growth(results.get("growth_million_int8"), results["growth"], folder / "growth.svg")


def peers(results: Mapping[str, Any], path: Path) -> None:
    """The fastest row of every program and backend, in float32, and oxembed's int8."""
    shown: dict[str, Mapping[str, Any]] = {}
    for row in measured(results["rows"], FLOAT32):
        shown.setdefault(row["name"].partition(",")[0], row)
    own = next(row for row in results["rows"] if row["name"] == OWN)["texts_per_second"]["median"]
    int8 = next(row for row in results["rows"] if row["name"] == OWN_INT8)["texts_per_second"]["median"]
    bars = [picture.Bar("oxembed int8", int8, f"{int8:,.0f}", picture.OURS_INT8)]
    bars.append(picture.Bar("oxembed", own, f"{own:,.0f}", picture.OURS))
    for row in shown.values():
        if row["name"] != OWN:
            rate = row["texts_per_second"]["median"]
            label = f"{rate:,.0f}  ·  oxembed {row['times_as_slow']['median']:.1f} times"
            bars.append(picture.Bar(row["name"], rate, label))
    title = f"{results['texts']:,} short texts, all-MiniLM-L6-v2 in float32, {results['threads']} cores"
    picture.bars(path, bars, title=title, axis="texts a second")


def batches(latency: Mapping[str, Any], throughput: Mapping[str, Any], path: Path) -> None:
    """Texts a second by the size of a call."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for workload in latency["workloads"].values():
        for side, facts in workload.get("sides", {}).items():
            if "texts_per_second" in facts and "p50_ms" in facts:
                lines.setdefault(side, []).append((workload["texts"], facts["texts_per_second"]["median"]))
    times = {side: [(texts, 1e3 * texts / rate) for texts, rate in points] for side, points in lines.items()}
    panels = [
        picture.Panel("Texts a second", "texts in a call", "texts a second", lines, "x"),
        picture.Panel("Milliseconds a call", "texts in a call", "milliseconds", times, "xy"),
    ]
    picture.lines(path, panels)


def profile(results: Mapping[str, Any], path: Path) -> None:
    """Where the time goes, by type of the arithmetic."""
    rows = {}
    for dtype in ("float32", "int8"):
        shares: dict[tuple[str, str], float] = {}
        for part in results[dtype]["profile"]["parts"]:
            if part["name"] != "run":
                key = PROFILE.get(part["name"], REST)
                shares[key] = shares.get(key, 0.0) + part["share"] * 100
        rows[dtype] = [picture.Share(name, percent, colour) for (name, colour), percent in shares.items()]
    picture.shares(path, rows, title="Where the time of 2,000 short texts goes")


def growth(million: Mapping[str, Any] | None, results: Mapping[str, Any], path: Path) -> None:
    """Rates and memory as texts grow, and tokens a second by length."""
    streams = dict(results["texts"]["by_dtype"])
    if million is not None:
        streams |= million["texts"]["by_dtype"]
    rates = {
        dtype: [(one["texts"], one["texts_per_second"]["median"]) for one in found] for dtype, found in streams.items()
    }
    memory = {dtype: [(one["texts"], one["peak_memory_mib"]) for one in found] for dtype, found in streams.items()}
    lengths = {
        dtype: [(int(length), one["tokens_per_second"]["median"]) for length, one in found.items()]
        for dtype, found in results["lengths"]["by_dtype"].items()
    }
    picture.lines(
        path,
        [
            picture.Panel("Texts a second", "texts in a stream", "texts a second", rates, "x"),
            picture.Panel("Peak memory", "texts in a stream", "MiB", memory, "x"),
            picture.Panel("By length", "tokens a text", "tokens a second", lengths, "x"),
        ],
    )
