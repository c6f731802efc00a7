"""Writes docs/performance.md and its pictures from the files in docs/measurements.

    python benches/python/report.py --publish     # takes the results of `make bench` over from .bench first
    python benches/python/report.py               # writes page and pictures again
    python benches/python/report.py --check       # is the page what this makes of the measurements?

The page's words are in performance.md.jinja, its figures in the measurements, and no figure is in both.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import record
import report_tables as tables

DOCUMENTS = record.ROOT / "docs"
MEASUREMENTS = DOCUMENTS / "measurements"
PAGE = DOCUMENTS / "performance.md"
PICTURES = DOCUMENTS / "pictures"
MEASURED = record.ROOT / ".bench"
STEPS = ("throughput", "latency", "concurrency", "cold_start", "growth", "limit", "peers", "attempts")
# On the page where they are there: they need half an hour, or a Rust toolchain.
OPTIONAL = ("growth_million_int8", "growth_million", "criterion")


class ReportError(Exception):
    """There is no page to be made; the message says why."""


def publish() -> None:
    """Takes over what `make bench` left, all of it or nothing."""
    found = {name: MEASURED / f"{name}.json" for name in (*STEPS, *OPTIONAL)}
    for name in STEPS:
        record.read(found[name])
    MEASUREMENTS.mkdir(exist_ok=True)
    for path in found.values():
        if path.exists():
            shutil.copyfile(path, MEASUREMENTS / path.name)


def load(folder: Path) -> dict[str, record.Record]:
    """The measurements by step; all were made on one machine."""
    found = {name: record.read(folder / f"{name}.json") for name in STEPS}
    found |= {name: record.read(folder / f"{name}.json") for name in OPTIONAL if (folder / f"{name}.json").exists()}
    machines = {(one.machine["processor"], one.machine["cores"]) for one in found.values()}
    if len(machines) > 1:
        raise ReportError(f"the measurements are of several machines, {machines}: run `make bench` on one")
    return found


def context(found: Mapping[str, record.Record]) -> dict[str, Any]:
    """What the page's words may refer to."""
    results = {name: one.results for name, one in found.items()}
    by_name = {row["name"]: row for row in results["peers"]["rows"]}

    def peer(name: str) -> Mapping[str, Any]:
        if name not in by_name:
            raise ReportError(f"peers.json has no row {name!r}; it has {', '.join(by_name)}")
        row: Mapping[str, Any] = by_name[name]
        return row

    rivals = [row for row in tables.measured(results["peers"]["rows"], tables.FLOAT32) if row["name"] != tables.OWN]
    if not rivals:
        raise ReportError("peers.json has no peer that gave the right vectors: there is nothing to compare with")
    # Programs that are oxembed's own method written down in Python are no package that anybody could install.
    packages = [row for row in rivals if not row["name"].startswith("onnxruntime")] or rivals

    def rate(step: str, workload: str) -> float:
        median: float = results[step]["workloads"][workload]["sides"][tables.OWN]["texts_per_second"]["median"]
        return median

    million = found.get("growth_million_int8")
    return {
        **dict.fromkeys(OPTIONAL),
        **results,
        "beside_a_small_model_us": results["latency"]["workloads"]["beside the session's run"]["sides"][tables.OWN][
            "microseconds_beside_the_run"
        ]["median"],
        "fastest": packages[0],
        "latency_texts_per_second": rate("latency", "one text"),
        "machine": found["peers"].machine,
        "one_text_ratio": results["latency"]["workloads"]["one text"]["sides"]["onnxruntime at its best"][
            "oxembed_is_faster_by"
        ]["median"],
        "million": million.results if million else None,
        "million_command": million.command if million else None,
        "peer": peer,
        "tables": tables,
        "throughput_file": _file_of(results["throughput"]),
        "throughput_texts_per_second": rate("throughput", "2,000 short texts"),
        "versions": found["peers"].versions,
    }


def _file_of(throughput: Mapping[str, Any]) -> str:
    own = all("oxembed" in workload.get("onnx", "oxembed") for workload in throughput["workloads"].values())
    return "what `oxembed export` writes of the same model" if own else "torch's export of the same model"


def page(found: Mapping[str, record.Record]) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown for people, of our own figures
        keep_trailing_newline=True,
    )
    environment.filters["thousands"] = lambda value: f"{value:,}"
    return environment.get_template("performance.md.jinja").render(context(found))


def main() -> int:
    """Writes or checks; return 0, or 1 after a line about what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--publish", action="store_true", help="take over the results in .bench first")
    chosen.add_argument("--check", action="store_true", help="write nothing; 1 where the page is not up to date")
    arguments = parser.parse_args()
    try:
        if arguments.publish:
            publish()
        found = load(MEASUREMENTS)
        text = page(found)
        if arguments.check:
            if PAGE.read_text(encoding="utf-8") != text:
                raise ReportError(f"{PAGE.name} is not what the measurements say: run python benches/python/report.py")
            return 0
        # Only here: a check needs no library for pictures.
        import report_pictures

        PAGE.write_text(text, encoding="utf-8")
        report_pictures.draw({name: one.results for name, one in found.items()}, PICTURES)
    except (ReportError, record.RecordError, jinja2.UndefinedError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{PAGE.relative_to(record.ROOT)} and {PICTURES.relative_to(record.ROOT)} are written.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
