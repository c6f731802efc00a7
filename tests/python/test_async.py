"""`aencode`: the same vectors, an event loop that goes on, and cancellation that stops the work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from conftest import TOLERANCE, Golden

from oxembed import Embedder, InvalidInputError

pytestmark = pytest.mark.asyncio

MANY = [f"text number {number} of a long call that takes many seconds to finish" for number in range(200_000)]


async def test_same_as_golden(small: Embedder, golden: Golden) -> None:
    vectors = await small.aencode(golden.texts)
    np.testing.assert_allclose(vectors, golden.vectors["embeddings"], atol=TOLERANCE, rtol=0)
    one = await small.aencode(golden.texts[0], prompt_name="query")
    np.testing.assert_allclose(one, golden.vectors["prompt_query"][0], atol=TOLERANCE, rtol=0)


async def test_event_loop_is_never_blocked(embedder: Embedder) -> None:
    """By what is done between two turns of the loop: seconds pass for a machine that stands still, too."""
    done = [embedder.stage_times().batches]

    async def tick() -> None:
        while True:
            await asyncio.sleep(0.005)
            done.append(embedder.stage_times().batches)

    ticking = asyncio.create_task(tick())
    await embedder.aencode(MANY[:1_000])
    ticking.cancel()
    done.append(embedder.stage_times().batches)
    batches = done[-1] - done[0]
    assert batches >= 20
    assert max(after - before for before, after in pairwise(done)) < batches / 3


async def test_many_at_once(small: Embedder, golden: Golden) -> None:
    vectors = await asyncio.gather(*(small.aencode(text) for text in golden.texts))
    np.testing.assert_allclose(np.stack(vectors), golden.vectors["embeddings"], atol=TOLERANCE, rtol=0)


async def test_cancellation_reaches_the_caller_and_stops_the_work(embedder: Embedder) -> None:
    before = embedder.stage_times().batches
    task = asyncio.create_task(embedder.aencode(MANY))
    while embedder.stage_times().batches == before:
        assert not task.done()
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.get_running_loop().shutdown_default_executor()
    # A batch takes 512 tokens, and a text has more than ten: all of them are thousands.
    assert embedder.stage_times().batches - before < 300, "the thread went on working"


async def test_timeout(embedder: Embedder) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(embedder.aencode(MANY), timeout=0.3)
    assert (await embedder.aencode("still usable")).shape == (embedder.dimension,)


async def test_list_is_copied_before_the_first_wait(small: Embedder) -> None:
    texts = ["one", "two", "three"]
    task = asyncio.create_task(small.aencode(texts))
    await asyncio.sleep(0)
    texts.clear()
    assert (await task).shape == (3, small.dimension)


async def test_generator_is_consumed_outside_the_event_loop(small: Embedder) -> None:
    threads: set[int] = set()

    def texts() -> Iterator[str]:
        for text in ("one", "two"):
            threads.add(threading.get_ident())
            yield text

    assert (await small.aencode(texts())).shape == (2, small.dimension)
    assert threading.get_ident() not in threads


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"precision": "int8"}, InvalidInputError),
        ({"truncate_dim": 0}, InvalidInputError),
        ({"convert_to_tensor": True}, InvalidInputError),
        ({"no_such_keyword": 1}, TypeError),
        ({"prompt_name": 3}, TypeError),
    ],
)
async def test_bad_options(small: Embedder, arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        await small.aencode("text", **arguments)


async def test_bad_texts_name_their_index(small: Embedder) -> None:
    with pytest.raises(TypeError, match="2"):
        await small.aencode(["a", "b", 3])  # type: ignore[list-item]
    with pytest.raises(InvalidInputError, match="1"):
        await small.aencode(["a", "\ud800"])


async def test_sentences_keyword(small: Embedder) -> None:
    assert (await small.aencode(sentences=["a"], precision="ubinary")).dtype == np.uint8
