"""The results of `peers.py` as text."""

from __future__ import annotations

from typing import Any

from peers_catalogue import ANOTHER, LOWER

MEBIBYTE = 2**20
KINDS = ("float32", LOWER, ANOTHER)
COLUMNS = (
    ("texts/s", 8),
    ("+-%", 4),
    ("tokens/s", 8),
    ("slower", 7),
    ("P50 ms", 7),
    ("P95", 6),
    ("P99", 6),
    ("CPU s/1k", 8),
    ("MiB", 6),
    ("load s", 6),
    ("disk", 6),
    ("cos min", 8),
    ("mean", 8),
)
LEGEND = """\
texts/s, tokens/s: median of the rounds; +-%: interquartile range over median. slower: how many times as long as
oxembed took in the same round (rows of lower precision: as oxembed int8 took). P50, P95, P99: one text a call. CPU
s/1k: processor seconds for 1,000 texts. MiB: most memory. disk: MiB of the environment, Python and model not counted.
cos: to oxembed's float32 vectors.
"""


def cells(row: dict[str, Any]) -> list[str]:
    """The figures of a row that has them."""
    texts, one = row["texts_per_second"], row["one_text"]
    slower, disk, cosine = row.get("times_as_slow"), row["disk_bytes"], row.get("cosine")
    return [
        f"{texts['median']:.0f}",
        f"{texts['spread'] * 100:.0f}",
        f"{row['tokens_per_second']['median']:.0f}",
        f"{slower['median']:.2f}" if slower else "-",
        *(f"{one[f'p{share}_ms']:.2f}" for share in (50, 95, 99)),
        f"{row['cpu_seconds_per_1000']['median']:.2f}",
        f"{row['peak_bytes'] / MEBIBYTE:.0f}",
        f"{row['load_seconds']:.2f}",
        f"{disk / MEBIBYTE:.0f}" if disk is not None else "-",
        *((f"{cosine['smallest']:.5f}", f"{cosine['mean']:.5f}") if cosine else ("-", "-")),
    ]


def as_text(results: dict[str, Any]) -> str:
    """One table, fastest first within a kind, with machine and versions below it."""
    rows = results["rows"]
    width = max(len(row["name"]) for row in rows)
    lines = []
    for kind in (kind for kind in KINDS if any(row["kind"] == kind for row in rows)):
        titles = "".join(f"  {title:>{size}}" for title, size in COLUMNS)
        lines += [f"{kind:{width}}{titles}"]
        found = [row for row in rows if row["kind"] == kind]
        right = [row for row in found if row["failure"] is None]
        for row in sorted(right, key=lambda row: -row["texts_per_second"]["median"]):
            shown = "".join(f"  {cell:>{size}}" for cell, (_, size) in zip(cells(row), COLUMNS, strict=True))
            lines.append(f"{row['name']:{width}}{shown}  {row['note']}".rstrip())
        lines += [f"{row['name']:{width}}  {row['failure']}" for row in found if row["failure"] is not None]
        lines.append("")
    return "\n".join(lines) + "\n" + LEGEND


def as_notes(results: dict[str, Any], machine: dict[str, Any]) -> str:
    """The machine and the versions of everything."""
    named: dict[str, str] = {}
    for row in results["rows"]:
        if row["versions"]:
            shown = ", ".join(f"{name} {version}" for name, version in sorted(row["versions"].items()))
            named.setdefault(shown, row["name"])
    system = ", ".join(f"{name} {value}" for name, value in machine.items() if name != "instructions")
    lines = [f"Machine: {system}.", "Versions:"]
    return "\n".join([*lines, *(f"  {name}: {shown}" for shown, name in named.items())]) + "\n"
