"""Embedders across processes and at interpreter exit: pickle, spawn, fork, daemon threads.

Each case runs in a fresh interpreter, because what is tested is how a process forks and ends.
"""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import FIXTURES, PATIENCE, run_python

from oxembed import Embedder

needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
TEXTS = ["one", "a second text", ""]


def assert_silent(done: subprocess.CompletedProcess[str], *output: str) -> None:
    assert (done.stdout.split(), done.stderr, done.returncode) == (list(output), "", 0)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_gives_the_same_vectors(small: Embedder, protocol: int) -> None:
    again = pickle.loads(pickle.dumps(small, protocol))
    assert again is not small
    np.testing.assert_array_equal(again.encode(TEXTS), small.encode(TEXTS))


def test_pickle_keeps_the_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FIXTURES)
    model = Embedder("bert-cls", provider=["cpu"], threads=1, max_seq_length=16, truncate_dim=8, token="secret")
    stored = pickle.dumps(model)
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(stored)
    assert (again.max_seq_length, again.dimension) == (16, 8)
    assert repr(again) == repr(model)
    np.testing.assert_array_equal(again.encode(TEXTS), model.encode(TEXTS))
    assert b"secret" not in stored
    assert "secret" not in repr(model)


def test_copies_share_the_model(small: Embedder) -> None:
    assert copy.copy(small) is small
    assert copy.deepcopy({"model": small})["model"] is small


