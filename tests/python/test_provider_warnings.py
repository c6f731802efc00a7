"""A provider that fails in use, a real one made for that: every failure is logged once, whichever method was called."""

from __future__ import annotations

import os
import re

import provider_plugin
import pytest
from conftest import FIXTURES, run_python

PREAMBLE = f"""
import logging, sys
import numpy as np
from oxembed import BatchEmbeddingRequest, Embedder, InferenceError, providers

logged = []
class Handler(logging.Handler):
    def emit(self, record):
        logged.append((record.levelname, record.getMessage()))
logging.getLogger("oxembed").addHandler(Handler())

def failing(**options):
    return providers.PlugIn(name={provider_plugin.NAME!r}, minimum_share=0.1, options=options)

FOLDER = {str(FIXTURES / "bert-cls")!r}
TEXTS = ["one", "two words", "a text of a few more words than the others have"]
right = Embedder(FOLDER, provider="cpu").encode(TEXTS)
"""


@pytest.fixture(autouse=True)
def plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test provider in the environment of other processes; not of this one, where it would stay registered."""
    monkeypatch.setenv("OXEMBED_PLUG_INS", f"{provider_plugin.library()}={provider_plugin.NAME}")


def runs(script: str) -> None:
    done = run_python(f"{PREAMBLE}\n{script}")
    assert (done.returncode, done.stderr) == (0, "")


CALLS = {
    "encode": "np.testing.assert_allclose(model.encode(TEXTS), right, atol=1e-5)",
    "encode_iter": "np.testing.assert_allclose(np.concatenate(list(model.encode_iter(TEXTS))), right, atol=1e-5)",
    "embed_batch": 'assert len(model.embed_batch(BatchEmbeddingRequest("bert-cls", TEXTS)).embeddings) == 3',
    "health_check": "assert model.health_check().healthy",
}


@pytest.mark.parametrize("method", CALLS)
def test_every_failure_is_logged_once(method: str) -> None:
    runs(f"""
model = Embedder(FOLDER, provider=[failing(fail_every="1"), "cpu"])
assert logged == [], logged
{CALLS[method]}
first = list(logged)
events = model.placement().events
assert len(first) == len(events) == model.placement().failures >= 1
for (level, message), event in zip(first, events):
    assert level == "WARNING"
    assert event.provider == {provider_plugin.NAME!r} and event.next == "cpu" and event.texts >= 1
    assert event.provider in message and "device lost (test)" in message and "computed by cpu" in message
model.placement(), model.model_info(), model.tokenize("x")
assert logged == first
""")


def test_the_failure_of_the_only_provider_is_logged_and_raised() -> None:
    runs("""
model = Embedder(FOLDER, provider=failing(fail_after="0"))
try:
    model.encode(TEXTS)
except InferenceError as error:
    assert "device lost (test)" in str(error), error
else:
    raise AssertionError("no error")
assert logged and all("the call failed" in message for _, message in logged), logged
assert [event.next for event in model.placement().events] == [None] * len(logged)
""")


def test_nothing_is_logged_where_nothing_fails() -> None:
    runs("""
model = Embedder(FOLDER, provider=[failing(), "cpu"])
np.testing.assert_allclose(model.encode(TEXTS), right, atol=1e-5)
assert logged == []
placement = model.placement()
assert (placement.events, placement.failures, placement.not_used) == ((), 0, ())
assert {session.provider for session in placement} == {"TestExecutionProvider"}
assert "TestExecutionProvider" in str(placement)
""")


def test_the_cpu_is_the_cpu_whatever_is_registered() -> None:
    runs("""
Embedder(FOLDER, provider=failing()).encode("registered now")
for provider in ("cpu", providers.CPU()):
    model = Embedder(FOLDER, provider=provider)
    np.testing.assert_array_equal(model.encode(TEXTS), right)
    for session in model.placement():
        assert session.work == {"CPUExecutionProvider": 1.0}, session
""")


def test_doctor_tells_of_it() -> None:
    runs("""
from oxembed import doctor
found = doctor()
states = {state.name: state for state in found.providers}
assert found.works and states["cpu"].works, states["cpu"]
assert states["TestExecutionProvider"].works, states["TestExecutionProvider"]
assert "TestExecutionProvider" in [device.provider for device in found.devices]
[plug_in] = [one for one in found.plug_ins if one.source == "OXEMBED_PLUG_INS"]
assert plug_in.registered and plug_in.providers == ("TestExecutionProvider",), plug_in
assert states["coreml"].remedy is None or sys.platform == "darwin"
""")


@pytest.mark.parametrize("status", [0, 1])
def test_inspect_shows_where_the_nodes_go(status: int) -> None:
    refuse = "refuse=compile" if status else "claim=all"
    done = run_python(
        "import sys; from oxembed.cli import main; sys.exit(main(sys.argv[1:]))",
        *("inspect", str(FIXTURES / "bert-cls"), "--provider", provider_plugin.NAME),
        *("--provider-option", f"runtime.{refuse}"),
    )
    assert (done.returncode, done.stderr) == (status, "")
    if status:
        assert f"Not placed on {provider_plugin.NAME}" in done.stdout
    else:
        assert f"Placement on {provider_plugin.NAME}" in done.stdout
        assert re.search(rf"^ +\d+  +\d+\.\d%  {provider_plugin.NAME}$", done.stdout, re.MULTILINE)
    assert os.environ["OXEMBED_PLUG_INS"]
