"""A provider across processes, threads and interrupts: children work, nothing is left, nothing hangs."""

from __future__ import annotations

import pickle
import sys
import textwrap
from pathlib import Path
from typing import Any

import provider_plugin
import pytest
from conftest import TOLERANCE
from provider_scripts import facts

from oxembed import providers

NAME = provider_plugin.NAME
needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")


def told(script: str, cache: Path, **others: Any) -> Any:
    return facts(textwrap.dedent(script), cache, **others)


# What is asked for, and the provider of the sessions in the child.
IN_CHILDREN = {"plug_in()": NAME, '[plug_in(fail_after=0), "cpu"]': "cpu", '[plug_in(refuse=1), "cpu"]': "cpu"}


@needs_fork
def test_a_fork_waits_for_a_session_that_is_being_made(tmp_path: Path) -> None:
    """Its locks would stay locked in the child, which would wait for them for ever in its own first session."""
    script = """
    before = plugin.counts()
    models = []
    load = lambda: models.append(Embedder(FIXTURES / "bert-cls", provider=plug_in(compile_ms=700)))
    loading = threading.Thread(target=load)
    loading.start()
    while plugin.counts().sessions == before.sessions:
        time.sleep(0.001)
    pid = os.fork()
    if pid == 0:
        # The counts are those of the moment of the fork.
        os._exit(0 if plugin.counts().live_kernels > before.live_kernels else 1)
    status = os.waitpid(pid, 0)[1]
    loading.join()
    texts, vectors = golden("bert-cls")
    tell(status=status, error=worst(models[0].encode(texts), vectors))
    """
    found = told(script, tmp_path)
    assert found["status"] == 0
    assert found["error"] <= TOLERANCE


@needs_fork
@pytest.mark.parametrize("asked", IN_CHILDREN)
def test_a_forked_child_works(asked: str, tmp_path: Path) -> None:
    """Also one that was forked while a thread of its parent was in the middle of a call."""
    script = f"""
    import logging
    texts, vectors = golden("bert-cls")
    model = Embedder(FIXTURES / "bert-cls", provider={asked})
    errors = [worst(model.encode(texts), vectors)]
    busy = threading.Thread(target=lambda: [model.encode(texts) for _ in range(20)])
    busy.start()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        again = Embedder(FIXTURES / "bert-cls", provider={asked})
        found = [
            worst(model.encode(texts), vectors), worst(again.encode(texts), vectors),
            [session.provider for session in model.placement()][-1],
        ]
        os.write(writing, json.dumps(found).encode())
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    busy.join()
    errors.append(worst(model.encode(texts), vectors))
    tell(status=status, child=json.loads(os.read(reading, 10_000)), errors=errors)
    """
    found = told(script, tmp_path)
    assert found["status"] == 0
    inherited, loaded, provider = found["child"]
    assert max(inherited, loaded, *found["errors"]) <= TOLERANCE
    assert provider == IN_CHILDREN[asked]


def test_a_pickled_model_has_its_providers(tmp_path: Path) -> None:
    script = """
    import pickle
    texts, vectors = golden("bert-cls")
    model = Embedder(FIXTURES / "bert-cls", provider=[plug_in(0.3, max_sessions=2, nan_after=0), plug_in(), "cpu"])
    again = pickle.loads(pickle.dumps(model))
    errors = [worst(each.encode(texts), vectors) for each in (model, again)]
    tell(errors=errors, events=[[event.next for event in each.placement().events] for each in (model, again)],
         same=repr(model) == repr(again))
    """
    found = told(script, tmp_path)
    assert max(found["errors"]) <= TOLERANCE
    first, again = found["events"]
    assert set(first) == set(again) == {NAME}
    assert found["same"]
    asked = providers.PlugIn(name=NAME, minimum_share=0.3, options={"wrong": 1})
    assert pickle.loads(pickle.dumps(asked)) == asked


INTERRUPTED = """
import signal
folder = FIXTURES / "bert-cls"
# A run is of twelve calls: a third of a second.
model = Embedder(folder, provider=[plug_in(slow_ms=30), "cpu"], threads=2)
texts = [f"text number {number}" for number in range(6000)]
before, expected = model.encode("still the same"), cpu(folder).encode(texts[:2])
runs, more, begun = [], [], threading.Event()

def interrupt(delay):
    begun.wait()
    time.sleep(delay)
    runs.append(plugin.counts().runs)
    os.kill(os.getpid(), signal.SIGINT)

for delay in (0.2, 0.7):
    begun.clear()
    threading.Thread(target=interrupt, args=(delay,)).start()
    try:
        begun.set()
        model.encode(texts)
    except KeyboardInterrupt:
        more.append(plugin.counts().runs - runs[-1])
placement = model.placement()
tell(more=more, same=bool((model.encode("still the same") == before).all()), failures=placement.failures,
     error=worst(model.encode(texts[:2]), expected), logged=logged)
"""


@needs_signals
def test_an_interrupt_is_no_failure(tmp_path: Path) -> None:
    found = told(INTERRUPTED, tmp_path)
    assert len(found["more"]) == 2
    # All of them are ninety and more, by two workers.
    assert max(found["more"]) < 12, "it went on for more than two seconds"
    assert (found["same"], found["failures"], found["logged"]) == (True, 0, [])
    assert found["error"] <= TOLERANCE


