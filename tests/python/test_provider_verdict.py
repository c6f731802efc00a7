"""The verdict of a trial is kept in the cache: it costs once, holds for what it was made for, and nothing breaks it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import provider_plugin
import pytest
from conftest import PATIENCE, TOLERANCE
from provider_scripts import PREAMBLE, environment, facts
from reference.factory import make_model
from reference.sentence_transformer import SentenceTransformer

NAME = provider_plugin.NAME
# So large that the CPU takes many times as long as a memory, also where a moment of another program comes between.
SIZES: dict[str, Any] = {"hidden_size": 512, "num_attention_heads": 8, "intermediate_size": 2048}
TEXTS = ["fox", "the quick river of the book"]
FAST, WRONG, BROKEN = "memo=1", "memo=1,wrong=1", "memo=1,refuse=compile"

# A trial is seen by its runs: loading by a verdict makes a session and runs nothing.
LOADS = """
found = []
for folder, options, arguments, cache in json.loads(sys.argv[2]):
    os.environ["OXEMBED_TEST_PROVIDER_OPTIONS"], os.environ["OXEMBED_CACHE"] = options, cache
    before = plugin.counts()
    model = Embedder(folder, **{"threads": 1} | arguments)
    trial = plugin.counts()
    placement = model.placement()
    found.append({
        "provider": model.model_info().provider, "runs": trial.runs - before.runs,
        "sessions": trial.sessions - before.sessions, "reasons": [each.reason for each in placement.not_used],
        "rows": model.encode(json.loads(sys.argv[3])).tolist(), "logged": logged[:],
    })
    del model
tell(found=found)
"""


class Load(NamedTuple):
    """A model to load: its folder, options of the test provider, arguments, and a cache of its own."""

    folder: Path
    options: str = FAST
    arguments: Mapping[str, Any] = {}
    cache: Path | None = None


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model for which the provider with a memory is the fastest."""
    return make_model(tmp_path_factory.mktemp("made") / "model", "bert", seed=3, **SIZES)


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "model"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def loads(cache: Path | str, *asked: Load, **others: str) -> list[Any]:
    """What became of loading models one after the other in one process."""
    cases = json.dumps([[str(each.folder), each.options, each.arguments, str(each.cache or cache)] for each in asked])
    found: list[Any] = facts(LOADS, cache, cases, json.dumps(TEXTS), timeout=PATIENCE, **others)["found"]
    return found


def load(model: Path, cache: Path | str, options: str = FAST, **others: str) -> Any:
    """What became of loading a model in a process of its own, with rows that are right."""
    [found] = loads(cache, Load(model, options), **others)
    assert np.abs(np.array(found["rows"]) - SentenceTransformer(model).encode(TEXTS)).max() <= TOLERANCE
    assert found["logged"] == []
    return found


def outcome(found: Any) -> tuple[str, bool]:
    """The provider, and whether it was tried."""
    return found["provider"], found["runs"] > 0


def only(cache: Path) -> Path:
    """The one verdict."""
    [path] = (cache / "verdicts").iterdir()
    assert path.suffix == ".json"
    return path


