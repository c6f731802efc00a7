"""Providers with typed options: the classes are the core's table, and what reaches the core is what was said."""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
import math
import os
import pickle
import subprocess
import sys
import typing
from pathlib import Path
from types import NoneType
from typing import Any, Literal

import numpy as np
import pytest
from conftest import FIXTURES, PATIENCE
from hypothesis import given
from hypothesis import strategies as st

from oxembed import Embedder, InvalidInputError, ProviderUnavailableError, _core, providers
from oxembed._commands.console import providers as asked_by_words
from oxembed._provider import request

CLASSES = {
    request(kind(name="plug-in") if kind is providers.PlugIn else kind())[0]: kind
    for name in providers.__all__
    for kind in [getattr(providers, name)]
    if kind is not providers.Provider
}
TABLE: dict[str, dict[str, Any]] = {row["name"]: row for row in json.loads(_core.provider_table())}
ROWS = [pytest.param(row, id=name) for name, row in TABLE.items()]
TYPES = {"flag": bool, "count": int, "share": float}


def settings_of(kind: type[Any]) -> dict[str, tuple[Any, Any]]:
    """Type and default of each field that is a setting."""
    hints = typing.get_type_hints(kind)
    own = {"options", "name"} if kind is providers.PlugIn else {"options"}
    return {one.name: (hints[one.name], one.default) for one in dataclasses.fields(kind) if one.name not in own}


def test_every_provider_of_the_table_has_a_class_and_no_other() -> None:
    assert CLASSES.keys() == TABLE.keys()
    assert next(iter(TABLE)) == "cpu"
    assert list(TABLE)[-1] == "plug-in"


@pytest.mark.parametrize("row", ROWS)
def test_the_class_has_the_settings_of_the_table(row: dict[str, Any]) -> None:
    settings = settings_of(CLASSES[row["name"]])
    assert settings.keys() == {setting["name"] for setting in row["settings"]}
    for setting in row["settings"]:
        hint, default = settings[setting["name"]]
        kinds = set(typing.get_args(hint)) if NoneType in typing.get_args(hint) else {hint}
        assert (NoneType in kinds) == (setting["default"] is None), setting
        kinds -= {NoneType}
        if setting["kind"] == "choice":
            [choice] = kinds
            assert typing.get_origin(choice) is Literal
            assert list(typing.get_args(choice)) == setting["values"]
        elif setting["kind"] == "text":
            assert kinds == {str, os.PathLike[str]}
        else:
            assert kinds == {TYPES[setting["kind"]]}
        words = None if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        assert words == setting["default"], setting


@pytest.mark.parametrize("row", ROWS)
def test_the_docstring_has_every_setting_of_its_own(row: dict[str, Any]) -> None:
    text = inspect.getdoc(CLASSES[row["name"]]) or ""
    common = {"minimum_share", "max_sessions"}
    for setting in row["settings"]:
        if setting["name"] not in common:
            assert f"    {setting['name']}: " in text
    for name in common:
        assert f"`{name}`" in (providers.__doc__ or "")


@pytest.mark.parametrize("name", CLASSES)
def test_defaults_are_left_to_the_core(name: str) -> None:
    kind = CLASSES[name]
    assert request(kind(name="Example") if kind is providers.PlugIn else kind()) == (
        "Example" if kind is providers.PlugIn else name,
        {},
        {},
    )


def test_what_was_said_reaches_the_core() -> None:
    coreml = providers.CoreML(
        compute_units="cpu_and_gpu",
        low_precision_accumulation=True,
        static_shapes_only=False,
        cache_folder=Path("models") / "compiled",
        minimum_share=0.25,
        options={"ProfileComputePlan": 1, "Fast": True},
    )
    assert request(coreml) == (
        "coreml",
        {
            "compute_units": "cpu_and_gpu",
            "low_precision_accumulation": "true",
            "static_shapes_only": "false",
            "cache_folder": str(Path("models") / "compiled"),
            "minimum_share": "0.25",
        },
        {"ProfileComputePlan": "1", "Fast": "True"},
    )
    number: Any = np.int64(2)
    assert request(providers.CUDA(device_id=number)) == ("cuda", {"device_id": "2"}, {})
    assert request(providers.PlugIn(name="ExampleEP", device="npu")) == ("ExampleEP", {"device": "npu"}, {})
    assert request(providers.CoreML(minimum_share=1)) == ("coreml", {"minimum_share": "1.0"}, {})


