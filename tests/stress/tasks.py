"""asyncio: gathered calls, cancelled tasks and time limits, in an event loop of their own."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tally import Tally
    from truth import Truth

    from oxembed import Embedder


async def _gathered(model: Embedder, dtype: str, truth: Truth, chance: random.Random, tally: Tally) -> None:
    draws = [chance.choices(range(len(truth.texts)), k=chance.randint(1, 6)) for _ in range(chance.randint(2, 24))]
    calls = [model.aencode([truth.texts[number] for number in numbers]) for numbers in draws]
    for numbers, rows in zip(draws, await asyncio.gather(*calls), strict=True):
        truth.check(dtype, numbers, rows, "aencode")
        tally.add("aencode", len(numbers))


async def _cancelled(model: Embedder, truth: Truth, chance: random.Random, tally: Tally) -> None:
    call = asyncio.ensure_future(model.aencode(truth.many))
    await asyncio.sleep(chance.random() * 0.1)
    call.cancel()
    try:
        await call
    except asyncio.CancelledError:
        tally.add("aencode, cancelled")
    else:
        raise AssertionError("a cancelled task came to its end")


async def _timed_out(model: Embedder, truth: Truth, chance: random.Random, tally: Tally) -> None:
    try:
        await asyncio.wait_for(model.aencode(truth.many), chance.random() * 0.05)
    except TimeoutError:
        tally.add("aencode, timed out")
    else:
        raise AssertionError("a call of thousands of texts took less than its time limit")


async def _mixed(models: dict[str, Embedder], truth: Truth, chance: random.Random, tally: Tally, until: float) -> None:
    turn = 0
    while turn == 0 or (time.monotonic() < until and not tally.failed.is_set()):
        turn += 1
        dtype = chance.choice(list(models))
        await _gathered(models[dtype], dtype, truth, chance, tally)
        await _cancelled(models[dtype], truth, chance, tally)
        await _timed_out(models[dtype], truth, chance, tally)


def run(models: dict[str, Embedder], truth: Truth, chance: random.Random, tally: Tally, until: float) -> None:
    """Make calls from tasks until the time is over."""
    asyncio.run(_mixed(models, truth, chance, tally, until))