def aged(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_it_holds_for_what_it_was_made_for(model: Path, cache: Path, tmp_path: Path) -> None:
    """A trial for each thing that may change the outcome, and none for the others."""
    other = make_model(tmp_path / "other", "bert", seed=4, **SIZES)
    copied = Path(shutil.copytree(model, tmp_path / "copied"))
    asked = [
        (Load(model), True),
        (Load(model), False),
        (Load(copied), False),  # the same weights elsewhere
        (Load(other), True),  # other weights of the same shapes
        (Load(model, arguments={"threads": 2}), True),
        (Load(model, arguments={"threads": 2}), False),
        (Load(model, arguments={"max_seq_length": 32}), True),
        (Load(model, arguments={"truncate_dim": 8}), False),
        (Load(model, arguments={"provider": ["auto", "cpu"]}), False),
        (Load(model, arguments={"provider": ["cuda", "auto"]}), False),
    ]
    found = loads(cache, *(load for load, _ in asked))
    assert [outcome(each) for each in found] == [(NAME, tried) for _, tried in asked]
    # One shape is compiled for a trial; and for loading, one that a short text takes.
    assert {each["sessions"] for each in found} == {1}
    assert len(list((cache / "verdicts").iterdir())) == 4


def test_a_verdict_against_it_makes_no_session_at_all(model: Path, cache: Path) -> None:
    first, again = loads(cache, Load(model, WRONG), Load(model))
    assert outcome(first) == ("cpu", True)
    assert (again["provider"], again["sessions"]) == ("cpu", 0)
    assert first["reasons"] == again["reasons"]
    assert "its vectors are not the model's" in again["reasons"][0]


def test_weights_are_known_by_their_content(model: Path, cache: Path, tmp_path: Path) -> None:
    weights = model / "model.safetensors"
    assert outcome(load(model, cache)) == (NAME, True)
    aged(weights, 1000)
    assert outcome(load(model, cache)) == (NAME, False)
    other = make_model(tmp_path / "other", "bert", seed=5, **SIZES) / "model.safetensors"
    assert other.stat().st_size == weights.stat().st_size
    shutil.copyfile(other, weights)
    assert outcome(load(model, cache)) == (NAME, True)


def test_another_file_of_the_plug_in_is_tried_again(model: Path, cache: Path, tmp_path: Path) -> None:
    library = Path(shutil.copy2(provider_plugin.library(), tmp_path))
    named = {"OXEMBED_TEST_PROVIDER": str(library), "OXEMBED_PLUG_INS": f"{library}={NAME}"}
    assert outcome(load(model, cache)) == (NAME, True)
    assert outcome(load(model, cache, **named)) == (NAME, True)
    assert outcome(load(model, cache, **named)) == (NAME, False)
    aged(library, 1000)
    assert outcome(load(model, cache, **named)) == (NAME, True)


def changed(**values: object) -> Callable[[Path], object]:
    """Writes the verdict with other values."""
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | values))


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    (path / "something").mkdir(parents=True)


# What is done to the verdict, and whether another can be written in its place.
SPOILED: dict[str, tuple[Callable[[Path], object], bool]] = {
    "empty": (lambda path: path.write_bytes(b""), True),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:40]), True),
    "no text": (lambda path: path.write_bytes(bytes(range(256))), True),
    "no object": (lambda path: path.write_text("null"), True),
    "no keys": (lambda path: path.write_text("{}"), True),
    "other types": (changed(trials=7), True),
    "a provider that is not there": (changed(provider="cuda"), True),
    "a provider that nobody knows": (changed(provider="nonsense"), True),
    "no provider": (changed(provider="auto"), True),
    "another device": (changed(device="Example gpu"), True),
    "removed": (lambda path: path.unlink(), True),
    "a folder": (replaced_by_a_folder, False),
}


def test_a_spoiled_verdict_is_made_again(model: Path, cache: Path, tmp_path: Path) -> None:
    load(model, cache)
    verdict = only(cache).relative_to(cache)
    caches = [Path(shutil.copytree(cache, tmp_path / str(number))) for number, _ in enumerate(SPOILED)]
    for place, (spoil, _) in zip(caches, SPOILED.values(), strict=True):
        spoil(place / verdict)
    found = loads(cache, *(Load(model, cache=place) for place in caches for _ in range(2)))
    for number, (case, (_, heals)) in enumerate(SPOILED.items()):
        first, again = found[2 * number : 2 * number + 2]
        assert (outcome(first), outcome(again)) == ((NAME, True), (NAME, not heals)), case
        assert (first["logged"], again["logged"]) == ([], []), case
        if heals:
            assert json.loads((caches[number] / verdict).read_bytes())["provider"] == NAME, case


def test_the_winner_is_tried_again_when_it_is_gone(model: Path, cache: Path) -> None:
    assert outcome(load(model, cache)) == (NAME, True)
    # Its device is away: a trial that nothing can be run in, and its verdict.
    gone = load(model, cache, **{provider_plugin.DEVICES: "0"})
    assert outcome(gone) == ("cpu", False)
    assert "finds no device" in gone["reasons"][0]
    assert json.loads(only(cache).read_text())["provider"] == "cpu"


def test_the_winner_is_tried_again_when_it_refuses(model: Path, cache: Path) -> None:
    first, broken = loads(cache, Load(model), Load(model, BROKEN))
    assert (first["provider"], broken["provider"]) == (NAME, "cpu")
    assert "refused (test)" in broken["reasons"][0]


