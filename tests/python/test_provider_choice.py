"""`provider="auto"`: the fastest that gives the CPU's vectors, by a trial, and why the others are not used."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import provider_plugin
import pytest
from conftest import PATIENCE, TOLERANCE
from numpy.typing import NDArray
from provider_scripts import facts
from reference.factory import make_model
from reference.sentence_transformer import SentenceTransformer

NAME = provider_plugin.NAME
TEXTS = ["fox", "the quick river", "a book of the winter star", "slowly over the mountain jumps the lazy old fox", ""]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose products take so long that a provider which remembers them is ten times as fast as the CPU."""
    sizes: dict[str, Any] = {"hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
    return make_model(tmp_path_factory.mktemp("wide") / "model", "bert", seed=3, **sizes)


@pytest.fixture(scope="module")
def expected(wide: Path) -> NDArray[np.float32]:
    """The rows of `TEXTS`."""
    return SentenceTransformer(wide).encode(TEXTS)


LOADS = """
folder, texts = Path(sys.argv[2]), json.loads(sys.argv[3])
found = []
for options, provider, cache in json.loads(sys.argv[4]):
    os.environ["OXEMBED_TEST_PROVIDER_OPTIONS"], os.environ["OXEMBED_CACHE"] = options, cache
    before, said = plugin.counts(), len(logged)
    model = Embedder(folder, provider=provider, threads=1)
    trial = plugin.counts()
    rows = model.encode(texts)
    placement = model.placement()
    counts = plugin.counts()
    found.append({
        "provider": model.model_info().provider, "rows": rows.tolist(), "logged": logged[said:],
        "not_used": [[each.provider, each.reason] for each in placement.not_used],
        "events": [[event.provider, event.next, event.message] for event in placement.events],
        "sessions": [session.provider for session in placement], "live": counts.live_sessions,
        "trial_sessions": trial.sessions - before.sessions, "trial_runs": trial.runs - before.runs,
        "runs": counts.runs - trial.runs,
    })
    del model, placement
tell(found=found)
"""


class Asked(NamedTuple):
    """A model to load: options of the test provider, `provider=`, and the folder of its cache."""

    options: str
    provider: str | list[str] = "auto"
    cache: str = "cache"


def loaded(folder: Path, expected: NDArray[np.float32], place: Path, *asked: Asked, **others: str) -> list[Any]:
    """What became of loading a model, in one process; the rows of `TEXTS` have been found right each time."""
    cases = json.dumps([[options, provider, str(place / cache)] for options, provider, cache in asked])
    found: list[Any] = facts(LOADS, place, folder, json.dumps(TEXTS), cases, timeout=PATIENCE, **others)["found"]
    for each in found:
        assert np.abs(np.array(each["rows"]) - expected).max() <= TOLERANCE
    return found


def test_the_fast_and_right_one_is_chosen(wide: Path, expected: NDArray[np.float32], tmp_path: Path) -> None:
    [told] = loaded(wide, expected, tmp_path, Asked("memo=1"))
    assert told["provider"] == NAME
    assert NAME in told["sessions"]
    assert (told["not_used"], told["events"], told["logged"]) == ([], [], [])
    # One shape is compiled for a trial, and run once for all and twice for the clock.
    assert (told["trial_sessions"], told["trial_runs"]) == (1, 3)
    assert told["runs"] > 0


# Options of the provider, and what its reason says.
LOSES: dict[str, tuple[str, str]] = {
    "wrong": ("memo=1,wrong=1", "its vectors are not the model's"),
    "a little wrong": ("memo=1,wrong=0.05", "0.999 is the least"),
    "wrong for large products": ("memo=1,wrong_rows=64,wrong=1", "its vectors are not the model's"),
    "not a number": ("memo=1,nan_after=0", "not finite"),
    "not a number in the last run": ("memo=1,nan_after=30", "not finite"),
    "fails": ("memo=1,fail_after=0", "it fails in a trial: inference failed"),
    "fails in the last run": ("memo=1,fail_after=30", "device lost (test)"),
    "refuses the graph": ("memo=1,refuse=compile", "it refuses the model: the graph cannot be compiled"),
    "makes no session": ("memo=1,refuse=create", "it refuses the model: no session can be made"),
    "takes nothing": ("memo=1,claim=none", "it takes none of the model's"),
    "takes too little": ("memo=1,claim=1", "minimum_share=0.5"),
    "slow": ("memo=1,slow_ms=15", "times the time of the CPU"),
    "hopelessly slow": ("memo=1,slow_ms=100", "times the time of the CPU"),
    "as slow as it is": ("", "times the time of the CPU"),
}


@pytest.fixture(scope="module")
def losers(wide: Path, expected: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of each, tried in one process after the other, with a cache of its own."""
    place = tmp_path_factory.mktemp("losers")
    asked = [Asked(options, cache=str(number)) for number, (options, _) in enumerate(LOSES.values())]
    return dict(zip(LOSES, loaded(wide, expected, place, *asked), strict=True))


@pytest.mark.parametrize("case", LOSES)
def test_one_that_is_wrong_or_slow_is_not_chosen(case: str, losers: dict[str, Any]) -> None:
    told = losers[case]
    assert (told["provider"], told["sessions"]) == ("cpu", ["cpu"])
    [[name, said]] = told["not_used"]
    assert name == NAME
    assert LOSES[case][1] in said
    # To lose a trial is nothing to warn of: nobody asked for that provider.
    assert (told["events"], told["logged"]) == ([], [])
    assert (told["runs"], told["live"]) == (0, 0)


def test_who_is_hopelessly_slow_is_tried_no_further(losers: dict[str, Any]) -> None:
    assert losers["hopelessly slow"]["trial_runs"] == 2


def test_without_a_device_it_is_the_cpu(wide: Path, expected: NDArray[np.float32], tmp_path: Path) -> None:
    [told] = loaded(wide, expected, tmp_path, Asked("memo=1"), **{provider_plugin.DEVICES: "0"})
    assert told["provider"] == "cpu"
    assert "finds no device on this machine" in told["not_used"][0][1]
    assert told["logged"] == []


def test_without_plug_ins_there_is_nothing_to_try(wide: Path, expected: NDArray[np.float32], tmp_path: Path) -> None:
    [told] = loaded(wide, expected, tmp_path, Asked(""), OXEMBED_PLUG_INS="")
    assert (told["provider"], told["not_used"]) == ("cpu", [])
    assert not list(tmp_path.rglob("*.json"))


# In one process, by one verdict: what is asked for, options of the provider, and the first that is used.
LISTS: list[tuple[list[str], str, str]] = [
    (["auto"], "memo=1", NAME),
    (["auto"], "memo=1,fail_after=0", NAME),
    (["cuda", "auto"], "memo=1", NAME),
    (["cuda", "auto"], "memo=1,fail_after=0", NAME),
    (["auto", "cuda"], "memo=1,nan_after=0", NAME),
    (["auto", "cpu"], "memo=1,fail_after=0", NAME),
    (["auto", "auto"], "memo=1,fail_after=0", NAME),
    (["cpu", "auto"], "memo=1", "cpu"),
]


def test_auto_in_a_list(wide: Path, expected: NDArray[np.float32], tmp_path: Path) -> None:
    """As alone; and the CPU is behind it, once, before whatever else comes."""
    asked = [Asked(options, provider) for provider, options, _ in LISTS]
    for told, (provider, options, first) in zip(loaded(wide, expected, tmp_path, *asked), LISTS, strict=True):
        case = (provider, options)
        assert told["provider"] == first, case
        passed_over = provider[:1] if provider[0] == "cuda" else []
        assert [name for name, _ in told["not_used"]] == passed_over, case
        assert sum("is not used" in message for message in told["logged"]) == len(passed_over), case
        fails = "after" in options
        following = {(failed, following) for failed, following, _ in told["events"]}
        assert following == ({(NAME, "cpu")} if fails else set()), case
        assert ("cpu" in told["sessions"]) == (fails or first == "cpu"), case
        assert sum(message.startswith("the execution provider") for message in told["logged"]) == len(told["events"])


def test_the_embedded_model(tmp_path: Path) -> None:
    """The model that everybody has, through the same trial, faster and wrong and faster and right."""
    script = textwrap.dedent("""
    texts = ["rain", "a second text", "the third of them is a little longer than the others"]
    expected = Embedder(provider="cpu").encode(texts)
    found = []
    for options in ("memo=1,wrong=0.1", "memo=1"):
        os.environ["OXEMBED_TEST_PROVIDER_OPTIONS"] = options
        os.environ["OXEMBED_CACHE"] = f"{sys.argv[2]}/{len(found)}"
        model = Embedder(threads=1)
        found.append([model.model_info().provider, worst(model.encode(texts), expected)])
    tell(found=found, logged=logged)
    """)
    told = facts(script, tmp_path, tmp_path)
    (wrong, first), (right, second) = told["found"]
    assert (wrong, right) == ("cpu", NAME)
    assert max(first, second) <= TOLERANCE
    assert told["logged"] == []
