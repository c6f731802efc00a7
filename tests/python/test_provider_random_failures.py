"""Ten thousand calls while a provider fails and gives NaN at random: every row is right, every failure is recorded."""

from __future__ import annotations

from pathlib import Path

import provider_plugin
from conftest import TOLERANCE
from provider_scripts import facts

CALLS = 10_000
REMEMBERED = 100
# Of a run, with twelve nodes on the provider: one in thirty.
RATES = {"fail_rate": "0.0017", "nan_rate": "0.0011"}

# A provider that fails three times on end is left alone for a minute, which happens to one model in fifteen: so there
# are several.
SCRIPT = f"""
import random, resource
import psutil

texts, vectors = golden("bert-cls")
models = [
    Embedder(FIXTURES / "bert-cls", provider=[plug_in(max_sessions=12, seed=number, **{RATES}), "cpu"])
    for number in range(4)
]
worst_of_all, rows, memory, most_sessions = [], [], [], []
done = 0

def calls(number, count):
    generator = random.Random(number)
    model, errors, placed = models[number % len(models)], [], 0
    for _ in range(count):
        # Single texts mostly, each for its own; else a small batch, with one text twice now and then.
        chosen = generator.choices(range(len(texts)), k=1 if generator.random() < 0.9 else generator.randint(2, 6))
        errors.append(worst(model.encode([texts[text] for text in chosen]), vectors[chosen]))
        placed += len(chosen)
    worst_of_all.append(max(errors))
    rows.append(placed)

for half in range(2):
    threads = [threading.Thread(target=calls, args=(half * 8 + number, {CALLS} // 16)) for number in range(8)]
    [thread.start() for thread in threads]
    while any(thread.is_alive() for thread in threads):
        most_sessions.append(plugin.counts().live_sessions)
        time.sleep(0.05)
    memory.append(psutil.Process().memory_info().rss)
placements = [model.placement() for model in models]
live, counts = plugin.counts().live_sessions, plugin.counts()
said = [message for message in logged if message.startswith("the execution provider")]
del models
tell(
    worst=max(worst_of_all), rows=sum(rows), threads=len(rows), memory=memory, most_sessions=max(most_sessions),
    counts=counts, live=live, left=plugin.counts().live_sessions, logged=len(said),
    failures=[placement.failures for placement in placements],
    events=[[[e.provider, e.next, e.message, e.texts, e.unix_time] for e in p.events] for p in placements],
)
"""


def test_every_row_of_ten_thousand_calls_is_right(tmp_path: Path) -> None:
    told = facts(SCRIPT, tmp_path, timeout=600)
    counts = provider_plugin.Counts(*told["counts"])
    assert (told["threads"], told["rows"] > CALLS) == (16, True)
    assert told["worst"] <= TOLERANCE
    # Every failure is recorded and logged, and nothing but failures.
    assert sum(told["failures"]) == counts.failures + counts.nan_runs
    assert told["logged"] == sum(told["failures"])
    assert min(counts.failures, counts.nan_runs) >= 30
    # Three hundred and thirty of ten thousand calls, fewer where models are left alone.
    assert 80 <= sum(told["failures"]) <= 500
    for failures, events in zip(told["failures"], told["events"], strict=True):
        assert len(events) == min(failures, REMEMBERED)
        times = [time for *_, time in events]
        assert times == sorted(times)
        for provider, following, message, texts, _ in events:
            assert (provider, following) == (provider_plugin.NAME, "cpu")
            assert 1 <= texts <= 64
            assert ("device lost (test)" in message) != ("not finite" in message)
    # One may be made while another is still being given up.
    assert told["most_sessions"] <= 4 * 12
    assert told["live"] <= 4 * 12
    assert told["left"] == 0
    half, whole = told["memory"]
    assert whole - half < 48 << 20


def test_the_last_failures_are_remembered(tmp_path: Path) -> None:
    """A provider that was asked for alone is asked again every time, and each of its failures is an error of a call."""
    script = """
    model = Embedder(FIXTURES / "bert-cls", provider=plug_in(fail_every=1))
    raised, start = 0, time.time()
    for number in range(130):
        try:
            model.encode("one text")
        except InferenceError as error:
            raised += "device lost (test)" in str(error)
    placement = model.placement()
    events = placement.events
    tell(raised=raised, failures=placement.failures, events=len(events), nexts=[event.next for event in events],
         count=plugin.counts().failures, logged=len(logged),
         times=[event.unix_time for event in events], start=start, now=time.time())
    """
    told = facts(script.replace("\n    ", "\n"), tmp_path)
    assert told["raised"] == told["failures"] == told["count"] == told["logged"] == 130
    assert told["events"] == REMEMBERED
    assert set(told["nexts"]) == {None}
    assert told["times"] == sorted(told["times"])
    assert told["start"] <= told["times"][0] <= told["times"][-1] <= told["now"]
