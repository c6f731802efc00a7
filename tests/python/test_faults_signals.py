"""Signals in the middle of a call: the handler runs, what it raises comes out of it, and the next call is right."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from faults import on_unix, told

pytestmark = on_unix

# The call takes minutes unless something stops it.
CALLS = {
    "encode": "embedder.encode(many)",
    "encode_iter": "for _ in embedder.encode_iter(many, chunk_size=64): pass",
    "count_tokens": "embedder.count_tokens(many)",
    "one long text": "embedder.encode(['word ' * 3_000_000])",
}

SCRIPT = """
class Stop(Exception):
    pass

def handler(number, _):
    seen.append(number)
    if len(seen) == wanted:  # once: the next one may come when nobody expects it any more
        raise Stop(number)

logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # in its debug mode it tells of slow steps
seen, wanted, begun = [], 1, threading.Event()
embedder = model()
before = embedder.encode("the same")
words = "a text of some words that is one of very many "
many = [words * (1 + number % 5) + str(number) for number in range(300_000)]

def interrupted():
    "What came of a call that a signal is sent into."
    try:
        begun.set()
        CALL
    except Stop as error:
        return error.args[0]
    return "came to its end"

def later(number, seconds):
    "Sends a signal so long after the call has begun: one that came before would be raised where nobody expects it."
    begun.clear()
    def send():
        begun.wait()
        time.sleep(seconds)
        os.kill(os.getpid(), number)
    threading.Thread(target=send).start()
"""


def said(call: str, script: str) -> Any:
    return told(SCRIPT.replace("CALL", CALLS[call]) + textwrap.dedent(script), call)


@pytest.mark.parametrize("call", ["encode", "encode_iter", "count_tokens"])
def test_a_handler_that_raises(call: str) -> None:
    """SIGTERM, and the others that a process may get."""
    script = """
    found = []
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
        seen.clear()
        signal.signal(number, handler)
        later(number, 0.3)
        found.append(interrupted() == number)
    tell(found=found, same=bool((embedder.encode("the same") == before).all()))
    """
    assert said(call, script) == {"found": [True] * 3, "same": True}


@pytest.mark.parametrize("call", ["encode", "encode_iter"])
def test_a_storm_of_alarms(call: str) -> None:
    """A thousand a second, which break into every system call: the call goes on until a handler raises."""
    script = """
    wanted = 40
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    found = interrupted()
    signal.signal(signal.SIGALRM, lambda *_: seen.append(0))
    rows, calls = [], len(seen)
    for number in range(30):
        rows.append(embedder.encode("the same"))
    chunks = [chunk for chunk in embedder.encode_iter(["the same"] * 10, chunk_size=1)]
    signal.setitimer(signal.ITIMER_REAL, 0)
    same = all(bool((row == before).all()) for row in rows + chunks)
    tell(found=found == signal.SIGALRM, seen=len(seen) > 40, same=same)
    """
    assert said(call, script) == {"found": True, "seen": True, "same": True}


def test_loading_in_a_storm_of_alarms() -> None:
    script = """
    wanted = 10**9
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    loaded = [model() for _ in range(3)] + [model(dtype="float32")]
    agree = [right(each) for each in loaded]
    signal.setitimer(signal.ITIMER_REAL, 0)
    tell(agree=agree, seen=len(seen) > 0)
    """
    assert said("encode", script) == {"agree": [True] * 4, "seen": True}


def test_children_that_end_meanwhile() -> None:
    """SIGCHLD with a handler that returns: the call comes to its end."""
    script = """
    import subprocess
    wanted = 10**9
    signal.signal(signal.SIGCHLD, handler)
    children = [subprocess.Popen(["sleep", str(0.05 * number)]) for number in range(8)]
    rows = embedder.encode(many[:600])
    same = bool((rows[::60] == np.stack([embedder.encode(text) for text in many[:600:60]])).all())
    for child in children:
        child.wait()
    tell(seen=seen[:1] == [signal.SIGCHLD], same=same)
    """
    assert said("encode", script) == {"seen": True, "same": True}


def test_stopped_and_continued() -> None:
    script = """
    import subprocess
    def stop():
        # From outside: a stopped process cannot continue itself.
        turn = f"kill -STOP {os.getpid()}; sleep 0.1; kill -CONT {os.getpid()}; sleep 0.05"
        return subprocess.Popen(["sh", "-c", f"for i in 1 2 3 4 5; do {turn}; done"])
    alone = embedder.encode(many[:600])
    stopping = stop()
    rows = [embedder.encode(many[:600]) for _ in range(2)]
    chunks = np.concatenate(list(embedder.encode_iter(many[:600], chunk_size=50)))
    stopping.wait()
    tell(same=all(bool((each == alone).all()) for each in [*rows, chunks]))
    """
    assert said("encode", script) == {"same": True}


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_aencode(number: str) -> None:
    """The event loop's own handlers run while calls are waited for, and a task that is cancelled so stops its call."""
    script = f"""
    import asyncio

    async def work():
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(embedder.aencode(many))
        loop.add_signal_handler(signal.{number}, task.cancel)
        loop.call_later(0.5, os.kill, os.getpid(), signal.{number})
        try:
            await task
            found = "rows"
        except asyncio.CancelledError:
            found = "cancelled"
        after = await embedder.aencode("the same")
        return found, bool((after == before).all())

    tell(found=asyncio.run(work()))
    """
    assert said("encode", script) == {"found": ["cancelled", True]}


def test_ctrl_c_in_asyncio_run() -> None:
    script = """
    import asyncio

    async def work():
        begun.set()
        await embedder.aencode(many)

    later(signal.SIGINT, 0.5)
    try:
        asyncio.run(work())
        found = "rows"
    except KeyboardInterrupt:
        found = "interrupted"
    tell(found=found, same=bool((asyncio.run(embedder.aencode("the same")) == before).all()))
    """
    assert said("encode", script) == {"found": "interrupted", "same": True}


def test_a_signal_beside_threads_with_calls() -> None:
    """Only the main thread's call ends; the calls of the others are right."""
    script = """
    signal.signal(signal.SIGUSR1, handler)
    rows = []
    alone = embedder.encode(many[:300])
    threads = [threading.Thread(target=lambda: rows.append(embedder.encode(many[:300]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    later(signal.SIGUSR1, 0.2)
    found = interrupted()
    for thread in threads:
        thread.join()
    tell(found=found == signal.SIGUSR1, same=[bool((each == alone).all()) for each in rows])
    """
    assert said("encode", script) == {"found": True, "same": [True] * 4}
