"""The interpreter ends with calls running: the exit status is kept, nothing is printed, nothing crashes or hangs.

Each ending is tried many times, several processes at once, with calls that are caught at different moments.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import PATIENCE
from faults import PREAMBLE

# `make stress` tries each many times.
TIMES, TOGETHER = int(os.environ.get("OXEMBED_EXITS", "6")), 4

BUSY = """
embedder = model()
many = [f"text number {number}" for number in range(20_000)]

def forever():
    while True:
        embedder.encode(many)

def start(target, daemon, times=3):
    for _ in range(times):
        threading.Thread(target=target, daemon=daemon).start()
    time.sleep(float(sys.argv[1]))
"""

ENDINGS = {
    "daemon threads": ("start(forever, daemon=True); sys.exit(3)", 3),
    "daemon threads that load": ("start(model, daemon=True, times=2); sys.exit(3)", 3),
    "ordinary threads": ("start(lambda: embedder.encode(many[:300]), daemon=False); sys.exit(4)", 4),
    "sys.exit in threads": ("start(lambda: (embedder.encode(many[:300]), sys.exit(9)), daemon=False)", 0),
    "os._exit": ("start(forever, daemon=True); os._exit(5)", 5),
    "os._exit in a thread": (
        "start(forever, daemon=True)\nthreading.Thread(target=lambda: os._exit(6)).start(); threading.Event().wait()",
        6,
    ),
    "an error": ("start(forever, daemon=True); sys.stderr = open(os.devnull, 'w'); raise ValueError", 1),
    "tasks that nobody waits for": (
        "import asyncio\n"
        "async def work():\n"
        "    tasks = [asyncio.ensure_future(embedder.aencode(many)) for _ in range(3)]\n"
        "    await asyncio.sleep(float(sys.argv[1]))\n"
        "asyncio.run(work()); sys.exit(7)",
        7,
    ),
    "a generator half taken": ("rows = embedder.encode_iter(many, chunk_size=8); next(rows); sys.exit(8)", 8),
    "exit handlers that embed": (
        "import atexit\n"
        "atexit.register(lambda: (embedder.encode('late'), embedder.encode(many[:100])))\n"
        "start(forever, daemon=True); sys.exit(3)",
        3,
    ),
    "globals and cycles": (
        "oxembed.kept = [embedder]; oxembed.kept.append(oxembed.kept)\n"
        "class Node: pass\n"
        "node = Node(); node.self, node.model, node.rows = node, embedder, embedder.encode_iter(many)\n"
        "next(node.rows); sys.modules['kept'] = node; del node; sys.exit(3)",
        3,
    ),
    "a finalizer that embeds": (
        "class Last:\n"
        "    def __del__(self):\n"
        "        try: embedder.encode('late')\n"
        "        except Exception: pass\n"
        "last = Last(); last.self = last; sys.exit(3)",
        3,
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_ending(ending: str) -> None:
    code, status = ENDINGS[ending]
    script = PREAMBLE + BUSY + textwrap.dedent(code)

    def run(number: int) -> tuple[int, str, str]:
        command = [sys.executable, "-c", script, str(0.1 * number / TIMES)]
        environment = {**os.environ, "PYTHONUTF8": "1"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment)
        return done.returncode, done.stdout, done.stderr

    with ThreadPoolExecutor(TOGETHER) as pool:
        found = list(pool.map(run, range(TIMES)))
    assert set(found) == {(status, "", "")}


def test_exit_is_prompt() -> None:
    """A running call is cancelled, and not waited for to its end, which would take minutes."""
    code = BUSY + (
        "embedder = Embedder(provider='cpu', threads=2)\n"
        "many = [f'text number {number}' for number in range(300_000)]  # equal ones would be computed once\n"
        "start(forever, daemon=True); sys.exit(3)"
    )
    done = subprocess.run([sys.executable, "-c", PREAMBLE + code, "0.5"], timeout=60, check=False)
    assert done.returncode == 3
