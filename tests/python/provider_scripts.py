"""Starts scripts that use the test provider, each in a process of its own: what is registered stays registered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import provider_plugin
import pytest
from conftest import PATIENCE, run_python

PREAMBLE = """
import sys
sys.path.append(sys.argv[1])
import json, logging, os, threading, time
from pathlib import Path
import numpy as np
from oxembed import Embedder, InferenceError, ProviderUnavailableError, providers
from plugged import *

logging.getLogger("asyncio").setLevel(logging.ERROR)  # in its debug mode it warns of slow steps
"""


def environment(cache: Path | str, options: str = "", **others: str) -> dict[str, str]:
    """The variables that a process with the provider needs."""
    library = provider_plugin.library()
    return {
        "OXEMBED_TEST_PROVIDER": str(library),
        "OXEMBED_PLUG_INS": f"{library}={provider_plugin.NAME}",
        "OXEMBED_CACHE": str(cache),
        provider_plugin.OPTIONS: options,
        **others,
    }


def facts(
    script: str, cache: Path | str, *arguments: str | Path, options: str = "", timeout: float = PATIENCE, **others: str
) -> Any:
    """What a script says with `tell`; it finds what `plugged` has, and its arguments from `sys.argv[2]` on."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(cache, options, **others).items():
            patch.setenv(name, value)
        done = run_python(PREAMBLE + script, str(Path(__file__).parent), *map(str, arguments), timeout=timeout)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return json.loads(done.stdout)
