"""No more file descriptors or threads: a typed error or the right rows, no call that hangs, and the next works."""

from __future__ import annotations

import os
import textwrap

import pytest
from faults import on_linux, on_unix, told

TYPED = {
    "ok",
    "InferenceError",
    "InvalidModelError",
    "ModelNotFoundError",
    "ServiceUnavailableError",
    "ProviderUnavailableError",
    "OSError",
    "ImportError",
}

FEW_FILES = """
import resource

def files():
    return len(os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"))

class only:
    "Lets so many more files be open than there are."
    def __init__(self, more):
        self.more = more
    def __enter__(self):
        self.before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.held = []
        while True:  # gaps in the numbers would leave room
            number = os.open(os.devnull, os.O_RDONLY)
            self.held.append(number)
            if number >= files() - 2:
                break
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(self.held) + 1 + self.more, self.before[1]))
    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_NOFILE, self.before)
        [os.close(number) for number in self.held]
"""

FEW_THREADS = """
import resource, ctypes
nobody = 100_000 + os.getpid()  # root has no such limit, and another user's threads count
os.setgid(nobody); os.setuid(nobody)

class only:
    "Lets so many more threads start than there are."
    def __init__(self, more):
        self.more = more
    def __enter__(self):
        count = sum(
            len(list((process / "task").iterdir()))
            for process in Path("/proc").iterdir()
            if process.name.isdigit() and process.stat().st_uid == os.getuid()
        )
        self.before = resource.getrlimit(resource.RLIMIT_NPROC)
        resource.setrlimit(resource.RLIMIT_NPROC, (count + self.more, self.before[1]))
    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_NPROC, self.before)
"""


@on_unix
def test_loads_and_calls_with_few_files() -> None:
    """From none at all to enough; an embedder that is there needs none for its calls."""
    script = """
    there = model()
    assert right(there)
    tried, calls = [], []
    for more in range(0, 12):
        loaded = []
        with only(more):
            try:
                found = outcome(lambda: loaded.append(model()))
            except (OSError, ImportError) as error:
                found = ["OSError", str(error)]
            calls.append(right(there))
        tried.append(found)
        calls += [right(each) for each in loaded]
    before = files()
    gc.collect()
    tell(tried=tried, calls=calls, next=right(model()), level=files() == before)
    """
    found = told(FEW_FILES + textwrap.dedent(script))
    kinds = [kind for kind, _ in found["tried"]]
    assert set(kinds) <= TYPED
    assert (kinds[0] != "ok", kinds[-1]) == (True, "ok")
    assert all("open files" in message for kind, message in found["tried"] if kind != "ok")
    assert (set(found["calls"]), found["next"], found["level"]) == ({True}, True, True)


@on_unix
def test_a_process_that_starts_with_few_files() -> None:
    """The first load of a process opens ONNX Runtime, too, and its first rows NumPy's tables."""
    script = """
    tried = []
    for more in (0, 1, 2, 3, 20):
        with only(more):
            try:
                tried.append(outcome(lambda: model().encode(["a", "b"] * 100)))
            except (OSError, ImportError) as error:
                tried.append(["OSError", str(error)])
    tell(tried=tried, next=right(model()))
    """
    found = told(FEW_FILES + textwrap.dedent(script))
    kinds = [kind for kind, _ in found["tried"]]
    assert set(kinds) <= TYPED
    assert (kinds[0] != "ok", kinds[-1], found["next"]) == (True, "ok", True)


@on_linux
@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="starting as another user takes root")
@pytest.mark.parametrize("more", [0, 1, 2, 3, 4])
def test_few_threads(more: int) -> None:
    """Calls that need workers, tokenizing threads, a watched run, a session with threads; nothing hangs."""
    script = """
    try:
        there = model(threads=4)
        assert right(there)
    except PermissionError as error:
        tell(unreadable=str(error))
        sys.exit()
    many, long = TEXTS * 20, ["word " * 100_000]
    calls = [
        lambda: there.encode(many), lambda: there.encode("x"), lambda: there.encode(long),
        lambda: there.count_tokens(many), lambda: list(there.encode_iter(many)), lambda: right(model(threads=4)),
        lambda: model(threads=1).encode(many), lambda: Embedder(dtype="int8", threads=3).encode(many[:70]),
        lambda: there.health_check(),
    ]
    with only(int(sys.argv[1])):
        found = [outcome(call) for call in calls]
    rows = there.encode(many)
    same = bool(np.abs(rows - np.tile(VECTORS, (20, 1))).max() <= 1e-5)
    tell(found=found, same=same, next=right(model(threads=4)))
    """
    found = told(FEW_THREADS + textwrap.dedent(script), str(more), measured=False)
    if "unreadable" in found:
        pytest.skip(f"another user may not read the sources: {found['unreadable']}")
    kinds = [kind for kind, _ in found["found"]]
    assert set(kinds) <= TYPED
    assert all("thread" in message or "resource" in message.lower() for kind, message in found["found"] if kind != "ok")
    assert (found["same"], found["next"]) == (True, True)
    if more == 0:
        assert set(kinds) > {"ok"}, "nothing needed a thread"
