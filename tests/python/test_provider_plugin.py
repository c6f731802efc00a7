"""The test provider by itself, under ONNX Runtime's own Python package: tests of oxembed can only trust it then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import provider_plugin
import pytest
from conftest import run_python
from numpy.typing import NDArray
from onnx import helper
from onnx_graphs import Shape, model

NODES = 5
"""Nodes of the graph in `chain` that the provider computes, and as many calls in each run."""

# What each script begins with. Python's package would run everything on the CPU where the provider fails, and say so on
# stdout: that is what `enable_fallback` turns off.
PREAMBLE = """
import json, sys
import numpy as np
import onnxruntime

sys.path.append(sys.argv[1])
import provider_plugin

library = provider_plugin.library()
plugin = provider_plugin.Plugin(library)
onnxruntime.set_default_logger_severity(4)
onnxruntime.register_execution_provider_library("any name", str(library))
devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == provider_plugin.NAME]

def session(path=sys.argv[2], **options):
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    settings.add_provider_for_devices(devices, options)
    return onnxruntime.InferenceSession(path, settings, enable_fallback=0)

def claimed(session):
    placed = session.get_provider_graph_assignment_info()
    return sum(len(part.get_nodes()) for part in placed if part.ep_name == provider_plugin.NAME)

rows = np.arange(6, dtype=np.float32).reshape(2, 3) / 7

def outcomes(session, runs):
    found = ""
    for _ in range(runs):
        try:
            (result,) = session.run(None, {"x": rows})
            found += "n" if np.isnan(result).any() else "."
        except Exception as error:
            assert "device lost (test)" in str(error), error
            found += "F"
    return found
"""


def answer(script: str, path: Path, **environment: str) -> Any:
    """What a script prints, as JSON; it finds `session`, `claimed`, `outcomes`, `plugin` and `rows`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OXEMBED_TEST_PROVIDER", str(provider_plugin.library()))
        for name, value in environment.items():
            patch.setenv(name, value)
        done = run_python(PREAMBLE + script, str(Path(__file__).parent), str(path))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def numbers(*shape: int) -> NDArray[np.float32]:
    """The same numbers for a shape at all times, from -1 to 1."""
    return np.random.default_rng(shape).uniform(-1, 1, shape).astype(np.float32)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`NODES` products by constant matrices, with activations between them that the CPU computes."""
    nodes, constants, value = [], {}, "x"
    for index in range(NODES):
        constants[f"w{index}"] = numbers(3, 3)
        nodes.append(helper.make_node("MatMul", [value, f"w{index}"], [f"product{index}"]))
        nodes.append(helper.make_node("Tanh", [f"product{index}"], [f"y{index}"]))
        value = f"y{index}"
    path = tmp_path_factory.mktemp("chain") / "chain.onnx"
    onnx.save(model(nodes, {"x": ("rows", 3)}, {value: ("rows", 3)}, constants), path)
    return path


def test_every_form_of_product_is_what_numpy_makes_of_it(tmp_path: Path) -> None:
    left, right, batched, tall = numbers(5, 19), numbers(19, 7), numbers(2, 3, 19), numbers(19, 5)
    square, row, column, one = numbers(4, 4), numbers(7), numbers(5, 1), numbers(1)
    names = {"left": left, "right": right, "batched": batched, "tall": tall, "square": square}
    names |= {"vector": numbers(19), "none": np.zeros((0, 19), np.float32)}
    added = {"row": row, "column": column, "one": one, "turned": np.ascontiguousarray(right.T)}
    nodes: list[tuple[str, list[str], dict[str, Any], NDArray[np.float32]]] = [
        ("MatMul", ["left", "right"], {}, left @ right),
        ("MatMul", ["batched", "right"], {}, batched @ right),
        ("MatMul", ["vector", "right"], {}, names["vector"] @ right),
        ("MatMul", ["none", "right"], {}, np.zeros((0, 7), np.float32)),
        ("Gemm", ["left", "turned", "row"], {"transB": 1}, left @ right + row),
        ("Gemm", ["left", "turned"], {"transB": 1}, left @ right),
        ("Gemm", ["left", "right", ""], {"alpha": 0.5}, 0.5 * (left @ right)),
        ("Gemm", ["tall", "right", "column"], {"transA": 1, "beta": 2.0}, tall.T @ right + 2 * column),
        ("Gemm", ["left", "right", "one"], {"beta": -1.0}, left @ right - one),
        ("Gemm", ["square", "square", "square"], {"transB": 1}, square @ square.T + square),
    ]
    made = [
        helper.make_node(operator, inputs, [f"y{index}"], **attributes)
        for index, (operator, inputs, attributes, _) in enumerate(nodes)
    ]
    inputs: dict[str, Shape] = {name: array.shape for name, array in names.items()}
    outputs: dict[str, Shape] = {f"y{index}": expected.shape for index, (*_, expected) in enumerate(nodes)}
    onnx.save(model(made, inputs, outputs, added), tmp_path / "forms.onnx")
    for name, array in names.items():
        np.save(tmp_path / name, array)
    script = """
