"""Other processes: spawned and forked by multiprocessing, and forked by hand while threads are in calls."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import select
import signal
import traceback
import warnings
from typing import TYPE_CHECKING, Any

import calls
from tally import Tally

if TYPE_CHECKING:
    from truth import Truth

    from oxembed import Embedder

LIMIT_S = 120
CALLS = 6
FORKS = hasattr(os, "fork")


class ChildError(AssertionError):
    """A child failed, hung, or died."""


def work(models: dict[str, Embedder], truth: Truth, seed: str, kinds: str) -> tuple[dict[str, int], int]:
    """Make calls in this process; returns what `Tally.merge` takes."""
    logging.getLogger("oxembed").setLevel(logging.ERROR)
    tally, chance = Tally(), random.Random(seed)
    for _ in range(CALLS):
        calls.make(models, truth, chance, tally, calls.KINDS if kinds == "all" else calls.LIGHT)
    return dict(tally.counts), tally.texts


def pooled(method: str, models: dict[str, Embedder], truth: Truth, seed: str, tally: Tally) -> None:
    """A pool of two processes, with the embedders sent to them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what is tested
        with multiprocessing.get_context(method).Pool(2) as pool:
            jobs = [pool.apply_async(work, (models, truth, f"{seed}/{number}", "light")) for number in range(2)]
            for job in jobs:
                tally.merge(*job.get(LIMIT_S))
            pool.close()
            pool.join()
    tally.add(f"processes, {method}", times=2)


def forked(models: dict[str, Embedder], truth: Truth, seed: str, tally: Tally) -> None:
    """A fork of this process as it is; the child uses the embedders it inherited, and loads others."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _child(models, truth, seed, writing)
    os.close(writing)
    try:
        told = _answer(reading, child)
    finally:
        os.close(reading)
        status = os.waitpid(child, 0)[1]
    if status != 0 or "error" in told:
        raise ChildError(f"a forked child ended with status {status}: {told.get('error', 'it said nothing')}")
    tally.merge(told["counts"], told["texts"])
    tally.add("processes, forked in the middle of calls")


def _child(models: dict[str, Embedder], truth: Truth, seed: str, writing: int) -> None:
    told: dict[str, Any] = {}
    try:
        counts, texts = work(models, truth, seed, "all")
        told = {"counts": counts, "texts": texts}
    except BaseException:
        told = {"error": traceback.format_exc()[-3000:]}
    os.write(writing, json.dumps(told).encode()[:60_000])
    os._exit(0)


def _answer(reading: int, child: int) -> dict[str, Any]:
    if not select.select([reading], [], [], LIMIT_S)[0]:
        os.kill(child, signal.SIGABRT)
        return {"error": f"it did not end in {LIMIT_S} seconds"}
    with os.fdopen(os.dup(reading), "rb") as stream:
        answer = stream.read()
    told: dict[str, Any] = json.loads(answer) if answer else {"error": "it died without a word"}
    return told
