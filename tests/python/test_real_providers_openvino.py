"""OpenVINO itself: compiled into ONNX Runtime, and as a plug-in, which has a CPU device on Intel's processors only.

Truth is sentence-transformers' own vectors in the fixtures, and for what has none the CPU's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import FIXTURES, TOLERANCE
from numpy.typing import NDArray
from real_providers import OPENVINO_FLAVOUR, PLUG_INS, answer, folder_with
from reference.factory import GOLDEN_FIXTURES

RUNTIME_NAME = "OpenVINOExecutionProvider"
MINILM = FIXTURES / "all-MiniLM-L6-v2-golden"
SHORT_TEXTS = Path(__file__).parents[2] / "data" / "short_texts.txt"

PREAMBLE = f"""
import json, sys
from pathlib import Path
import numpy as np
import oxembed
from oxembed import Embedder, ProviderUnavailableError, providers

NAME = {RUNTIME_NAME!r}
TEXTS = json.loads(Path({str(MINILM / "texts.json")!r}).read_text(encoding="utf-8"))

def cosines(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
"""


class Installation(NamedTuple):
    """OpenVINO as it is installed in a folder, and a cache for its processes."""

    folder: Path
    cache: Path
    is_plug_in: bool

    def answer(self, script: str, *arguments: str) -> Any:
        return answer(self.folder, self.cache, PREAMBLE + script, *arguments)


class Computed(NamedTuple):
    """What one process computed of every fixture."""

    vectors: dict[str, NDArray[np.float32]]
    placements: dict[str, Any]


def plug_in(cache: Path) -> tuple[Installation, list[str]]:
    """The plug-in, and the kinds of its devices here."""
    installation = Installation(folder_with(PLUG_INS, "onnxruntime-ep-openvino"), cache, is_plug_in=True)
    script = "print(json.dumps([one.kind for one in oxembed.doctor().devices if one.provider == NAME]))"
    return installation, installation.answer(script)


@pytest.fixture(scope="module", params=["flavour", "plug-in"])
def openvino(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    cache = tmp_path_factory.mktemp("cache")
    if request.param == "flavour":
        return Installation(folder_with(OPENVINO_FLAVOUR, "onnxruntime-openvino"), cache, is_plug_in=False)
    installation, kinds = plug_in(cache)
    if "cpu" not in kinds:
        pytest.skip("OpenVINO's plug-in offers no CPU device here: it does on Intel's processors")
    return installation


@pytest.fixture(scope="module")
def computed(openvino: Installation, tmp_path_factory: pytest.TempPathFactory) -> Computed:
    file = tmp_path_factory.mktemp("computed") / "vectors.npz"
    script = """
vectors, placements = {}, {}
for name in sys.argv[3:]:
    folder = Path(sys.argv[2]) / name
    model = Embedder(folder, provider="openvino")
    vectors[name] = model.encode(json.loads((folder / "golden_texts.json").read_text(encoding="utf-8")))
    placements[name] = model.placement().as_dict()
model = Embedder(provider="openvino")
vectors["MiniLM"] = model.encode(TEXTS)
placements["MiniLM"] = model.placement().as_dict()
np.savez(sys.argv[1], **vectors)
print(json.dumps(placements))
"""
    placements = openvino.answer(script, str(file), str(FIXTURES), *GOLDEN_FIXTURES)
    with np.load(file) as stored:
        return Computed({key: stored[key] for key in stored.files}, placements)


def truth(name: str) -> NDArray[np.float32]:
    file, key = (
        (MINILM / "vectors.npz", "embeddings") if name == "MiniLM" else (FIXTURES / name / "golden.npz", "embeddings")
    )
    with np.load(file) as stored:
        vectors: NDArray[np.float32] = stored[key]
    return vectors


@pytest.mark.parametrize("name", GOLDEN_FIXTURES)
def test_vectors_are_those_of_sentence_transformers(computed: Computed, name: str) -> None:
    vectors, expected = computed.vectors[name], truth(name)
    assert vectors.shape == expected.shape
    np.testing.assert_allclose(vectors, expected, atol=TOLERANCE, rtol=0)


def test_vectors_of_the_embedded_model_are_those_of_sentence_transformers(computed: Computed) -> None:
    vectors, expected = computed.vectors["MiniLM"].astype(np.float64), truth("MiniLM").astype(np.float64)
    cosines = (vectors * expected).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() >= 0.99999


@pytest.mark.parametrize("name", [*GOLDEN_FIXTURES, "MiniLM"])
def test_every_node_of_every_session_is_on_it(computed: Computed, name: str) -> None:
    placement = computed.placements[name]
    assert placement["not_used"] == placement["events"] == []
    assert placement["sessions"]
    for session in placement["sessions"]:
        assert session["provider"] == "openvino"
        assert "cpu" in session["device"].lower()
        assert session["providers"] == {RUNTIME_NAME: session["nodes"]}
        assert session["work"] == {RUNTIME_NAME: 1.0}


def processor_has(*flags: str) -> bool:
    """Whether the processor has one of these features, by the kernel's list."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    [features, *_] = [set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")]
    return bool(features & set(flags))


def available_processors() -> int:
    """Processors that this process, and so its children, may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


needs_cpuinfo = pytest.mark.skipif(sys.platform != "linux", reason="reads the processor's features from /proc/cpuinfo")


@needs_cpuinfo
def test_half_precision_is_computed_in_or_refused(openvino: Installation) -> None:
    script = """
right = Embedder(provider="cpu").encode(TEXTS)
found = {}
for dtype in ("float32", "bfloat16", "float16"):
    try:
        found[dtype] = (1 - cosines(Embedder(provider="openvino", dtype=dtype).encode(TEXTS), right)).max()
    except ProviderUnavailableError as error:
        found[dtype] = str(error)
print(json.dumps(found))
"""
    found = openvino.answer(script)
    # bfloat16 rounds to 8 bits, 2^-9 of a number at most, float16 to 11: each rounding of a vector turns it by about
    # that angle, and a few dozen of them come together. The cosine falls by half the square of the angle.
    assert found["float32"] < 1e-9
    if processor_has("avx512dq", "avx_ne_convert"):
        assert 1e-7 < found["bfloat16"] < 1e-3
    else:
        assert "no instructions for bfloat16" in found["bfloat16"]
    if processor_has("avx512_fp16", "avx_ne_convert"):
        assert 1e-10 < found["float16"] < 1e-5
    else:
        assert "no instructions for float16" in found["float16"]


@needs_cpuinfo
def test_an_option_of_the_user_wins_over_ours(openvino: Installation) -> None:
    script = """
right = Embedder(provider="cpu").encode(TEXTS)
config = json.dumps({"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}})
vectors = Embedder(provider=providers.OpenVINO(options={"load_config": config}), dtype="float32").encode(TEXTS)
print(json.dumps((1 - cosines(vectors, right)).max()))
"""
    apart = openvino.answer(script)
    if processor_has("avx512dq", "avx_ne_convert"):
        assert 1e-7 < apart < 1e-3
    else:
        assert apart < 1e-9


def test_options_of_the_user_win_and_reach_openvino(openvino: Installation) -> None:
    script = """
found = []
for options in (
    {"load_config": json.dumps({"CPU": {"NO_SUCH_PROPERTY": "1"}})},
    {"load_config": json.dumps({"CPU": {"NUM_STREAMS": "-5"}})},
    {"load_config": "no JSON"},
    {"no_such_option": "1"},  # which the plug-in ignores
):
    try:
        Embedder(provider=providers.OpenVINO(options=options))
        found.append("no error")
    except ProviderUnavailableError as error:
        found.append(str(error))
print(json.dumps(found))
"""
    expected = [
        "Unsupported property NO_SUCH_PROPERTY by CPU plugin",
        "Wrong value for property key NUM_STREAMS",
        "parse error",
        "no_such_option",
    ]
    for message, words in zip(openvino.answer(script), expected, strict=True):
        if words == "no_such_option" and openvino.is_plug_in:
            assert message == "no error"
            continue
        assert words in message
        assert '"openvino" is not available' in message
        assert ".cc:" not in message, "a place in the sources of ONNX Runtime"
        assert ".cpp:" not in message


def test_a_device_that_is_not_there_is_an_error_that_says_so(openvino: Installation) -> None:
    script = """
try:
    Embedder(provider=providers.OpenVINO(device="npu"))
    print(json.dumps("no error"))
except ProviderUnavailableError as error:
    print(json.dumps(str(error)))
"""
    message = openvino.answer(script)
    if message == "no error":
        pytest.skip("this machine has a neural processor")
    assert "Device NPU is not available" in message or 'finds no device of the kind "npu"' in message


def test_streams_do_not_change_vectors(openvino: Installation) -> None:
    script = """
right = Embedder(provider="cpu").encode(TEXTS)
print(json.dumps(float(np.abs(Embedder(provider=providers.OpenVINO(num_streams=2)).encode(TEXTS) - right).max())))
"""
    assert openvino.answer(script) <= TOLERANCE


def test_auto_is_right_whatever_it_takes_and_asks_once(openvino: Installation) -> None:
    script = """
right = Embedder(provider="cpu").encode(TEXTS)
verdicts = Path(sys.argv[1])
found = []
for _ in range(2):
    model = Embedder()
    placement = model.placement()
    kept = {str(path): path.stat().st_mtime_ns for path in verdicts.rglob("*.json")}
    not_used = [(one.provider, one.reason) for one in placement.not_used]
    apart = float(np.abs(model.encode(TEXTS) - right).max())
    found.append([apart, [one.provider for one in placement], not_used, kept])
print(json.dumps(found))
"""
    first, second = openvino.answer(script, str(openvino.cache))
    assert first[0] <= TOLERANCE
    assert second[0] <= TOLERANCE
    assert first[1:] == second[1:], "the second load tried again, or took another one"
    [provider], not_used, kept = first[1:]
    assert len(kept) >= 1
    if provider == "openvino":
        assert not_used == []
    else:
        assert provider == "cpu"
        [(lost, reason)] = not_used
        assert lost == "openvino"
        assert "in a trial" in reason


def test_a_list_takes_the_first_that_works(openvino: Installation) -> None:
    script = """
model = Embedder(provider=["cuda", "openvino", "cpu"])
placement = model.placement()
right = Embedder(provider="cpu").encode(TEXTS)
apart = float(np.abs(model.encode(TEXTS) - right).max())
print(json.dumps([apart, placement[0].provider, [one.provider for one in placement.not_used]]))
"""
    apart, provider, not_used = openvino.answer(script)
    assert apart <= TOLERANCE
    assert (provider, not_used) == ("openvino", ["cuda"])


def test_2000_texts_are_right_on_a_bounded_number_of_sessions(openvino: Installation) -> None:
    script = """
texts = [line for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines() if line]
model = Embedder(provider=providers.OpenVINO(max_sessions=12))
vectors, right = model.encode(texts), Embedder(provider="cpu").encode(texts)
placement = model.placement()
print(json.dumps([len(texts), cosines(vectors, right).min(), float(np.abs(vectors - right).max()), len(placement),
    sorted({one.provider for one in placement}), placement.failures]))
"""
    texts, cosine, apart, sessions, used, failures = openvino.answer(script, str(SHORT_TEXTS))
    assert texts == 2000
    assert cosine >= 0.9999
    assert apart <= TOLERANCE
    assert sessions <= 12
    assert used == ["openvino"]
    assert failures == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_it_computes_with_as_many_threads_as_it_is_told(openvino: Installation, threads: int) -> None:
    # By the processor time of each thread, which does not depend on what else the machine does.
    script = """
import psutil
def seconds():
    return {one.id: one.user_time + one.system_time for one in psutil.Process().threads()}
model = Embedder(provider="openvino", threads=int(sys.argv[1]))
texts = [f"text {number} of some length, for a batch of many texts of the same length" for number in range(100, 164)]
model.encode(texts)
before = seconds()
for _ in range(12):
    model.encode(texts)
spent = sorted((after - before.get(number, 0) for number, after in seconds().items()), reverse=True)
print(json.dumps([spent, [one.threads for one in model.placement()]]))
"""
    spent, told = openvino.answer(script, str(threads))
    assert set(told) == {threads}
    assert sum(spent) > 0.5, "too short to be measured"
    # The thread that calls may compute in the place of one of OpenVINO's own.
    assert sum(seconds > 0.05 * sum(spent) for seconds in spent) <= threads + 1, "more threads than that computed"
    if threads == 1:
        assert spent[0] > 0.9 * sum(spent)
    elif available_processors() > 1:
        assert spent[1] > 0.2 * sum(spent), "one thread computed everything"


def test_doctor_says_that_it_works(openvino: Installation) -> None:
    script = """
diagnosis = oxembed.doctor()
[state] = [one for one in diagnosis.providers if one.name == "openvino"]
print(json.dumps([state.works, state.reason, state.remedy, diagnosis.works]))
"""
    works, reason, remedy, cpu_works = openvino.answer(script)
    assert works
    assert cpu_works
    assert "placed on it" in reason
    assert remedy is None


def test_inspect_tells_where_the_nodes_would_go(openvino: Installation) -> None:
    script = """
from oxembed.cli import main
sys.exit(main(["inspect", sys.argv[1], "--provider", "openvino", "--json"]))
"""
    report = openvino.answer(script, str(FIXTURES / "gte-cls"))
    sessions = report["placement"]["sessions"]
    assert sessions
    for session in sessions:
        assert session["providers"] == {RUNTIME_NAME: session["nodes"]}
        assert session["work"] == {RUNTIME_NAME: 1.0}


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_stops_a_long_call_and_the_next_works(openvino: Installation) -> None:
    script = """
import os, signal, threading, time
model = Embedder(provider="openvino")
before = model.encode(TEXTS)
texts = [f"text number {number} of a long call that takes many seconds" for number in range(200_000)]
sent, begun = [], threading.Event()
def interrupt(delay):
    begun.wait()
    time.sleep(delay)
    sent.append(model.stage_times().batches)
    os.kill(os.getpid(), signal.SIGINT)
found = []
for delay in (0.2, 1.0):
    begun.clear()
    threading.Thread(target=interrupt, args=(delay,)).start()
    try:
        begun.set()
        model.encode(texts)
        found.append(None)
    except KeyboardInterrupt:
        found.append(model.stage_times().batches - sent[-1])
print(json.dumps([found, bool((model.encode(TEXTS) == before).all()), model.placement().failures]))
"""
    more, works, failures = openvino.answer(script)
    assert None not in more, "not interrupted"
    # All of them are thousands; three seconds are fewer than these.
    assert max(more) < 300, "it went on working"
    assert works
    assert failures == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_parent_and_child_of_a_fork_compute(openvino: Installation) -> None:
    script = """
import os
model = Embedder(provider="openvino")
expected = model.encode(TEXTS)
child = os.fork()
if child == 0:
    same = np.abs(model.encode(TEXTS) - expected).max() <= 1e-6 and model.placement()[0].provider == "openvino"
    os._exit(0 if same else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps([status, float(np.abs(model.encode(TEXTS) - expected).max())]))
"""
    status, apart = openvino.answer(script)
    assert status == 0
    assert apart <= 1e-6


def test_the_plug_in_without_a_device_says_so(tmp_path: Path) -> None:
    installation, kinds = plug_in(tmp_path)
    if "cpu" in kinds:
        pytest.skip("OpenVINO's plug-in has a CPU device here")
    script = """
try:
    Embedder(provider="openvino")
    message = "no error"
except ProviderUnavailableError as error:
    message = str(error)
[state] = [one for one in oxembed.doctor().providers if one.name == "openvino"]
model = Embedder(provider=["openvino", "cpu"])
not_used = [(one.provider, one.reason) for one in model.placement().not_used]
print(json.dumps([message, [state.works, state.reason, state.remedy], not_used, model.encode(TEXTS).shape]))
"""
    message, (works, reason, remedy), [[passed_over, why]], shape = installation.answer(script)
    for said in (message, reason, why):
        assert "is installed and finds no device" in said
    assert not works
    assert remedy is None, "installing it again would not help"
    assert passed_over == "openvino"
    assert shape == [64, 384]
