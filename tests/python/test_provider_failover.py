"""Lists of providers: which is used, which takes over when one fails in use, and what is said about it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import provider_plugin
import pytest
from conftest import TOLERANCE
from provider_scripts import facts

NAME = provider_plugin.NAME
LOST = "device lost (test)"


def told(script: str, cache: Path, **arguments: Any) -> Any:
    return facts(textwrap.dedent(script), cache, **arguments)


def test_a_list_steps_down_at_load_and_says_so(tmp_path: Path) -> None:
    found = told(
        """
        asked = ["cuda", plug_in(refuse="compile"), plug_in(0.99), plug_in(), "cpu"]
        model = Embedder(FIXTURES / "bert-cls", provider=asked)
        texts, vectors = golden("bert-cls")
        error = worst(model.encode(texts, normalize_embeddings=None), vectors)
        placement = model.placement()
        tell(error=error, sessions=[session.provider for session in placement], events=placement.failures,
             not_used=[[each.provider, each.reason] for each in placement.not_used],
             logged=[message for message in logged if "is not used" in message], warned=model.model_info().assumptions)
        """,
        tmp_path,
    )
    assert found["error"] <= TOLERANCE
    assert set(found["sessions"]) == {NAME}
    assert found["events"] == 0
    names, reasons = zip(*found["not_used"], strict=True)
    assert names == ("cuda", NAME, NAME)
    for reason, expected in zip(reasons, ("not installed", "refused (test)", "minimum_share=0.99"), strict=True):
        assert expected in reason
    assert len(found["logged"]) == 3
    for message, name, reason in zip(found["logged"], names, reasons, strict=True):
        assert f'"{name}"' in message
        assert reason in message
    assert len(found["warned"]) == 3


def test_a_list_of_which_none_works_says_why_of_each(tmp_path: Path) -> None:
    kind, message = told(
        """
        asked = [plug_in(refuse="create"), "cuda", plug_in(claim="none")]
        tell(found=refusal(FIXTURES / "bert-cls", provider=asked))
        """,
        tmp_path,
    )["found"]
    assert kind == "ProviderUnavailableError"
    for reason in ("refused (test)", "not installed", "takes none of the model's"):
        assert reason in message


# What is asked for; who takes over from the first, the second, …; whether the call succeeds.
TAKES_OVER: dict[str, tuple[str, list[str | None], bool]] = {
    "the next": ('[FAILS, plug_in(), "cpu"]', [NAME], True),
    "the one after": ('[FAILS, FAILS, "cpu"]', [NAME, "cpu"], True),
    "one that is not there is passed over": ('[FAILS, "cuda", "cpu"]', ["cuda", "cpu"], True),
    "auto, which is the CPU": ('[FAILS, "auto"]', ["cpu"], True),
    "auto at the end of a longer list": ('[FAILS, FAILS, "auto"]', [NAME, "cpu"], True),
    "nobody": ("FAILS", [None], False),
    "nobody after the last": ("[FAILS, FAILS]", [NAME, None], False),
    "nobody after one that is not there": ('["cuda", FAILS]', [None], False),
}


@pytest.mark.parametrize("failure", ["fail_after", "nan_after"])
def test_the_next_of_the_list_takes_over(failure: str, tmp_path: Path) -> None:
    """The call gets its rows, or an error: never wrong ones."""
    script = f"""
    texts, vectors = golden("bert-cls")
    found = {{}}
    for key, asked in CASES.items():
        FAILS = plug_in({failure}=5)
        before = len(logged)
        model = Embedder(FIXTURES / "bert-cls", provider=eval(asked))
        try:
            error = worst(model.encode(texts[0]), vectors[0])
        except InferenceError as raised:
            error = str(raised)
        placement = model.placement()
        found[key] = [
            error, placement.failures, [[event.provider, event.next] for event in placement.events],
            [event.message for event in placement.events], [session.provider for session in placement],
            [message for message in logged[before:] if message.startswith("the execution provider")],
        ]
    tell(found=found)
    """.replace("CASES", repr({key: asked for key, (asked, *_) in TAKES_OVER.items()}))
    for key, outcome in told(script, tmp_path)["found"].items():
        _, following, succeeds = TAKES_OVER[key]
        error, failures, events, messages, sessions, said = outcome
        reason = LOST if failure == "fail_after" else "not finite"
        if succeeds:
            assert error <= TOLERANCE, key
        else:
            assert reason in error
        # Of the CPU there is a session where it was needed, and else not.
        assert ("cpu" in sessions) == ("cpu" in following), key
        assert [after for _, after in events] == following, key
        assert failures == len(following) == len(said), key
        providers = [provider for provider, _ in events]
        assert providers == [NAME, *following[:-1]], key
        for provider, message, line in zip(providers, messages, said, strict=True):
            assert ("not installed" if provider == "cuda" else reason) in message
            assert message in line


def test_one_that_keeps_failing_is_left_alone(tmp_path: Path) -> None:
    found = told(
        """
        texts, vectors = golden("bert-cls")
        model = Embedder(FIXTURES / "bert-cls", provider=[plug_in(fail_every=1), "cpu"])
        errors = [worst(model.encode(text), vector) for text, vector in zip(texts[:20], vectors)]
        counts = plugin.counts()
        tell(error=max(errors), failures=model.placement().failures, counts=counts, logged=len(logged))
        """,
        tmp_path,
    )
    assert found["error"] <= TOLERANCE
    assert found["failures"] == 3
    assert provider_plugin.Counts(*found["counts"]).failures == 3
    assert provider_plugin.Counts(*found["counts"]).runs == 3


def test_what_is_wrong_with_a_text_is_not_the_providers_fault(tmp_path: Path) -> None:
    found = told(
        """
        from oxembed import OxembedError
        model = Embedder(FIXTURES / "bert-cls", provider=[plug_in(), "cpu"])
        raised = []
        for wrong in ({"truncation": "error"}, {"truncate_dim": 0}, {"prompt_name": "no such"}):
            try:
                model.encode("word " * 500, **wrong)
            except OxembedError as error:
                raised.append(type(error).__name__)
        placement = model.placement()
        tell(raised=raised, failures=placement.failures, sessions=[session.provider for session in placement],
             logged=logged)
        """,
        tmp_path,
    )
    assert len(found["raised"]) == 3
    assert (found["failures"], found["sessions"], found["logged"]) == (0, [NAME], [])


DEVICE_LOST = """
import asyncio

