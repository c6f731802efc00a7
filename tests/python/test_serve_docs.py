"""docs/serve.md: its Python code runs against a server, its tables are those of the OpenAPI document."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servers import Server, serving

from oxembed import Embedder

PAGE = Path(__file__).resolve().parents[2] / "docs" / "serve.md"
TEXT = PAGE.read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8080"
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("--provider", "cpu") as running:
        yield running


def needed(code: str) -> list[str]:
    """The packages that code imports."""
    imports = [node.module for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    return [name.partition(".")[0] for name in imports if name is not None]


def test_there_is_code() -> None:
    assert [needed(code)[-1] for code in BLOCKS] == [
        "openai", "langchain_openai", "langchain_huggingface", "llama_index", "huggingface_hub",
    ]  # fmt: skip
    assert all(ADDRESS in code for code in BLOCKS)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("code", BLOCKS, ids=[needed(code)[-1] for code in BLOCKS])
def test_the_code_runs(server: Server, code: str) -> None:
    absent = [name for name in needed(code) if importlib.util.find_spec(name) is None]
    if absent:
        pytest.skip(f"{', '.join(absent)} is not installed: `make serve-clients-test`")
    names: dict[str, Any] = {}
    exec(compile(code.replace(ADDRESS, server.url), str(PAGE), "exec"), names)
    found = names["vectors"] if "vectors" in names else [row.embedding for row in names["answer"].data]
    np.testing.assert_allclose(found, Embedder(provider="cpu").encode(["a text", "another"]), rtol=0, atol=1e-6)


def test_the_table_has_every_route(server: Server) -> None:
    document = server.ask("/openapi.json").json()
    expected = {
        f"{method.upper()} {path}": operation.get("security") is None
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    lines = re.findall(r"^\| (`(?:GET|POST|DELETE|PUT) .*?) \|.*\| (yes|no) \|$", TEXT, re.MULTILINE)
    found = {route: key == "yes" for routes, key in lines for route in re.findall(r"`([^`]+)`", routes)}
    assert found == expected


def test_the_table_has_every_error(server: Server) -> None:
    document = server.ask("/openapi.json").json()
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    expected = {status for operation in operations for status in operation["responses"]} - {"200"}
    rows = re.findall(r"^\| ([0-9][^|]*) \|", TEXT, re.MULTILINE)
    found = {status for row in rows for status in re.findall(r"\b[45]\d\d\b", row)}
    # No operation takes a method that it does not take.
    assert found == expected | {"405"}


def test_the_figures_are_those_that_were_measured() -> None:
    program = PAGE.parents[1] / "benches" / "python" / "serve_report.py"
    done = subprocess.run([sys.executable, str(program), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
