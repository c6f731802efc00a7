"""Writes the figures of `serve.py` and `serve_endurance.py` into the guide.

    python benches/python/serve_report.py            # docs/serve.md, from docs/measurements
    python benches/python/serve_report.py --check    # are they what docs/measurements say?

What stands between the two comments of the guide is made here; the rest of it is not touched.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import record

GUIDE = record.ROOT / "docs" / "serve.md"
MEASUREMENTS = record.ROOT / "docs" / "measurements"
START, END = "<!-- figures of serve_report.py -->\n", "<!-- end of the figures -->\n"
# What is held to a target, in words; `%` for shares.
HELD = {
    "share_of_bulk": ("64 connections of one short text each, through the library's texts/s in one call", "{:.0%}"),
    "base64_share_of_bulk": ("the same with `encoding_format: base64`", "{:.0%}"),
    "p99_at_half_load_over_single": ("P99 at half of that rate, through the library's time for one text", "{:.2f}"),
    "p99_at_half_load_over_single_p99": ("the same, through P99 of the library's times for one text", "{:.2f}"),
    "single_p99_over_single": ("P99 of the library's times for one text, through their median: texts differ", "{:.2f}"),
    "lone_overhead_ms": ("P50 of a lone request, beyond the library's time for its text, ms", "{:.2f}"),
    "over_fastapi": ("texts/s, through those of the FastAPI program around sentence-transformers", "{:.2f}"),
    "over_infinity": ("texts/s, through those of infinity", "{:.2f}"),
    "seconds_to_ready": ("from the start of the process to the first answer of `/ready`, s", "{:.2f}"),
}
# What figures are held to.
TARGETS = {
    "share_of_bulk": (">=", 0.85),
    "p99_at_half_load_over_single": ("<=", 3.0),
    "lone_overhead_ms": ("<=", 0.5),
    "over_fastapi": (">=", 3.0),
    "seconds_to_ready": ("<=", 1.0),
}
COUNTS = (
    "answers checked",
    "vectors checked",
    "clients that left",
    "clients that stalled",
    "garbage refused",
    "told to come back",
    "swaps",
)


def figures(load: dict[str, Any], endurance: dict[str, Any]) -> str:
    """The paragraphs and tables."""
    machine = load["machine"]
    lines = [
        f"On {machine['cores']} cores of an {machine['processor']} with the embedded model in float32, "
        f"{load['results']['texts']} short texts; medians of rounds in which each side had its turn "
        f"([serve.json](measurements/serve.json), commit `{load['commit']}`):",
        "",
        "| What | Measured | Spread | Aim |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, (words, form) in HELD.items():
        found = load["results"]["ratios"].get(name)
        if found is None:
            continue
        aim = ""
        if "target" in found:
            # Of the run, so that its verdict stands beside what it was held to.
            sign, _ = TARGETS[name]
            aim = ("at most " if sign == "<=" else "") + form.format(found["target"])
            aim += "" if found["is_met"] else ", missed"
        lines.append(f"| {words} | {form.format(found['median'])} | {found['spread']:.0%} | {aim} |")
    for name, why in load["results"]["not_measured"].items():
        lines += ["", f"Not measured: {name}, because {why.splitlines()[0]}"]
    found = endurance["results"]
    told = ", ".join(f"{found['counts'][name]:,} {name}" for name in COUNTS if name in found["counts"])
    before, after = found["mebibytes"]["second_sixth"], found["mebibytes"]["last_sixth"]
    handles = found["handles"]
    lines += [
        "",
        f"{found['minutes']:g} minutes of everything at once "
        f"([serve_endurance.json](measurements/serve_endurance.json), commit `{endurance['commit']}`): {told}. "
        f"What was wrong: {'; '.join(found['wrong']) or 'nothing'}. "
        f"Memory: {before:.0f} MiB in the second sixth of the time, {after:.0f} MiB in the last; "
        f"open files: {handles['start']:.0f} at the start, {handles['end']:.0f} at the end.",
        "",
    ]
    return "\n".join(lines)


def written(guide: str, text: str) -> str:
    """The guide with the figures in their place."""
    head, start, rest = guide.partition(START)
    _, end, tail = rest.partition(END)
    if not start or not end:
        raise SystemExit(f"{GUIDE.name} has no place for the figures: {START.strip()} and {END.strip()}")
    return head + START + text + END + tail


def main() -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description="The service's figures into docs/serve.md.")
    parser.add_argument("--check", action="store_true", help="change nothing; status 1 where something would change")
    arguments = parser.parse_args()
    load, endurance = (
        json.loads(Path(MEASUREMENTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("serve", "serve_endurance")
    )
    guide = GUIDE.read_text(encoding="utf-8")
    new = written(guide, figures(load, endurance))
    if arguments.check:
        if new != guide:
            sys.stderr.write("docs/serve.md has other figures: run python benches/python/serve_report.py\n")
            return 1
        return 0
    GUIDE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