@needs_signals
def test_an_interrupt_in_the_first_call_is_raised(tmp_path: Path) -> None:
    """A call of one batch runs to its end; its rows are the first that the process makes."""
    script = """
    import signal
    # A run is of twelve calls: three seconds.
    model = Embedder(FIXTURES / "bert-cls", provider=plug_in(slow_ms=250))
    before = plugin.counts().runs

    def interrupt():
        while plugin.counts().runs == before:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    try:
        model.encode("one text")
        outcome = "rows"
    except KeyboardInterrupt:
        outcome = "interrupted"
    texts, vectors = golden("bert-cls")
    tell(outcome=outcome, error=worst(model.encode(texts[:1]), vectors[:1]), failures=model.placement().failures)
    """
    found = told(script, tmp_path)
    assert (found["outcome"], found["failures"]) == ("interrupted", 0)
    assert found["error"] <= TOLERANCE


def test_models_that_are_dropped_leave_nothing_behind(tmp_path: Path) -> None:
    """While calls run, while rows are being taken one after the other, and while a task is cancelled."""
    script = """
    import asyncio, gc
    texts, vectors = golden("bert-cls")

    def dropped():
        model = Embedder(FIXTURES / "bert-cls", provider=[plug_in(fail_rate=0.01), "cpu"])
        errors = []
        threads = [
            threading.Thread(target=lambda model=model: errors.append(worst(model.encode(texts * 20), vectors_of_all)))
            for _ in range(3)
        ]
        [thread.start() for thread in threads]
        rows = model.encode_iter([f"{number}" for number in range(2000)], batch_size=50)
        next(rows)

        async def cancelled():
            # As many as take a minute: they are not done when the loop comes to cancel them, however late that is.
            task = asyncio.create_task(model.aencode([f"{number}" for number in range(200_000)]))
            await asyncio.sleep(0.02)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                return "cancelled"

        outcome = asyncio.run(cancelled())
        del model, rows
        [thread.join() for thread in threads]
        return errors, outcome

    vectors_of_all = np.tile(vectors, (20, 1))
    found = [dropped() for _ in range(3)]
    gc.collect()
    start = time.monotonic()
    while plugin.counts().live_sessions and time.monotonic() < start + 60:
        time.sleep(0.01)
    tell(found=found, left=plugin.counts())
    """
    found = told(script, tmp_path)
    left = provider_plugin.Counts(*found["left"])
    assert (left.live_sessions, left.live_kernels) == (0, 0)
    for errors, outcome in found["found"]:
        assert len(errors) == 3
        assert max(errors) <= TOLERANCE
        assert outcome == "cancelled"


def test_fifty_loads_and_drops_leave_nothing_behind(tmp_path: Path) -> None:
    script = """
    import psutil
    texts, vectors = golden("bert-cls")
    asked = [plug_in(), [plug_in(fail_after=0), "cpu"], [plug_in(refuse=1), "cpu"], "auto", plug_in(max_sessions=1)]
    errors, live, memory = [], [], []
    for number in range(50):
        model = Embedder(FIXTURES / "bert-cls", provider=asked[number % len(asked)])
        errors.append(worst(model.encode(texts[:20]), vectors[:20]))
        del model
        live.append(plugin.counts().live_sessions)
        memory.append(psutil.Process().memory_info().rss)
    tell(error=max(errors), live=max(live), kernels=plugin.counts().live_kernels, sessions=plugin.counts().sessions,
         memory=[memory[19], memory[-1]])
    """
    found = told(script, tmp_path)
    assert found["error"] <= TOLERANCE
    assert (found["live"], found["kernels"]) == (0, 0)
    assert found["sessions"] > 50
    early, late = found["memory"]
    assert late - early < 32 << 20


def test_threads_that_load_at_the_same_time(tmp_path: Path) -> None:
    """The plug-in is registered once, the trial is held at most by some, and each model is right."""
    script = """
    texts, vectors = golden("bert-cls")
    asked = [plug_in(), "auto", [plug_in(fail_after=30), "cpu"], NAME] * 2
    errors, start = [], threading.Barrier(len(asked))

    def load(provider):
        start.wait()
        errors.append(worst(Embedder(FIXTURES / "bert-cls", provider=provider).encode(texts), vectors))

    threads = [threading.Thread(target=load, args=(provider,)) for provider in asked]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    tell(errors=errors, left=plugin.counts().live_sessions)
    """
    found = told(script, tmp_path)
    assert len(found["errors"]) == 8
    assert max(found["errors"]) <= TOLERANCE
    assert found["left"] == 0


def test_the_interpreter_ends_in_the_middle_of_a_call(tmp_path: Path) -> None:
    script = """
    model = Embedder(FIXTURES / "bert-cls", provider=plug_in(slow_ms=5))
    endless = lambda: [model.encode([f"{number}" for number in range(1000)]) for _ in range(1000)]
    threads = [threading.Thread(target=endless, daemon=True) for _ in range(3)]
    [thread.start() for thread in threads]
    while plugin.counts().runs < 5:
        time.sleep(0.01)
    tell(alive=[thread.is_alive() for thread in threads])
    """
    assert told(script, tmp_path)["alive"] == [True] * 3


def test_other_threads_go_on_while_one_asks_for_the_placement(tmp_path: Path) -> None:
    """It waits for the run that is going on, which may be a compilation of minutes; the interpreter does not."""
    script = """
    # A run is of twelve calls: a second and a half.
    model = Embedder(FIXTURES / "bert-cls", provider=plug_in(slow_ms=120))
    call = threading.Thread(target=lambda: model.encode("a text"))
    asks = threading.Thread(target=model.placement)
    call.start()
    while plugin.counts().runs == 0:
        time.sleep(0.001)
    asks.start()
    # Calls of the run between two turns of this thread: seconds pass for a machine that stands still, too.
    between, last = [], plugin.counts().calls
    while call.is_alive():
        time.sleep(0.005)
        between.append(plugin.counts().calls - last)
        last += between[-1]
    asks.join()
    tell(most=max(between), turns=len(between))
    """
    found = told(script, tmp_path)
    assert found["most"] < 8
    assert found["turns"] > 10