def test_spawn(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing as mp\n"
        "from oxembed import Embedder\n"
        "def work(model):\n"
        "    return model.encode(['one', 'two']).tolist()\n"
        "if __name__ == '__main__':\n"
        "    model = Embedder()\n"
        "    with mp.get_context('spawn').Pool(1) as pool:\n"
        "        assert pool.apply(work, (model,)) == model.encode(['one', 'two']).tolist()\n"
        "        pool.close()\n"
        "        pool.join()\n"
        "    print('same')\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert_silent(done, "same")


@needs_fork
@pytest.mark.parametrize("ending", ["os._exit(0)", "sys.exit(0)", "pass"])
def test_fork_then_encode_in_both(ending: str) -> None:
    done = run_python(
        f"""
        import os, sys
        from oxembed import Embedder

        model = Embedder()
        expected = model.encode(["one", "two"] * 20)
        pid = os.fork()
        if pid == 0:
            assert model.dimension == 384
            assert (model.encode(["one", "two"] * 20) == expected).all()
            assert (model.encode("one") == expected[0]).all()
            print("child", flush=True)
            {ending}
        else:
            assert os.waitpid(pid, 0)[1] == 0
            assert (model.encode(["one", "two"] * 20) == expected).all()
            print("parent")
        """
    )
    assert_silent(done, "child", "parent")


@needs_fork
@pytest.mark.parametrize("ending", ["os._exit(0)", "sys.exit(0)", "del model; gc.collect(); sys.exit(0)"])
def test_child_that_does_not_use_the_model_ends_well(ending: str) -> None:
    done = run_python(
        f"""
        import gc, os, sys
        from oxembed import Embedder

        model = Embedder()
        model.encode(["one", "two"] * 20)
        pid = os.fork()
        if pid == 0:
            {ending}
        assert os.waitpid(pid, 0)[1] == 0
        """
    )
    assert_silent(done)


@needs_fork
def test_fork_of_a_fork_and_new_embedders_there() -> None:
    done = run_python(
        """
        import os, sys
        from oxembed import Embedder

        model = Embedder()
        expected = model.encode("one")
        for generation in ("child", "grandchild"):
            pid = os.fork()
            if pid:
                assert os.waitpid(pid, 0)[1] == 0
                break
            assert (model.encode("one") == expected).all()
            assert (Embedder().encode("one") == expected).all()
        assert (model.encode("one") == expected).all()
        """
    )
    assert_silent(done)


@needs_fork
@pytest.mark.parametrize("ending", ["os._exit(0 if same else 1)", "sys.exit(0 if same else 1)"])
def test_fork_while_other_threads_encode(ending: str) -> None:
    done = run_python(
        f"""
        import os, sys, threading, time
        from oxembed import Embedder

        model = Embedder()
        expected = model.encode("one")
        stop = threading.Event()

        def work():
            while not stop.is_set():
                model.encode([f"text {{number}}" for number in range(50)])

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(5):
                pid = os.fork()
                if pid == 0:
                    same = (model.encode("one") == expected).all()
                    {ending}
                # A child that waits for threads that it does not have would never end.
                deadline = time.monotonic() + 60
                while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
                    time.sleep(0.01)
                if ended == (0, 0):
                    os.kill(pid, 9)
                assert ended == (pid, 0), ended
        finally:
            stop.set()
        for thread in threads:
            thread.join()
        print("done")
        """,
        timeout=2 * PATIENCE,
    )
    assert_silent(done, "done")


@needs_fork
def test_fork_while_other_threads_load() -> None:
    """ONNX Runtime holds locks of the whole process while it makes a session: a child would wait for them for ever."""
    done = run_python(
        f"""
        import os, threading, time
        from oxembed import Embedder

        folder = {os.fspath(FIXTURES / "bert-mean-prompts")!r}
        model = Embedder(folder, provider="cpu")
        expected = model.encode("one")
        stop = threading.Event()

        def work():
            while not stop.is_set():
                Embedder(folder, provider="cpu", threads=1).encode("two")

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(60):
                pid = os.fork()
                if pid == 0:
                    os._exit(0 if (model.encode("one") == expected).all() else 1)
                deadline = time.monotonic() + 60
                while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
                    time.sleep(0.002)
                if ended == (0, 0):
                    os.kill(pid, 9)
                assert ended == (pid, 0), ended
        finally:
            stop.set()
        for thread in threads:
            thread.join()
        print("done")
        """,
        timeout=2 * PATIENCE,
    )
    assert_silent(done, "done")


@needs_fork
def test_multiprocessing_fork_pool() -> None:
    done = run_python(
        """
        import multiprocessing as mp
        from oxembed import Embedder

        model = Embedder()
        model.encode(["warm"] * 10)

        def work(number):
            return model.encode(f"text {number}").tolist()

        with mp.get_context("fork").Pool(2) as pool:
            results = pool.map(work, range(6))
            pool.close()
            pool.join()
        assert results == [model.encode(f"text {number}").tolist() for number in range(6)]
        print("same")
        """
    )
    assert_silent(done, "same")


@pytest.mark.parametrize(
    "code",
    [
        "from oxembed import Embedder; m = Embedder(); m.encode('x')",
        "from oxembed import Embedder; m = Embedder(); m.encode(['x'] * 50)",
        "from oxembed import Embedder; Embedder().encode('x')",
        "import oxembed; oxembed.m = oxembed.Embedder(); oxembed.m.encode('x')",
        "import sys; from oxembed import Embedder; m = Embedder(); m.encode('x'); c = [m]; c.append(c); sys.exit(0)",
        "import atexit\nfrom oxembed import Embedder\nm = Embedder()\natexit.register(lambda: m.encode('late'))",
        "from oxembed import Embedder\ni = Embedder().encode_iter(['a', 'b'], chunk_size=1)\nnext(i)",
    ],
)
def test_exit_with_a_live_embedder_is_silent(code: str) -> None:
    assert_silent(run_python(code))


def test_a_call_after_everything_is_closed_ends_at_once() -> None:
    """A handler registered before the import runs after ours: its call works or fails, but does not hang."""
    done = run_python(
        """
        import atexit

        def late():
            from oxembed import OxembedError
            try:
                model.encode("late")
            except OxembedError:
                pass

        atexit.register(late)
        from oxembed import Embedder
        model = Embedder()
        """
    )
    assert_silent(done)


def test_exit_status_is_kept() -> None:
    done = run_python("import sys; from oxembed import Embedder; m = Embedder(); m.encode('x'); sys.exit(7)")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 7)


@pytest.mark.parametrize("texts", ["'one text'", "[f'text {i}' for i in range(100_000)]"])
def test_exit_while_daemon_threads_encode(texts: str) -> None:
    done = run_python(
        f"""
        import sys, threading, time
        from oxembed import Embedder

        model = Embedder()
        texts = {texts}

        def work():
            while True:
                model.encode(texts)

        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.5)
        print("bye")
        sys.exit(3)
        """,
    )
    assert (done.stdout.split(), done.stderr, done.returncode) == (["bye"], "", 3)


def test_exit_while_a_daemon_thread_loads() -> None:
    done = run_python(
        """
        import threading, time
        from oxembed import Embedder

        def work():
            while True:
                Embedder()

        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.3)
        """,
    )
    assert_silent(done)


def test_exit_waits_for_ordinary_threads() -> None:
    done = run_python(
        """
        import threading
        from oxembed import Embedder

        model = Embedder()

        def work():
            vectors = model.encode([f"text {number}" for number in range(500)])
            print(len(vectors))

        threading.Thread(target=work).start()
        """
    )
    assert_silent(done, "500")
