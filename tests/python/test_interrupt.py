"""Ctrl-C stops a long call within a second, and the next call works.

Seconds are those of the processor: for a process that gets none, because others have it, any second passes.
"""

from __future__ import annotations

import sys

import pytest
from conftest import run_python

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")

SCRIPT = """
    import signal, threading, time, os
    from oxembed import Embedder

    model = Embedder(threads=2)
    before = model.encode("still the same")
    texts = [f"text number {number} of a long call that takes many seconds" for number in range(300_000)]
    sent, begun = [], threading.Event()

    def interrupt(delay):
        begun.wait()
        time.sleep(delay)
        sent.append(time.process_time())
        os.kill(os.getpid(), signal.SIGINT)

    def long_call():
        CALL

    for delay in (0.2, 1.0):
        begun.clear()
        threading.Thread(target=interrupt, args=(delay,)).start()
        try:
            begun.set()
            long_call()
        except KeyboardInterrupt:
            took = (time.process_time() - sent[-1]) / 2  # of each thread
            assert took < 1.0, f"took {took:.2f} s"
            print("interrupted")
        else:
            print("not interrupted")
    assert (model.encode("still the same") == before).all()
    print("works")
"""


@pytest.mark.parametrize(
    "call",
    [
        "model.encode(texts)",
        "model.encode(texts, show_progress_bar=False)",
        "for _ in model.encode_iter(texts): pass",
        "model.embed_batch(__import__('oxembed').BatchEmbeddingRequest('all-MiniLM-L6-v2', texts), max_inputs=10**6)",
    ],
)
def test_stops_within_a_second_and_works_again(call: str) -> None:
    done = run_python(SCRIPT.replace("CALL", call))
    assert (done.stdout.split(), done.stderr, done.returncode) == (["interrupted", "interrupted", "works"], "", 0)


def test_other_signal_handlers_run_meanwhile() -> None:
    done = run_python(
        """
        import signal, threading, time, os
        from oxembed import Embedder

        class Stop(Exception):
            pass

        def handler(*_):
            raise Stop

        signal.signal(signal.SIGUSR1, handler)
        def send():
            begun.wait()
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGUSR1)

        model, begun = Embedder(), threading.Event()
        texts = [f"text number {number}" for number in range(300_000)]
        threading.Thread(target=send).start()
        try:
            begun.set()
            model.encode(texts)
        except Stop:
            print("stopped")
        """
    )
    assert (done.stdout.split(), done.stderr, done.returncode) == (["stopped"], "", 0)


def test_process_without_a_handler_dies_of_ctrl_c_as_usual() -> None:
    done = run_python(
        """
        import threading, time, os, signal
        from oxembed import Embedder

        def send():
            begun.wait()
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)

        model, begun = Embedder(), threading.Event()
        texts = [f"text number {number}" for number in range(300_000)]
        threading.Thread(target=send).start()
        begun.set()
        model.encode(texts)
        """
    )
    assert done.returncode == -2
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")
