"""Tables of the measurements, in Markdown. Every function takes the results of one step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Results = Mapping[str, Any]
MEBIBYTE = 2**20
FLOAT32, LOWER, ANOTHER = "float32", "lower precision", "another model"
OWN = "oxembed"
OWN_INT8 = "oxembed int8"


def number(value: float) -> str:
    """Three digits, and thousands set apart.

    Example:
        >>> number(1234.5), number(56.78), number(0.01234), number(0)
        ('1,234', '56.8', '0.0123', '0')
    """
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{value:.{digits}f}"


def percent(value: float, digits: int = 1) -> str:
    """A share of one, as a percentage."""
    return f"{value * 100:.{digits}f}%"


def spread(figure: Results) -> str:
    """What the rounds differ by; of one round nothing can be said.

    Example:
        >>> spread({"median": 2.0, "spread": 0.05, "rounds": 3}), spread({"median": 2.0, "spread": 0.0, "rounds": 1})
        ('5%', 'once')
    """
    return percent(figure["spread"], 0) if figure["rounds"] > 1 else "once"


def cosine(value: float) -> str:
    """Rounded down: a cosine below a bound must not look as if it were on it."""
    return f"{math.floor(value * 1e6) / 1e6:.6f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """A table whose first `words` columns are to the left and whose others are to the right."""
    marks = ["---" if place < words else "---:" for place in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, marks, *rows))


def measured(rows: Iterable[Results], kind: str) -> list[Results]:
    """Rows of peers of one kind that gave right vectors, the fastest first."""
    right = [row for row in rows if row["kind"] == kind and row["failure"] is None]
    return sorted(right, key=lambda row: -row["texts_per_second"]["median"])


def peers(results: Results, kind: str) -> str:
    """Who is how fast, with whose vectors."""
    head = ["", "texts/s", "±", "oxembed is faster by", "one text: P50", "P95", "P99 ms", "CPU s per 1,000"]
    head += ["memory MiB", "cosine: smallest", "mean"]
    rows = []
    for row in measured(results["rows"], kind):
        one, cosines = row["one_text"], row.get("cosine")
        bold = "**" if row["name"] in (OWN, OWN_INT8) else ""
        rows.append(
            [
                f"{bold}{row['name']}{bold}",
                number(row["texts_per_second"]["median"]),
                spread(row["texts_per_second"]),
                "" if bold else f"{row['times_as_slow']['median']:.2f}",
                *(number(one[f"p{share}_ms"]) for share in (50, 95, 99)),
                number(row["cpu_seconds_per_1000"]["median"]),
                number(row["peak_bytes"] / MEBIBYTE),
                *((cosine(cosines["smallest"]), cosine(cosines["mean"])) if cosines else ("", "")),
            ]
        )
    return table(head, rows)


def failures(results: Results) -> str:
    """The rows without figures, and why."""
    lines = [f"- **{row['name']}**: {row['failure']}" for row in results["rows"] if row["failure"] is not None]
    return "\n".join(lines) if lines else "None."


def weights(results: Results) -> str:
    """What each peer's environment takes of a disk, and its versions."""
    seen: dict[str, tuple[str, str]] = {}
    for row in results["rows"]:
        if row["failure"] is None and row["disk_bytes"] is not None:
            versions = ", ".join(f"{name} {version}" for name, version in sorted(row["versions"].items()))
            seen.setdefault(versions, (row["name"], number(row["disk_bytes"] / MEBIBYTE)))
    return table(
        ["", "versions", "MiB on disk"],
        ([name, versions, size] for versions, (name, size) in seen.items()),
        words=2,
    )


def workloads(results: Results, names: Sequence[str] | None = None) -> str:
    """Sides of pytest-benchmark's suite, texts a second and ratios, a workload after the other."""
    head = ["", "", "texts/s", "±", "tokens/s", "oxembed is faster by", "P50 ms", "P95", "P99", "CPU s per 1,000"]
    rows = []
    for name, workload in results["workloads"].items():
        if "sides" not in workload or (names is not None and name not in names):
            continue
        for side, facts in workload["sides"].items():
            if "texts_per_second" not in facts:
                continue
            rows.append(
                [
                    name if side == OWN else "",
                    f"**{side}**" if side.startswith(OWN) else side,
                    number(facts["texts_per_second"]["median"]),
                    spread(facts["texts_per_second"]),
                    number(facts["tokens_per_second"]["median"]),
                    "" if side.startswith(OWN) else f"{facts['oxembed_is_faster_by']['median']:.2f}",
                    *(number(facts[f"p{share}_ms"]) for share in (50, 95, 99)),
                    number(facts["cpu_seconds_per_1000_texts"]["median"]),
                ]
            )
    return table(head, rows, words=2)


