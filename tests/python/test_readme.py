"""The README's Python code runs as it stands there: its blocks in order, as one program."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
# A block that cannot run in a test, as it downloads or needs other hardware, has this line before it.
NOT_RUN = "<!-- not run -->\n"
BLOCK = re.compile(rf"({re.escape(NOT_RUN)})?```python\n(.*?)```", re.DOTALL)


def blocks() -> list[tuple[int, str]]:
    """Line number and code of each block that is to run."""
    text = README.read_text(encoding="utf-8")
    found = [match for match in BLOCK.finditer(text) if match[1] is None]
    return [(text.count("\n", 0, match.start(2)), match[2]) for match in found]


def test_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert blocks(), "the README shows no Python code"
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with asyncio.Runner() as runner:
        for line, code in blocks():
            # Empty lines before it, so that a traceback names the line of the README.
            program = compile(
                "\n" * line + code, str(README), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
            )
            result = eval(program, names)
            if inspect.iscoroutine(result):
                runner.run(result)
