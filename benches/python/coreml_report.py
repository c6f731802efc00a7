"""The results of `coreml.py` as tables, for a terminal of 80 columns and as Markdown."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

WIDTH = 80


class Table(NamedTuple):
    """A table, whose first `words` columns are words and whose others are numbers."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int
    note: str = ""


def names(results: dict[str, Any]) -> dict[str, str]:
    """What the sides are called."""
    provider = results["provider"]["name"]
    return {"provider": provider, "cpu": "cpu" if provider != "cpu" else "cpu again", "export": "usual export"}


def as_text(results: dict[str, Any]) -> str:
    """For a terminal."""
    lines = [title(results), *(wrapped for fact in facts(results) for wrapped in textwrap.wrap(fact, WIDTH))]
    for table in tables(results):
        lines += ["", table.title, *aligned(table)]
        lines += textwrap.wrap(table.note, WIDTH)
    return "\n".join(lines) + "\n"


def as_markdown(results: dict[str, Any]) -> str:
    """For a file that is shown as Markdown, such as the summary of a CI job."""
    lines = [f"## {title(results)}", "", *(f"- {fact}" for fact in facts(results))]
    for table in tables(results):
        rule = ["---" if column < table.words else "---:" for column in range(len(table.head))]
        rows = [table.head, rule, *([cell.replace("|", "\\|") for cell in row] for row in table.rows)]
        lines += ["", f"**{table.title}**", "", *(f"| {' | '.join(row)} |" for row in rows)]
        if table.note:
            lines += ["", table.note]
    return "\n".join(lines) + "\n\n"


def aligned(table: Table) -> Iterator[str]:
    """The lines of a table with its columns in line."""
    columns = list(zip(table.head, *table.rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        cells = zip(row, widths, strict=True)
        pads = [cell.ljust(width) if at < table.words else cell.rjust(width) for at, (cell, width) in enumerate(cells)]
        yield "  ".join(pads).rstrip()


def title(results: dict[str, Any]) -> str:
    """What was measured."""
    return f"{results['model']['name']} on {results['provider']['name']}"


def facts(results: dict[str, Any]) -> Iterator[str]:
    """The machine, the versions, the options."""
    machine, provider, export = results["machine"], results["provider"], results["export"]
    yield f"{machine['processor']}, {machine['processors']} processors, {machine['system']}"
    versions = [f"{label} {machine[key]}" for label, key in VERSIONS]
    yield f"{', '.join(versions)}; {results['threads']} threads"
    yield f"{provider['name']} ({provider['runtime_name']}) in {provider['dtype']}, {in_words(provider['options'])}"
    if export["problem"] is None:
        yield f"usual export: {export['file']} on {provider['runtime_name']}, {in_words(export['options'])}"
    else:
        yield f"usual export: {export['problem']}"


VERSIONS = (("oxembed", "oxembed"), ("ONNX Runtime", "onnxruntime"), ("Python", "python"), ("numpy", "numpy"))


def in_words(options: dict[str, str]) -> str:
    """Options as they were given."""
    return ", ".join(f"{key}={value}" for key, value in options.items()) or "default options"


def tables(results: dict[str, Any]) -> Iterator[Table]:
    """All tables, the most important first."""
    yield latency(results)
    yield throughput(results)
    yield quality(results)
    yield placement(results)
    if results["starts"]:
        yield starts(results)


def latency(results: dict[str, Any]) -> Table:
    """Single calls."""
    provider, rows = names(results)["provider"], []
    for batch in results["latency"]:
        for name, side in batch["sides"].items():
            times = [f"{side[key]:.2f}" for key in ("p50_ms", "p95_ms", "p99_ms")]
            size = str(batch["texts"]) if name == "provider" else ""
            rows.append([size, names(results)[name], *times, factor(batch["faster"].get(name))])
    head = ["texts", "side", "P50", "P95", "P99", f"{provider} is faster by"]
    title = f"Milliseconds a call, {results['runs']} runs after {results['warm_ups']}, the sides in turn"
    return Table(title, head, rows, 2)


def factor(value: float | None) -> str:
    """How many times as fast."""
    return "" if value is None else f"{value:.2f} x"


def throughput(results: dict[str, Any]) -> Table:
    """The corpus."""
    measured = results["throughput"]
    rows = [
        [names(results)[name], f"{side['texts_per_second']:,.0f}", factor(measured["faster"].get(name))]
        for name, side in measured["sides"].items()
    ]
    head = ["side", "texts/s", f"{names(results)['provider']} is faster by"]
    title = f"{measured['texts']:,} texts in one call, median of {results['rounds']}"
    return Table(title, head, rows, 1)


def quality(results: dict[str, Any]) -> Table:
    """Cosines."""
    measured = results["quality"]
    rows = [
        [
            names(results)[name],
            exactly(side["mean_cosine"]),
            exactly(side["smallest_cosine"]),
            str(side["rows_not_finite"]),
        ]
        for name, side in measured["sides"].items()
    ]
    head = ["side", "mean", "smallest", "rows with NaN"]
    return Table(f"Cosine to the CPU's vectors, {measured['texts']:,} texts", head, rows, 1)


def exactly(value: float | None) -> str:
    """A cosine."""
    return "NaN" if value is None else f"{value:.7f}"


def placement(results: dict[str, Any]) -> Table:
    """Shares of the sessions that are alive, and the partitions of the whole graph."""
    found = results["placement"]
    rows = [
        [
            one["session"],
            f"{one['provider_nodes']} of {one['nodes']}",
            percent(one["node_share"]),
            percent(one["work_share"]),
        ]
        for one in found["sessions"]
    ]
    notes = []
    for name, parts in found["partitions"].items():
        what = "the usual export" if name == "export" else f"the written graph ({name})"
        kinds = "1 partition" if parts["partitions"] == 1 else f"{parts['partitions']:,} partitions"
        notes.append(f"{what}: {parts['nodes']:,} of {parts['all_nodes']:,} nodes in {kinds}")
    note = f"In a plain session, {'; '.join(notes)}." if notes else "The number of partitions is not known here."
    title = f"What {results['provider']['name']} has of each session"
    return Table(title, ["session", "nodes", "share", "multiply-adds"], rows, 1, note)


def percent(share: float) -> str:
    """A share, never rounded up to all."""
    return "100%" if share >= 1 else f"{min(share, 0.9994):.1%}"


def starts(results: dict[str, Any]) -> Table:
    """Loads in processes of their own."""
    rows = [
        [names(results)[name], *(f"{statistics.median(times[kind]):.2f}" for kind in ("empty_cache", "with_cache"))]
        for name, times in results["starts"].items()
    ]
    number = len(results["starts"]["provider"]["empty_cache"])
    title = f"Seconds to load the model and embed one text, in a new process, median of {number}"
    return Table(title, ["side", "empty cache", "with the cache"], rows, 1)
