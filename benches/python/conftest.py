"""Options and fixtures of the benchmarks that pytest runs."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pytest_benchmark.logger import PytestBenchmarkWarning

# Its modules import each other by name, as the scripts beside them do.
sys.path.insert(0, str(Path(__file__).resolve().parent))

if TYPE_CHECKING:
    from rows import Suite


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The suite's own options."""
    group = parser.getgroup("oxembed", "the benchmarks of oxembed")
    group.addoption("--onnx", type=Path, help="ONNX export of all-MiniLM-L6-v2 for the Python sides (default: our own)")
    group.addoption("--threads", type=positive, help="threads of every side (default: all)")
    group.addoption("--rounds", type=positive, help="rounds of every workload (default: each workload's own number)")
    group.addoption("--texts", type=positive, help="only so many texts of each corpus, and callers of a crowd")


def pytest_configure(config: pytest.Config) -> None:
    """A test that fails has no benchmark; that warning, as an error, would hide what it failed by."""
    config.addinivalue_line("filterwarnings", "default::pytest_benchmark.logger.PytestBenchmarkWarning")
    # It is given after pytest has left its own filters, too.
    warnings.simplefilter("default", PytestBenchmarkWarning)


@pytest.fixture(scope="session")
def suite(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """The sides, and what was measured of them."""
    from rows import Suite

    return Suite(pytestconfig, tmp_path_factory.mktemp("onnx"))