from pathlib import Path
made = session()
inputs = {path.stem: np.load(path) for path in Path(sys.argv[2]).parent.glob("*.npy")}
print(json.dumps([claimed(made), [[result.shape, result.tolist()] for result in made.run(None, inputs)]]))
"""
    claimed, results = answer(script, tmp_path / "forms.onnx")
    assert claimed == len(nodes)
    for (operator, inputs_of, attributes, expected), (shape, values) in zip(nodes, results, strict=True):
        assert tuple(shape) == expected.shape, (operator, inputs_of, attributes)
        np.testing.assert_allclose(np.array(values).reshape(shape), expected, atol=1e-5, err_msg=str(inputs_of))


def test_what_it_cannot_compute_stays_on_the_cpu(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "stack"], ["y"]), helper.make_node("Relu", ["x"], ["z"])]
    graph = model(nodes, {"x": (2, 3)}, {"y": (2, 2, 3), "z": (2, 3)}, {"stack": numbers(2, 3, 3)})
    onnx.save(graph, tmp_path / "stack.onnx")
    assert answer("print(claimed(session()))", tmp_path / "stack.onnx") == 0


def test_calls_fail_and_give_nan_when_they_are_asked_to(chain: Path) -> None:
    # Calls are counted in a session. A failed run ends with the call that failed.
    expected = {
        '{"fail_every": "12"}': "..F..F..",
        '{"fail_every": "7"}': ".F.F.F.F",
        '{"fail_after": "11"}': "..FFFFFF",
        '{"nan_every": "10"}': ".n.n.n.n",
        '{"nan_after": "15"}': "...nnnnn",
        '{"nan_every": "20", "fail_every": "13"}': "..F.nF..",
        '{"slow_ms": "1"}': "........",
        '{"nan_rate": "0", "fail_rate": "0", "wrong": "0", "refuse": "0", "claim": "all", "seed": "3"}': "........",
    }
    script = """
found = []
for options in ALL:
    before = plugin.counts()
    seen = outcomes(session(**json.loads(options)), 8)
    after = plugin.counts()
    found.append([seen, after.runs - before.runs, after.failures - before.failures, after.nan_runs - before.nan_runs])
print(json.dumps(found))
"""
    found = answer(script.replace("ALL", repr(list(expected))), chain)
    assert found == [[seen, 8, seen.count("F"), seen.count("n")] for seen in expected.values()]


def test_random_failures_have_the_rate_and_depend_on_the_seed(chain: Path) -> None:
    script = """
first = outcomes(session(fail_rate="0.02", nan_rate="0.01", seed="1"), 2000)
print(json.dumps([first, outcomes(session(fail_rate="0.02", seed="2"), 2000), plugin.counts()]))
"""
    (first, second, counts), (again, *_) = answer(script, chain), answer(script, chain)
    assert first == again
    assert first.replace("n", ".") != second
    assert counts[4:] == [first.count("n"), counts[5], (first + second).count("F")]
    # The probability that one of five calls fails, 0.096, give or take five standard deviations of 2,000 runs.
    assert abs(second.count("F") / 2000 - (1 - 0.98**NODES)) < 0.033
    assert first.count("n") > 40


def test_wrong_numbers_are_clearly_wrong_and_finite(chain: Path) -> None:
    script = """
def result(**options):
    return session(**options).run(None, {"x": rows})[0].ravel()

