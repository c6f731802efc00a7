"""Pictures for the documents: SVG that is readable on a light and on a dark page, the same bytes for the same figures.

The background is left out, and what is drawn in ink takes its colour from the reader's colour scheme.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

# Stand-ins that the style sheet replaces: no other thing in a picture has these colours.
INK, GRID = "#010203", "#040506"
STYLE = """<style>
:root { --ink: #4b535d; --grid: #d0d7de; }
@media (prefers-color-scheme: dark) { :root { --ink: #b1bac4; --grid: #444c56; } }
</style>"""
# Oxembed's own colours, float32 and int8, and that of the others: told apart by those who see no red or green, too.
OURS, OURS_INT8, OTHERS, WRONG = "#e8590c", "#f2a541", "#5c8fb8", "#9aa0a6"
SERIES = (OURS, OURS_INT8, OTHERS, "#7b61c4", "#2f9e8f", WRONG)

SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "oxembed",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "legend.frameon": False,
}


class Bar(NamedTuple):
    """One bar: its name, its length, and what stands behind it."""

    name: str
    value: float
    label: str
    colour: str = OTHERS


def _tick(value: float, _position: int = 0) -> str:
    """1M rather than 1e6; fractions as short as they can be said."""
    for size, letter in ((1_000_000, "M"), (10_000, "k")):
        if value >= size:
            return f"{value / (1_000 if letter == 'k' else size):g}{letter}"
    return f"{value:,.0f}" if value >= 1 or value == 0 else f"{value:g}"


def _save(figure: Figure, path: Path) -> None:
    """Writes the figure with its colours left to the reader."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None, "Creator": None}
    )
    text = buffer.getvalue()
    text = text.replace(INK, "var(--ink)").replace(GRID, "var(--grid)")
    text = re.sub(r"(<svg\b[^>]*>)", lambda found: f"{found.group(1)}\n{STYLE}", text, count=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


def bars(path: Path, bars: Sequence[Bar], *, title: str, axis: str) -> None:
    """Horizontal bars, the first on top, each with its label at its end."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(8.6, 0.9 + 0.36 * len(bars)))
        axes = figure.subplots()
        places = range(len(bars))
        axes.barh(list(places), [bar.value for bar in bars], color=[bar.colour for bar in bars], height=0.66)
        axes.set_yticks(list(places), [bar.name for bar in bars])
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        longest = max(bar.value for bar in bars)
        for place, bar in zip(places, bars, strict=True):
            axes.text(bar.value + longest * 0.01, place, bar.label, va="center", fontsize=10)
        axes.set_xlim(0, longest * 1.22)
        axes.xaxis.set_major_formatter(FuncFormatter(_tick))
        axes.set_xlabel(axis)
        axes.set_title(title, loc="left", fontsize=12)
        axes.grid(axis="x", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
        _save(figure, path)


class Panel(NamedTuple):
    """One of the diagrams of a picture: lines by name, each a list of (x, y)."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    logarithmic: str = ""
    """Which axes are: "x", "y", "xy" or none."""


def lines(path: Path, panels: Sequence[Panel]) -> None:
    """Diagrams side by side, each of one or more lines; the y axis starts at zero unless it is logarithmic."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(4.5 * len(panels), 3.4), layout="constrained")
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _panel(axes, panel)
        _save(figure, path)


def _panel(axes: Axes, panel: Panel) -> None:
    for (name, points), colour in zip(panel.lines.items(), SERIES, strict=False):
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, linewidth=1.8, color=colour, label=name)
    if "x" in panel.logarithmic:
        axes.set_xscale("log")
    places = _apart(sorted({x for points in panel.lines.values() for x, _ in points}))
    if len(places) <= 8:
        axes.set_xticks(places)
        axes.minorticks_off()
    axes.xaxis.set_major_formatter(FuncFormatter(_tick))
    if "y" in panel.logarithmic:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, max(y for points in panel.lines.values() for _, y in points) * 1.12)
    axes.yaxis.set_major_formatter(FuncFormatter(_tick))
    axes.set_title(panel.title, loc="left", fontsize=12)
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
    axes.grid(linewidth=0.6)
    axes.set_axisbelow(True)
    if len(panel.lines) > 1:
        axes.legend(fontsize=9)


def _apart(places: Sequence[float]) -> list[float]:
    """Places for ticks, without those whose labels would lie on others where they span many decades.

    Example:
        >>> _apart([1, 4, 8, 16]), _apart([1, 1_000, 10_000, 30_000, 100_000])
        ([1, 4, 8, 16], [1, 1000, 10000, 100000])
    """
    if not places or places[-1] < 1_000 * places[0]:
        return list(places)
    kept = [places[0]]
    for place in places[1:]:
        if place >= 5 * kept[-1]:
            kept.append(place)
    return kept


class Share(NamedTuple):
    """A part of a whole."""

    name: str
    percent: float
    colour: str


def shares(path: Path, rows: Mapping[str, Sequence[Share]], *, title: str) -> None:
    """Wholes as bars of 100%, one a row, their parts in the order given and named in the legend."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(8.6, 1.4 + 0.5 * len(rows)))
        axes = figure.subplots()
        named: set[str] = set()
        for place, parts in enumerate(rows.values()):
            start = 0.0
            for part in parts:
                label = None if part.name in named else part.name
                named.add(part.name)
                axes.barh(place, part.percent, left=start, color=part.colour, height=0.6, label=label)
                if part.percent >= 6:
                    axes.text(
                        start + part.percent / 2,
                        place,
                        f"{part.percent:.0f}%",
                        ha="center",
                        va="center",
                        fontsize=10,
                        color="#ffffff",
                    )
                start += part.percent
        axes.set_yticks(range(len(rows)), list(rows))
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(0, 100)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:.0f}%"))
        axes.set_title(title, loc="left", fontsize=12)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.legend(fontsize=9, ncols=4, loc="upper left", bbox_to_anchor=(0, -0.25 / len(rows) - 0.12))
        _save(figure, path)
