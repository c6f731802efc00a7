"""Published execution providers in folders of their own, and processes that have one of these first on their path.

`make provider-test` installs them and sets the two variables. Without these, and for packages that have no wheel for
the machine, tests are skipped with the reason.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import run_python

PLUG_INS = "OXEMBED_REAL_PLUG_INS"
OPENVINO_FLAVOUR = "OXEMBED_OPENVINO_FLAVOUR"


def folder_with(variable: str, package: str) -> Path:
    """The folder that the variable names, if the package is in it; skips the test otherwise."""
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"`make provider-test` installs {package}, and names its folder by {variable}")
    folder = Path(value)
    absent: dict[str, str] = json.loads((folder / "absent.json").read_text(encoding="utf-8"))
    if package in absent:
        pytest.skip(absent[package])
    return folder


def process(first: Path | None, cache: Path, script: str, *arguments: str, **environment: str) -> tuple[str, str]:
    """What a script prints to stdout and stderr, with a folder first on its path and a cache of its own."""
    path = [] if first is None else [str(first)]
    path += [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path))
        patch.setenv("OXEMBED_CACHE", str(cache))
        for name, value in environment.items():
            patch.setenv(name, value)
        done = run_python(script, *arguments, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def answer(first: Path | None, cache: Path, script: str, *arguments: str, **environment: str) -> Any:
    """What a script prints, as JSON."""
    return json.loads(process(first, cache, script, *arguments, **environment)[0])