def limit(results: Results) -> str:
    """The products of the model's own shapes, and the whole model beside them."""
    rows = []
    for shape in results["float32"]["limit"]["shapes"]:
        rows.append(
            [
                f"{shape['inputs']} x {shape['outputs']}, {shape['layers']} layers, {percent(shape['share'], 0)}",
                *(
                    number(shape["medians"][way] / 1e9) if way in shape["medians"] else ""
                    for way in ("onnxruntime", "numpy")
                ),
            ]
        )
    return table(["matrix of weights", "ONNX Runtime", "numpy"], rows)


def profile(results: Results, dtype: str) -> str:
    """Where the time of a call with all texts goes."""
    rows = []
    for part in results[dtype]["profile"]["parts"]:
        inside = part["inside"] is not None
        rows.append(
            [
                f"… {part['name']}" if inside else part["name"],
                part["what"],
                percent(part["share"]),
                number(part["ms_per_1000_texts"]),
            ]
        )
    return table(["", "", "share", "ms per 1,000 texts"], rows, words=2)


def growth(results: Results) -> str:
    """Streams of more and more texts."""
    head = ["texts", "", "texts/s", "peak memory MiB", "texts/s against the first 10,000", "memory against them"]
    rows = []
    for dtype, streams in results["texts"]["by_dtype"].items():
        for one in streams:
            late = "throughput_against_the_first_window" in one
            rows.append(
                [
                    f"{one['texts']:,}",
                    dtype,
                    number(one["texts_per_second"]["median"]),
                    number(one["peak_memory_mib"]),
                    f"{one['throughput_against_the_first_window']:.3f}" if late else "",
                    f"{one['memory_against_the_first_window']:.3f}" if late else "",
                ]
            )
    return table(head, rows, words=2)


def by(results: Results, part: str, title: str) -> str:
    """Texts and tokens a second by number of cores, or by length."""
    head = [title, "", "texts/s", "tokens/s", "± ", *(["times one core"] if part == "cores" else [])]
    rows = []
    for dtype, found in results[part]["by_dtype"].items():
        for key, one in found.items():
            row = [key, dtype, number(one["texts_per_second"]["median"]), number(one["tokens_per_second"]["median"])]
            row.append(percent(one["tokens_per_second"]["spread"], 0))
            rows.append([*row, *([f"{one['times_one_thread']:.2f}"] if part == "cores" else [])])
    return table(head, rows, words=2)


def cold_start(results: Results) -> str:
    """A new process, in parts."""
    parts = ("process_ms", "import_ms", "load_ms", "first_call_ms")
    rows = [
        [name, *(number(side[part]["median"]) if part in side else "" for part in parts)]
        for name, side in results["sides"].items()
    ]
    return table(["milliseconds", "whole process", "import", "load", "first call"], rows)


def attempts(results: Results, part: str, title: str) -> str:
    """Another way against the one in use: how many times as long it takes, by shape."""
    shapes = results[part]
    names = dict.fromkeys(name for sides in shapes.values() for name in sides)
    rows = [[f"{shape}" for shape in shapes]]
    rows = [
        [
            f"**{name}**" if name == "in use" else name,
            *(
                f"{sides[name]['milliseconds']['median']:.2f} ms" if name == "in use" else f"{sides[name]['ratio']:.2f}"
                for sides in shapes.values()
            ),
        ]
        for name in names
    ]
    return table([title, *shapes], rows)


def budgets(results: Results) -> str:
    """Token budgets: one comparison, a row a side."""
    rows = [
        [name, number(one["milliseconds"]["median"]), f"{one['ratio']:.3f}"] for name, one in results["budgets"].items()
    ]
    return table(["", "ms for the short texts", "times as long"], rows)


def criterion(results: Results) -> str:
    """Parts of the Rust core."""
    rows = [
        [
            f"{group}: {name}" if name else group,
            number(one["seconds"]["median"] * 1e6),
            percent(one["seconds"]["spread"], 0),
        ]
        for group, benches in results.items()
        for name, one in benches.items()
    ]
    return table(["", "microseconds", "±"], rows)
