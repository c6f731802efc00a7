"""WebGPU's plug-in itself: without a device, and with one that is only pretended, which compiles and refuses to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import FIXTURES, TOLERANCE
from real_providers import PLUG_INS, answer, folder_with, process

PACKAGE = "onnxruntime-ep-webgpu"
RUNTIME_NAME = "WebGpuExecutionProvider"
FOLDER = FIXTURES / "bert-cls"

PREAMBLE = f"""
import json, logging, sys
import numpy as np
import oxembed
from oxembed import Embedder, ProviderUnavailableError

logged = []
class Handler(logging.Handler):
    def emit(self, record):
        logged.append((record.levelname, record.getMessage()))
logging.getLogger("oxembed").addHandler(Handler())

NAME, FOLDER = {RUNTIME_NAME!r}, {str(FOLDER)!r}
TEXTS = ["one", "two words", "a text of a few more words than the others have"]
"""

# What becomes of a provider that cannot be used, whichever way it is asked for.
ASK = """
right = Embedder(FOLDER, provider="cpu").encode(TEXTS)
try:
    Embedder(FOLDER, provider="webgpu")
    message = "no error"
except ProviderUnavailableError as error:
    message = str(error)
assert logged == [], logged
found = []
for provider in (["webgpu", "cpu"], "auto"):
    model = Embedder(FOLDER, provider=provider)
    apart = float(np.abs(model.encode(TEXTS) - right).max())
    placement = model.placement()
    not_used = [(one.provider, one.reason) for one in placement.not_used]
    found.append([apart, [one.provider for one in placement], not_used, list(logged)])
    logged.clear()
[state] = [one for one in oxembed.doctor().providers if one.name == "webgpu"]
print(json.dumps([message, *found, [state.works, state.reason, state.remedy]]))
"""


@pytest.fixture(scope="module")
def library() -> Path:
    """The plug-in's library."""
    folder = folder_with(PLUG_INS, PACKAGE) / "onnxruntime_ep_webgpu"
    [library] = [
        file for file in folder.iterdir() if file.suffix in (".so", ".dll", ".dylib") and "webgpu" in file.name
    ]
    return library


def with_plug_in(cache: Path, plug_in: str, script: str) -> Any:
    """What a script prints, in a process for which the environment names a plug-in."""
    return answer(None, cache, PREAMBLE + script, OXEMBED_PLUG_INS=plug_in)


def devices(cache: Path, plug_in: str) -> list[list[Any]]:
    script = (
        "print(json.dumps([[one.kind, one.is_virtual] for one in oxembed.doctor().devices if one.provider == NAME]))"
    )
    found: list[list[Any]] = with_plug_in(cache, plug_in, script)
    return found


def test_without_a_device_it_says_so(library: Path, tmp_path: Path) -> None:
    plug_in = f"{library}={RUNTIME_NAME}"
    if devices(tmp_path, plug_in):
        pytest.skip("there is a graphics processor here")
    message, listed, automatic, (works, reason, remedy) = with_plug_in(tmp_path, plug_in, ASK)
    for said in (message, reason, listed[2][0][1]):
        assert f"{library} is installed and finds no device" in said
    assert (works, remedy) == (False, None)
    for apart, providers, *_ in (listed, automatic):
        assert apart <= TOLERANCE
        assert providers == ["cpu"]


@pytest.mark.parametrize("named", [True, False])
def test_a_virtual_device_is_registered_and_refuses_to_run(library: Path, tmp_path: Path, named: bool) -> None:
    plug_in = f"{library}.virtual={RUNTIME_NAME}" if named else f"{library}.virtual"
    found = devices(tmp_path, plug_in)
    if ["gpu", False] in found:
        pytest.skip("there is a graphics processor here, which is taken before the virtual one")
    assert found == [["gpu", True]]
    message, listed, automatic, (works, reason, remedy) = with_plug_in(tmp_path, plug_in, ASK)
    assert 'execution provider "webgpu" is not available' in message
    assert "compile-only" in message
    assert "session.compile_only=1" in message

    # In a list it is passed over, with a record and one warning.
    apart, providers, [[passed_over, why]], warnings = listed
    assert apart <= TOLERANCE
    assert (providers, passed_over) == (["cpu"], "webgpu")
    assert "compile-only" in why
    [[level, warning]] = warnings
    assert level == "WARNING"
    assert '"webgpu" is not used' in warning
    assert "compile-only" in warning

    # Found by itself it is tried, and loses, where it says what it brings; nobody asked for it, so nobody is warned.
    apart, providers, not_used, warnings = automatic
    assert apart <= TOLERANCE
    assert providers == ["cpu"]
    assert warnings == []
    if named:
        [[lost, why]] = not_used
        assert lost == "webgpu"
        assert "compile-only" in why

    assert (works, remedy) == (False, None), "it is installed already"
    assert "compile-only" in reason


def test_other_providers_are_not_said_to_be_in_a_plug_in_of_no_name(library: Path, tmp_path: Path) -> None:
    script = "print(json.dumps({one.name: one.reason for one in oxembed.doctor().providers if not one.works}))"
    reasons = with_plug_in(tmp_path, f"{library}.virtual", script)
    assert [name for name, reason in reasons.items() if str(library) in reason] == []


def test_doctor_shows_people_a_device_that_is_only_pretended(library: Path, tmp_path: Path) -> None:
    script = """
import sys
from oxembed.cli import main
sys.exit(main(["doctor"]))
"""
    shown, _ = process(None, tmp_path, script, OXEMBED_PLUG_INS=f"{library}.virtual={RUNTIME_NAME}")
    assert "virtual gpu: " in shown
    assert f", by {RUNTIME_NAME}" in shown
    assert "compile-only" in " ".join(shown.split())