FOLDER = FIXTURES / "bert-cls"
golden_texts, vectors = golden("bert-cls")
# No two are equal: equal texts are computed once.
texts = [f"{number} {golden_texts[number % 60]}" for number in range(600)]
expected = cpu(FOLDER).encode(texts)
checked = worst(cpu(FOLDER).encode(golden_texts), vectors)
model = Embedder(FOLDER, provider=[plug_in(), "cpu"], threads=2)
model.encode(texts[:64])
errors, lost = {}, threading.Event()

def call(name, encode):
    # Calls until the device is lost, and one more: however late that is, calls meet with it.
    errors[name], last = [], False
    while not last:
        last = lost.is_set()
        errors[name].append(worst(encode(), expected))

async def aencode():
    parts = await asyncio.gather(*(model.aencode(texts[first : first + 100]) for first in range(0, 600, 100)))
    return np.concatenate(parts)

calls = {
    "encode": lambda: model.encode(texts),
    "encode_iter": lambda: np.concatenate(list(model.encode_iter(texts, batch_size=150))),
    "aencode": lambda: asyncio.run(aencode()),
}
threads = [threading.Thread(target=call, args=each) for each in calls.items()]
before = plugin.counts().runs
[thread.start() for thread in threads]
while plugin.counts().runs < before + 20:
    time.sleep(0.001)
plugin.lose_device()
lost.set()
[thread.join() for thread in threads]
placement = model.placement()
counts = plugin.counts()
# The device comes back, and is not asked before a minute has passed.
plugin.lose_device(False)
again = worst(model.encode(texts[:200]), expected[:200])
tell(
    errors=errors, checked=checked, again=again, failures=placement.failures, logged=logged,
    events=[[event.provider, event.next, event.message, event.texts] for event in placement.events],
    sessions=[session.provider for session in placement], counts=counts, after=plugin.counts(),
    fresh=worst(Embedder(FOLDER, provider=plug_in()).encode(golden_texts), vectors),
)
"""


def test_a_device_that_is_lost_loses_no_row(tmp_path: Path) -> None:
    found = told(DEVICE_LOST, tmp_path)
    counts, after = (provider_plugin.Counts(*found[name]) for name in ("counts", "after"))
    assert found["checked"] <= TOLERANCE
    assert set(found["errors"]) == {"encode", "encode_iter", "aencode"}
    assert max(max(each) for each in found["errors"].values()) <= TOLERANCE
    # Three times it was asked in vain, and by each of two workers once more while the third failure was on its way. Its
    # sessions cannot be made again, which the provider does not count.
    assert 3 <= found["failures"] <= 6
    assert len(found["events"]) == found["failures"]
    assert 1 <= counts.failures <= found["failures"]
    for provider, following, message, texts in found["events"]:
        assert (provider, following) == (NAME, "cpu")
        assert LOST in message
        assert texts >= 1
    assert sum(line.startswith("the execution provider") for line in found["logged"]) == found["failures"]
    assert "cpu" in found["sessions"]
    assert found["again"] <= TOLERANCE
    assert after.runs == counts.runs
    assert found["fresh"] <= TOLERANCE
