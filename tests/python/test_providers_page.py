"""docs/providers.md has every provider with the settings of the core's table, and its Python code runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from oxembed import _core, providers
from oxembed._provider import request

TEXT = (Path(__file__).parents[2] / "docs" / "providers.md").read_text(encoding="utf-8")
TABLE: list[dict[str, Any]] = json.loads(_core.provider_table())
# Settings of every provider but the CPU have one table of their own.
COMMON = [setting for setting in TABLE[1]["settings"] if setting["name"] in ("minimum_share", "max_sessions")]
TITLES = {
    "plug-in" if kind is providers.PlugIn else request(kind())[0]: name
    for name in providers.__all__
    for kind in [getattr(providers, name)]
    if kind is not providers.Provider
}


def values(setting: dict[str, Any]) -> str:
    match setting["kind"]:
        case "choice":
            return ", ".join(f'`"{value}"`' for value in setting["values"])
        case "flag":
            return "`True`, `False`"
        case "share":
            return "0 to 1"
        case "text":
            return "a path"
        case _:
            least, most = setting["least"], setting["most"]
            return f"{least} and more" if most >= 2**63 else f"{least} to {most:,}"


def default(setting: dict[str, Any]) -> str:
    value = setting["default"]
    if value is None:
        return "the provider's own" if setting["runtime_key"] is not None else "none"
    if setting["kind"] == "choice":
        return f'`"{value}"`'
    return f"`{value.title() if setting['kind'] == 'flag' else value}`"


def table(settings: list[dict[str, Any]]) -> str:
    """Settings as the page has them."""
    lines = ["| setting | values | default | |", "| --- | --- | --- | --- |"]
    for setting in settings:
        key = setting["runtime_key"]
        more = f" (`{key}`)" if key not in (None, setting["name"]) else ""
        cells = (f"`{setting['name']}`", values(setting), default(setting), setting["description"] + more)
        lines.append(f"| {' | '.join(cells)} |")
    return "".join(f"{line}\n" for line in lines)


def section(title: str) -> str:
    found = re.search(rf"^### {re.escape(title)}\n.*?(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/providers.md has no section {title}"
    return found[0]


def test_the_settings_of_all() -> None:
    assert len(COMMON) == 2
    assert table(COMMON) in TEXT, f"docs/providers.md should have:\n{table(COMMON)}"


@pytest.mark.parametrize("row", [pytest.param(row, id=row["name"]) for row in TABLE])
def test_each_provider(row: dict[str, Any]) -> None:
    text = section(TITLES[row["name"]])
    own = [setting for setting in row["settings"] if setting not in COMMON]
    expected = table(own) if own else "No settings of its own.\n"
    assert expected in text, f"the section {TITLES[row['name']]} of docs/providers.md should have:\n{expected}"
    assert row["remedy"] in text
    if row["name"] != "plug-in":
        assert f'`"{row["name"]}"`' in text
        assert f"`{row['runtime_name']}`" in text
    assert ", ".join(f"`{dtype}`" for dtype in row["dtypes"]) in text


def test_there_is_no_other_section_of_a_provider() -> None:
    titles = re.findall(r"^### (.*)$", TEXT, re.MULTILINE)
    assert sorted(titles) == sorted(TITLES.values())


def test_the_code_runs() -> None:
    blocks = re.findall(r"(?<!<!-- not run -->\n)```python\n(.*?)```", TEXT, re.DOTALL)
    assert blocks
    exec("\n".join(blocks), {})
