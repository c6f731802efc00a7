"""Rows of text as aligned columns, for people who read them in a terminal."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

_MARGIN = "  "


def aligned(rows: Iterable[Sequence[str]], *, numbers: Container[int], width: int | None = None) -> list[str]:
    """A line for each row.

    Args:
        rows: As many cells in each, one row or more.
        numbers: The columns, from 0, that are aligned to the right.
        width: Most characters of a line; the last columns are left out where they would go beyond it.

    Returns:
        The lines, without spaces or ends of line behind them.

    Example:
        >>> aligned([("text", "tokens"), ("a short one", "5")], numbers={1})
        ['text         tokens', 'a short one       5']
    """
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while width is not None and len(widths) > 1 and sum(widths) + len(_MARGIN) * (len(widths) - 1) > width:
        widths.pop()
    return [
        _MARGIN.join(
            cell.rjust(wide) if place in numbers else cell.ljust(wide)
            for place, (cell, wide) in enumerate(zip(row, widths, strict=False))
        ).rstrip()
        for row in rows
    ]
