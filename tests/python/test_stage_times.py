"""What an embedder says its time went into: counts against the texts, and processes that begin anew."""

from __future__ import annotations

import json
import pickle
import sys
import threading
import time
from dataclasses import FrozenInstanceError, fields

import pytest
from conftest import FIXTURES, run_python

from oxembed import Embedder, StageTimes

MODEL = str(FIXTURES / "bert-cls")
COUNTS = ("calls", "texts", "truncated_texts", "batches", "tokens", "padded_tokens")
TIMES = ("tokenize", "plan", "copy", "run", "pool", "wait")


def texts(first: int, count: int = 300) -> list[str]:
    return [f"{number} " + "some more words " * (number % 17) for number in range(first, first + count)]


def test_counts_of_many_threads_are_those_of_the_texts() -> None:
    model = Embedder(MODEL, provider="cpu", threads=2, max_seq_length=24)
    calls = [texts(1_000 * caller) for caller in range(5)]
    start = time.perf_counter()
    threads = [threading.Thread(target=model.encode, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    times = model.stage_times()
    whole = [length for call in calls for length in model.count_tokens(call)]
    assert (times.calls, times.texts) == (5, 1_500)
    assert times.truncated_texts == sum(length > 24 for length in whole)
    assert times.tokens == sum(min(length, 24) for length in whole)
    assert times.tokens <= times.padded_tokens <= 512 * times.batches
    assert times.copy + times.run <= 2 * elapsed
    assert all(getattr(times, name) > 0 for name in ("tokenize", "plan", "copy", "run", "pool"))


def test_the_difference_of_two_moments_is_what_came_between() -> None:
    model = Embedder(MODEL, provider="cpu", threads=1)
    model.encode(["first", "second"])
    before = model.stage_times()
    model.encode(["third", "third", ""])
    spent = model.stage_times() - before
    assert (spent.calls, spent.texts, spent.batches) == (1, 3, 1)
    assert spent.tokens == sum(model.count_tokens(["third", ""])), "equal texts are computed once"
    assert spent.wait == 0, "nobody else was there"
    with pytest.raises(TypeError):
        _ = before - 1  # type: ignore[operator]


def test_it_is_frozen_and_json() -> None:
    times = Embedder(MODEL, provider="cpu").stage_times()
    assert tuple(one.name for one in fields(StageTimes)) == (*COUNTS, *TIMES)
    assert json.loads(json.dumps(times.as_dict())) == dict.fromkeys(COUNTS, 0) | dict.fromkeys(TIMES, 0.0)
    with pytest.raises(FrozenInstanceError):
        times.texts = 1  # type: ignore[misc]


def test_tokens_that_are_only_counted_are_nobodys_work() -> None:
    model = Embedder(MODEL, provider="cpu")
    model.tokenize(["one", "two"])
    model.count_tokens(["one"])
    assert model.stage_times() == Embedder(MODEL, provider="cpu").stage_times()


def test_an_unpickled_copy_counts_for_itself() -> None:
    model = Embedder(MODEL, provider="cpu")
    model.encode("one")
    copy: Embedder = pickle.loads(pickle.dumps(model))
    assert copy.stage_times().calls == 0
    copy.encode(["two", "three"])
    assert (copy.stage_times().texts, model.stage_times().texts) == (2, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_forked_child_counts_for_itself() -> None:
    done = run_python(
        f"""
        import os
        from oxembed import Embedder
        model = Embedder({MODEL!r}, provider="cpu", threads=1)
        model.encode(["one", "two"])
        child = os.fork()
        if child == 0:
            before = model.stage_times().texts
            model.encode("three")
            os._exit(0 if (before, model.stage_times().texts) == (0, 1) else 1)
        print(os.waitpid(child, 0)[1], model.stage_times().texts)
        """
    )
    assert (done.stdout.split(), done.stderr) == (["0", "2"], "")