@pytest.mark.parametrize(
    ("kind", "arguments", "says"),
    [
        (providers.CoreML, {"compute_units": 3}, "compute_units"),
        (providers.CoreML, {"compute_units": None}, "compute_units"),
        (providers.CoreML, {"subgraphs": 1}, "subgraphs"),
        (providers.CoreML, {"subgraphs": None}, "subgraphs"),
        (providers.CoreML, {"cache_folder": b"bytes"}, "cache_folder"),
        (providers.CUDA, {"device_id": True}, "device_id"),
        (providers.CUDA, {"device_id": "0"}, "device_id"),
        (providers.CUDA, {"device_id": 0.0}, "device_id"),
        (providers.CUDA, {"minimum_share": "0.5"}, "minimum_share"),
        (providers.CUDA, {"minimum_share": True}, "minimum_share"),
        (providers.CUDA, {"options": [("a", "b")]}, "options"),
        (providers.CUDA, {"options": {"a": None}}, "options"),
        (providers.CUDA, {"options": {1: "a"}}, "options"),
        (providers.CUDA, {"nonsense": 1}, "nonsense"),
        (providers.CPU, {"minimum_share": 0.5}, "minimum_share"),
        (providers.PlugIn, {}, "name"),
        (providers.PlugIn, {"name": None}, "name"),
    ],
)
def test_wrong_types_are_refused_at_once(kind: type[Any], arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        kind(**arguments)


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        (providers.CoreML(compute_units="tpu"), ["compute_units", "tpu", "cpu_and_gpu"]),  # type: ignore[arg-type]
        (providers.CUDA(device_id=-1), ["device_id", "-1"]),
        (providers.CoreML(minimum_share=1.5), ["minimum_share", "1.5"]),
        (providers.CoreML(minimum_share=math.nan), ["minimum_share"]),
        (providers.OpenVINO(max_sessions=0), ["max_sessions", "0"]),
    ],
)
def test_wrong_values_are_refused_by_the_core(provider: providers.Provider, says: list[str]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Embedder(FIXTURES / "bert-cls", provider=provider)
    assert all(word in str(caught.value) for word in says)


OPTIONS = st.dictionaries(st.text(), st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False))