@pytest.mark.parametrize(("options", "holds_for_ever"), [(BROKEN, False), ("memo=1,slow_ms=30", True)])
def test_who_could_not_be_tried_gets_another_chance_after_a_day(
    options: str, holds_for_ever: bool, model: Path, cache: Path
) -> None:
    """A device may be plugged in, a driver be updated; but who was slow and right will be slow."""
    assert load(model, cache, options)["provider"] == "cpu"
    aged(only(cache), 23 * 3600)
    assert outcome(load(model, cache)) == ("cpu", False)
    aged(only(cache), 25 * 3600)
    assert outcome(load(model, cache)) == (("cpu", False) if holds_for_ever else (NAME, True))


@pytest.mark.parametrize("place", ["file/cache", "file", "/dev/null", "/proc/nowhere"])
def test_without_a_place_for_it_there_is_a_trial_each_time(place: str, model: Path, tmp_path: Path) -> None:
    if place.startswith("/") and sys.platform != "linux":
        pytest.skip("these are places of Linux")
    (tmp_path / "file").write_bytes(b"")
    first, again = loads(str(tmp_path / place), Load(model), Load(model))
    assert [outcome(first), outcome(again)] == [(NAME, True)] * 2
    assert again["logged"] == []


def test_the_platforms_folder_is_made(model: Path, tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("the variable is one of Linux")
    place = tmp_path / "home" / "caches"
    assert outcome(load(model, "", XDG_CACHE_HOME=str(place))) == (NAME, True)
    assert only(place / "oxembed").is_file()


def test_what_is_not_tried_while_another_process_tries_it(model: Path, cache: Path) -> None:
    load(model, cache)
    verdict = only(cache)
    mark = verdict.with_suffix(".trying")
    verdict.unlink()
    mark.write_bytes(b"")
    aged(mark, 60)
    busy = load(model, cache)
    assert outcome(busy) == ("cpu", False)
    assert "another process is trying it" in busy["reasons"][0]
    assert not verdict.exists()
    assert mark.exists()
    # Whoever made the mark did not come to the end of its trial.
    aged(mark, 150)
    for _ in range(2):
        dead = load(model, cache)
        assert outcome(dead) == ("cpu", False)
        assert f"remove {mark} to have it tried again" in dead["reasons"][0]
    mark.unlink()
    assert outcome(load(model, cache)) == (NAME, True)
    assert not mark.exists()


CRASHES = """
def die():
    while plugin.counts().runs == 0:
        time.sleep(0.001)
    os._exit(9)

threading.Thread(target=die).start()
Embedder(sys.argv[2], threads=1)
"""


def begun(script: str, cache: Path, model: Path, options: str) -> subprocess.Popen[str]:
    """A process that is left to itself."""
    command = [sys.executable, "-c", PREAMBLE + script, str(Path(__file__).parent), str(model)]
    variables = {**os.environ, **environment(cache, options)}
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_provider_that_takes_its_process_down_does_so_once(model: Path, cache: Path) -> None:
    with begun(CRASHES, cache, model, "slow_ms=100") as process:
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 9
    [mark] = (cache / "verdicts").iterdir()
    assert mark.suffix == ".trying"
    assert outcome(load(model, cache)) == ("cpu", False)
    aged(mark, 300)
    assert "taken its process down" in load(model, cache)["reasons"][0]


TOGETHER = """
model = Embedder(sys.argv[2], threads=1)
tell(provider=model.model_info().provider, runs=plugin.counts().runs, rows=model.encode(["fox"]).tolist(), said=logged)
"""


def test_two_processes_at_the_same_time(model: Path, cache: Path) -> None:
    """Each has right rows, by a trial of its own or without; the verdict is whole, and no mark is left."""
    processes = [begun(TOGETHER, cache, model, "memo=1,slow_ms=5") for _ in range(3)]
    outputs = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [(process.returncode, errors) for process, (_, errors) in zip(processes, outputs, strict=True)] == [
        (0, "")
    ] * 3
    expected = SentenceTransformer(model).encode(["fox"])
    found = [json.loads(output) for output, _ in outputs]
    for each in found:
        assert np.abs(np.array(each["rows"]) - expected).max() <= TOLERANCE
        assert each["said"] == []
    assert any(each["runs"] > 0 for each in found)
    assert set(json.loads(only(cache).read_text())) == {"provider", "device", "trials"}
    assert load(model, cache)["runs"] == 0
