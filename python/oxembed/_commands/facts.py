"""Facts by name, for people and as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

from oxembed._commands.console import shown


def write_json(value: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """Write a value to standard output as JSON, in UTF-8 whatever the terminal's encoding is."""
    sys.stdout.buffer.write(f"{json.dumps(value, ensure_ascii=False, indent=2)}\n".encode(errors="replace"))
    sys.stdout.buffer.flush()


def write_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Write facts to standard output: a name and its value on a line, further items below, or JSON."""
    if as_json:
        write_json(facts)
        return
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        first, *rest = _lines(value)
        sys.stdout.write(f"{name.replace('_', ' '):<{width}}  {first}\n")
        sys.stdout.writelines(f"{'':<{width}}  {line}\n" for line in rest)


def _lines(value: object) -> list[str]:
    """A value in plain words, one item a line."""
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return [f"{key}: {shown(str(item))!r}" for key, item in items] or ["none"]
    if isinstance(value, list):
        return [shown(str(item)) for item in cast("list[object]", value)] or ["none"]
    if isinstance(value, int) and not isinstance(value, bool):
        return [f"{value:,}"]
    return ["none" if value is None else shown(str(value))]