@given(OPTIONS, st.integers(0, 8), st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_providers_compare_hash_and_pickle_by_value(options: dict[str, Any], device: int, protocol: int) -> None:
    one, same = (providers.CUDA(device_id=device, options=dict(options)) for _ in range(2))
    assert (one, hash(one), repr(one)) == (same, hash(same), repr(same))
    again = pickle.loads(pickle.dumps(one, protocol))
    assert (again, hash(again), request(again)) == (one, hash(one), request(one))
    assert one != providers.CUDA(device_id=device + 1, options=options)
    assert one != providers.CUDA(device_id=device, options={**options, "one more": "1"}) or "one more" in options
    other: providers.Provider = providers.TensorRT(device_id=device, options=options)
    assert one != other
    options["another"] = "later"
    assert one == same
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.device_id = 9  # type: ignore[misc]


def test_repr_shows_what_is_not_default() -> None:
    assert repr(providers.CoreML()) == "CoreML()"
    shown = repr(providers.OpenVINO(device="gpu", options={"a": 1}))
    assert eval(shown, vars(providers)) == providers.OpenVINO(device="gpu", options={"a": "1"})


class Recorded(Exception):
    """The arguments with which a model was about to be loaded."""


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the core would be asked for."""

    class Recorder:
        def __new__(cls, folder: str, **arguments: object) -> Any:
            raise Recorded(arguments)

    monkeypatch.setattr(_core, "Embedder", Recorder)

    def ask(**arguments: Any) -> dict[str, Any]:
        with pytest.raises(Recorded) as caught:
            Embedder(FIXTURES / "bert-cls", **arguments)
        found: dict[str, Any] = caught.value.args[0]
        return found

    return ask


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        ("auto", [("auto", {}, {})]),
        (["coreml", "cpu"], [("coreml", {}, {}), ("cpu", {}, {})]),
        (providers.CPU(), [("cpu", {}, {})]),
        (
            (providers.CUDA(device_id=1), "cpu"),
            [("cuda", {"device_id": "1"}, {}), ("cpu", {}, {})],
        ),
    ],
)
def test_provider_takes_names_providers_and_lists(recorded: Any, provider: Any, expected: list[Any]) -> None:
    assert recorded(provider=provider)["providers"] == expected


@pytest.mark.parametrize(
    ("provider", "error", "says"),
    [
        (None, TypeError, "NoneType"),
        (3, TypeError, "int"),
        ({"cpu"}, TypeError, "set"),
        (["cpu", None], TypeError, "NoneType"),
        (b"cpu", TypeError, "int"),
        (providers.CPU, TypeError, "CPU|type"),
        ([providers.CPU], TypeError, r"CPU, without \(\)"),
        ([], InvalidInputError, "empty"),
    ],
)
def test_other_things_are_no_providers(provider: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Embedder(FIXTURES / "bert-cls", provider=provider)


def test_only_the_cpu_does_without_plug_ins(recorded: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library = tmp_path / "libexample.so"
    library.write_bytes(b"")
    monkeypatch.setenv("OXEMBED_PLUG_INS", f"{library}=ExampleEP")
    wanted = (str(library), ["ExampleEP"])
    others: list[Any] = ["auto", "openvino", ["cpu", "openvino"], providers.WebGPU()]
    for provider in others:
        assert wanted in recorded(provider=provider)["plug_ins"]
    cpus: list[Any] = ["cpu", providers.CPU(), ["cpu", "CPUExecutionProvider"]]
    for provider in cpus:
        assert recorded(provider=provider)["plug_ins"] == []


def test_the_cache_folder_reaches_the_core(recorded: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OXEMBED_CACHE", str(tmp_path))
    assert recorded()["cache"] == str(tmp_path)


def test_an_embedder_with_providers_pickles() -> None:
    asked = [providers.PlugIn(name="NobodyHasThisEP", options={"a": "b"}), providers.CPU()]
    model = Embedder(FIXTURES / "bert-cls", provider=asked)
    again = pickle.loads(pickle.dumps(model))
    assert repr(again) == repr(model)
    assert "NobodyHasThisEP" in repr(model)


def test_options_of_the_command_line() -> None:
    assert asked_by_words("auto", []) == "auto"
    assert asked_by_words("coreml, cpu", []) == ["coreml", "cpu"]
    asked = asked_by_words("coreml,cpu", [("compute_units", "x=y"), ("runtime.Key", "")])
    assert isinstance(asked, list)
    first, second = asked
    assert request(first) == ("coreml", {"compute_units": "x=y"}, {"Key": ""})
    assert second == "cpu"
    with pytest.raises(InvalidInputError, match="name it first"):
        asked_by_words("auto", [("device_id", "0")])


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "oxembed", *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE
    )


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--provider-option", "compute_units"], 2, "KEY=VALUE"),
        (["--provider-option", "=x"], 2, "KEY=VALUE"),
        (["--provider-option", "runtime.=x"], 2, "KEY=VALUE"),
        (["--provider-option", "a=b"], 1, "name it first"),
        (["--provider", "coreml", "--provider-option", "compute_unit=all"], 1, "compute_units"),
        (["--provider", "coreml", "--provider-option", "compute_units=tpu"], 1, "cpu_and_neural_engine"),
        (["--provider", "cpu", "--provider-option", "device_id=0"], 1, "device_id"),
        (["--dtype", "int4"], 2, "float16"),
    ],
)
def test_wrong_options_on_the_command_line(arguments: list[str], status: int, says: str) -> None:
    done = command("embed", "text", "--model", str(FIXTURES / "bert-cls"), *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_no_provider_of_that_name() -> None:
    with pytest.raises(ProviderUnavailableError, match="NobodyHasThisEP"):
        Embedder(FIXTURES / "bert-cls", provider=providers.PlugIn(name="NobodyHasThisEP"))


def test_a_list_steps_down_with_a_warning_and_a_record(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "oxembed"):
        model = Embedder(FIXTURES / "bert-cls", provider=[providers.PlugIn(name="NobodyHasThisEP"), "cpu"])
    assert any("NobodyHasThisEP" in record.getMessage() for record in caplog.records)
    placement = model.placement()
    assert {session.provider for session in placement} == {"cpu"}
    assert [unused.provider for unused in placement.not_used] == ["NobodyHasThisEP"]
    assert placement.not_used[0].reason
