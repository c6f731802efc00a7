"""The results of `int8.py` as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coreml_report import Table, aligned


def as_text(results: dict[str, Any]) -> str:
    """Every table, with an empty line before each."""
    machine = results["machine"]
    lines = [
        f"{results['model']}: int8 against float32",
        f"{machine['processor']}, {machine['processors']} processors, {results['threads']} threads; "
        f"oxembed {machine['oxembed']}, ONNX Runtime {machine['onnxruntime']}, {results['rounds']} rounds",
    ]
    for table in tables(results):
        lines += ["", table.title, *aligned(table), *([table.note] if table.note else [])]
    return "\n".join(lines) + "\n"


def tables(results: dict[str, Any]) -> Iterator[Table]:
    """A table for each measurement that was made."""
    yield quality("Cosine to float32 of texts that no calibration has seen", results["quality"])
    yield Table(
        "Texts whose vector has other bits than in one call with all the others",
        ["", "texts", "alone", "one thread", "order", "largest difference"],
        [
            [
                dtype,
                str(one["texts"]),
                str(one["differ_alone"]),
                str(one["differ_with_one_thread"]),
                str(one["differ_in_another_order"]),
                f"{one['largest_difference']:.1e}",
            ]
            for dtype, one in results["bits"].items()
        ],
        1,
    )
    yield speed("Speed", results["speed"])
    yield retrieval(results["retrieval"], results["pairs"])
    yield Table(
        "Memory of a process after loading and one text, MiB",
        ["", "all pages", "its own"],
        [[dtype, f"{one['rss']:.0f}", f"{one['uss']:.0f}"] for dtype, one in results["memory"].items()],
        1,
    )
    if "dynamic" in results:
        one = results["dynamic"]
        yield quality("quantize_dynamic: cosine to float32", one["quality"])
        yield quality(
            "quantize_dynamic: cosine of a text alone to itself in a batch", {"": one["alone_against_in_a_batch"]}
        )
        yield speed("quantize_dynamic: speed", {"short texts, all threads": one["speed"]})


def quality(title: str, found: dict[str, dict[str, float]]) -> Table:
    """Cosines by kind."""
    rows = [
        [kind, str(one["texts"]), *(f"{one[key]:.6f}" for key in ("mean", "first_percentile", "minimum"))]
        for kind, one in found.items()
    ]
    return Table(title, ["kind", "texts", "mean", "p1", "minimum"], rows, 1)


def speed(title: str, found: dict[str, dict[str, float]]) -> Table:
    """Texts a second of both sides."""
    rows = [
        [
            what,
            f"{one['float32_texts_per_second']:,.0f}",
            f"{one['int8_texts_per_second']:,.0f}",
            f"{one['ratio']:.2f}",
            f"{one['least_ratio']:.2f}-{one['largest_ratio']:.2f}",
        ]
        for what, one in found.items()
    ]
    return Table(title, ["texts a second", "float32", "int8", "ratio", "range"], rows, 1)


def retrieval(found: dict[str, Any], pairs: dict[str, float]) -> Table:
    """What a search and a ranking notice."""
    meant = found["meant"]
    rows = [
        ["recall@10: share of float32's first 10 among int8's", f"{found['recall_at_10']:.4f}"],
        ["… the others are below float32's tenth by at most", f"{found['farthest_below_the_tenth']:.4f}"],
        ["queries whose first hit by float32 is among int8's first 10", f"{found['nearest_in_first_10']:.1%}"],
        ["queries with the same first hit", f"{found['same_first']:.1%}"],
        *(
            [f"entry that was meant among the first 10, {dtype}", f"{one['in_first_10']:.1%}"]
            for dtype, one in meant.items()
        ),
        *(
            [f"mean reciprocal rank of the entry that was meant, {dtype}", f"{one['mean_reciprocal_rank']:.4f}"]
            for dtype, one in meant.items()
        ),
        ["queries for which it has another rank", str(found["meant_moved"])],
        [f"Spearman of the cosines of {pairs['pairs']} pairs", f"{pairs['spearman']:.6f}"],
        ["largest difference of such a cosine", f"{pairs['largest_difference']:.4f}"],
    ]
    return Table(f"{found['queries']} queries over {found['documents']:,} texts, and pairs", ["", ""], rows, 1)