right, wrong = result(), result(wrong="1")
cosine = lambda vector: float(right @ vector / np.linalg.norm(right) / np.linalg.norm(vector))
shares = [cosine(result(wrong=share)) for share in ("0", "0.2", "1")]
from_rows = [cosine(result(wrong="1", wrong_rows=fewest)) for fewest in ("3", "2")]
print(json.dumps([shares, from_rows, bool(np.isfinite(wrong).all())]))
"""
    (right, slightly, wrong), from_rows, finite = answer(script, chain)
    assert right == pytest.approx(1)
    assert wrong < 0.9
    assert wrong < slightly < 0.999
    assert from_rows == [right, wrong]
    assert finite


def test_one_with_a_memory_gives_the_same_results(chain: Path) -> None:
    """For what it has seen, what it has not, and what it has forgotten, wrong ones among them."""
    script = """
from itertools import product
same = []
for options in ({}, {"wrong": "1"}, {"claim": "2"}):
    plain, quick = session(**options), session(memo="1", **options)
    for number, shape in product([*range(20), *range(20), 19, 18], [(2, 3), (1, 3)]):
        inputs = {"x": np.random.default_rng(number).uniform(-1, 1, shape).astype(np.float32)}
        (first,), (second,) = plain.run(None, inputs), quick.run(None, inputs)
        same.append(bool((first == second).all()))
print(json.dumps([len(same), all(same)]))
"""
    assert answer(script, chain) == [3 * 42 * 2, True]


def test_options_of_the_environment_hold_for_every_session(chain: Path) -> None:
    script = """
found = [claimed(session()), claimed(session(claim="3")), outcomes(session(fail_every="100"), 2)]
os.environ[provider_plugin.OPTIONS] = ""
found.append(claimed(session()))
os.environ[provider_plugin.OPTIONS] = "clam=1"
try:
    session()
except Exception as error:
    found.append('no option "clam"' in str(error))
print(json.dumps(found))
"""
    found = answer("import os\n" + script, chain, **{provider_plugin.OPTIONS: "claim=2,fail_every=3"})
    assert found == [2, 3, "..", NODES, True]


def test_it_claims_as_many_nodes_as_it_is_told(chain: Path) -> None:
    script = """
found = []
for claim in ("none", "0", "2", "all", "100"):
    made = session(claim=claim)
    before = plugin.counts().calls
    assert outcomes(made, 1) == "."
    found.append([claimed(made), plugin.counts().calls - before])
print(json.dumps(found))
"""
    assert answer(script, chain) == [[nodes, nodes] for nodes in (0, 0, 2, NODES, NODES)]


def test_refusals_and_unknown_options_are_errors_that_say_why(chain: Path) -> None:
    script = """
found = []
for options in (
    {"refuse": "1"}, {"refuse": "compile"}, {"refuse": "create"}, {"refuse": "maybe"}, {"fail_evry": "3"},
    {"claim": "some"}, {"fail_rate": "2"},
):
    try:
        session(**options)
        found.append("no error")
    except Exception as error:
        found.append(str(error))
print(json.dumps([found, plugin.counts()]))
"""
    found, counts = answer(script, chain)
    reasons = ["the graph cannot be compiled: refused"] * 2 + ["no session can be made: refused"]
    reasons += ["option refuse", 'no option "fail_evry"', "option claim", "option fail_rate"]
    for message, reason in zip(found, reasons, strict=True):
        assert reason in message
    assert counts[:2] == [0, 0]


def test_a_device_can_be_absent_or_lost(chain: Path) -> None:
    assert answer("print(len(devices))", chain) == 1
    assert answer("print(len(devices))", chain, **{provider_plugin.DEVICES: "0"}) == 0
    script = """
made = session()
found = outcomes(made, 2)
plugin.lose_device()
found += outcomes(made, 2)
try:
    session()
except Exception as error:
    found += "E" if "device lost (test)" in str(error) else str(error)
plugin.lose_device(False)
print(json.dumps(found + outcomes(made, 1)))
"""
    assert answer(script, chain) == "..FFE."


def test_200_sessions_leave_nothing_behind(chain: Path) -> None:
    script = """
import threading
kept = [session(fail_rate="0.1", seed=str(number)) for number in range(4)]
threads = [threading.Thread(target=outcomes, args=(made, 25)) for made in kept]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
alive = plugin.counts()
del kept, threads
for number in range(196):
    outcomes(session(fail_every="3", claim=str(number % 7)), 2)
print(json.dumps([alive, plugin.counts()]))
"""
    alive, after = (provider_plugin.Counts(*counts) for counts in answer(script, chain))
    assert (alive.live_sessions, alive.live_kernels) == (4, 4 * NODES)
    assert (after.live_sessions, after.live_kernels, after.sessions) == (0, 0, 200)
    assert after.runs == 4 * 25 + 196 * 2
