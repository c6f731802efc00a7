"""What a model leaves behind when it goes: nothing that the system does not get back."""

from __future__ import annotations

import platform

import pytest
from conftest import PATIENCE
from faults import told

# Anonymous memory of the process that may be more than before: caches of other threads, gaps between what is in use.
KEPT_MIB = 100
SWAPS = 12

SCRIPT = f"""
def private():
    '''MiB of memory that the process has for itself.'''
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("RssAnon:")).split()[1]) / 1024

texts = [f"text number {{number}} " + "and some more words " * (number % 9) for number in range(200)]
current, stopped = [Embedder(provider="cpu", threads=2)], threading.Event()

calls = [0] * 8

def ask(number):
    while not stopped.is_set():
        current[0].encode(texts[:20])
        calls[number] += 1

askers = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
for asker in askers:
    asker.start()
while min(calls) < 10:  # until then what they hold may not all be there
    time.sleep(0.01)
before = private()
for _ in range({SWAPS}):
    new = Embedder(provider="cpu", threads=2)
    new.encode(texts)
    current[0] = new
    del new
stopped.set()
for asker in askers:
    asker.join()
tell(before=before, after=private())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries give large blocks back by themselves")
def test_models_that_are_swapped_under_load_leave_no_memory_behind() -> None:
    """One comes, one goes, while others call: the memory is that of one."""
    found = told(SCRIPT, timeout=2 * PATIENCE)
    assert found["after"] < found["before"] + KEPT_MIB, found
