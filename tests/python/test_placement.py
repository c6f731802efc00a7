"""What is said of where a model runs: the table for people, plain data for programs, and `warm_up`'s arguments."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from conftest import FIXTURES

from oxembed import Embedder, InvalidInputError, Placement, ProviderEvent, SessionPlacement, UnusedProvider

VALUES: dict[str, Any] = {
    "sessions": [
        {
            "session": "1 x 64",
            "provider": "coreml",
            "device": "Apple M4",
            "dtype": "float16",
            "threads": 2,
            "providers": {"CoreMLExecutionProvider": 1201, "CPUExecutionProvider": 3},
            "nodes": 1204,
            "work": {"CoreMLExecutionProvider": 0.9996, "CPUExecutionProvider": 0.0004},
        },
        {
            "session": "any shape",
            "provider": "cpu",
            "device": "",
            "dtype": "int8",
            "threads": 1,
            "providers": {"CPUExecutionProvider": 201},
            "nodes": 201,
            "work": {},
        },
    ],
    "not_used": [{"provider": "cuda", "reason": "no device"}],
    "events": [
        {"provider": "coreml", "next": "cpu", "message": "NaN", "texts": 1032, "unix_time": 0.0},
        {"provider": "cpu", "next": None, "message": "out of memory", "texts": 2, "unix_time": 86400.0},
    ],
    "failures": 1070,
}

TABLE = """\
session    provider  device    dtype    threads  nodes    work  runs on
1 x 64     coreml    Apple M4  float16        2  1,201  100.0%  CoreMLExecutionProvider
                                                     3    0.0%  CPUExecutionProvider
any shape  cpu                 int8           1    201       ?  CPUExecutionProvider
not used: cuda: no device
failures in use: 1,070
  1970-01-01 00:00:00 UTC  coreml: NaN; 1,032 texts went to cpu
  1970-01-02 00:00:00 UTC  cpu: out of memory; the call failed"""


def test_it_prints_as_a_table() -> None:
    placement = Placement.from_core(VALUES)
    assert str(placement) == repr(placement) == TABLE
    assert str(Placement(())) == "no session is alive"


def test_it_is_a_sequence_of_sessions() -> None:
    placement = Placement.from_core(VALUES)
    first, second = placement
    assert (len(placement), placement[0], placement[-1], placement[:1]) == (2, first, second, (first,))
    assert first == SessionPlacement(**VALUES["sessions"][0])
    assert second in placement
    assert placement.not_used == (UnusedProvider("cuda", "no device"),)
    assert placement.events[0] == ProviderEvent("coreml", "cpu", "NaN", 1032, 0.0)
    with pytest.raises(AttributeError):
        placement.failures = 0  # type: ignore[misc]


def test_it_is_plain_data_when_asked() -> None:
    placement = Placement.from_core(VALUES)
    assert json.loads(json.dumps(placement.as_dict())) == VALUES
    assert Placement.from_core(placement.as_dict()) == placement
    assert pickle.loads(pickle.dumps(placement)) == placement


def test_the_cpu_does_all_of_the_work(small: Embedder) -> None:
    small.encode(["a", "b"])
    placement = small.placement()
    for session in placement:
        assert session.provider == "cpu"
        assert session.work == {"CPUExecutionProvider": 1.0}
        assert session.device
    assert (placement.not_used, placement.events, placement.failures) == ((), (), 0)
    assert "CPUExecutionProvider" in str(placement)


class Compiled:
    """A compiled embedder that notes what `warm_up` is asked for."""

    def __init__(self) -> None:
        self.asked: tuple[int | None, list[int] | None] | None = None

    def warm_up(self, *, max_length: int | None, batch_sizes: list[int] | None) -> int:
        self.asked = max_length, batch_sizes
        return 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, (None, None)),
        ({"max_length": 4}, (4, None)),
        ({"batch_sizes": (1, 8)}, (None, [1, 8])),
        ({"max_length": 1, "batch_sizes": iter([2])}, (1, [2])),
    ],
)
def test_what_warm_up_compiles(monkeypatch: pytest.MonkeyPatch, arguments: Any, expected: Any) -> None:
    model = Embedder(FIXTURES / "bert-cls", provider="cpu")
    compiled = Compiled()
    monkeypatch.setattr(model._engine, "_core", compiled)
    assert model.warm_up(**arguments) == 3
    assert compiled.asked == expected


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_length": 0}, InvalidInputError),
        ({"max_length": "8"}, TypeError),
        ({"batch_sizes": [0]}, InvalidInputError),
        ({"batch_sizes": [1, None]}, TypeError),
        ({"batch_sizes": 8}, TypeError),
    ],
)
def test_warm_up_refuses_what_is_no_length(small: Embedder, arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        small.warm_up(**arguments)


def test_the_cpu_has_nothing_to_compile(small: Embedder) -> None:
    assert small.warm_up() == small.warm_up(8, [1, 2]) == 1
