"""Too little memory: a typed error or the right rows, never the end of the process, and the next call works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest
from conftest import PATIENCE
from faults import PREAMBLE, memory_group, on_linux, told

pytestmark = on_linux
TYPED = {"ok", "MemoryError", "InferenceError", "InvalidModelError", "ServiceUnavailableError"}

LIMITED = """
import resource

class limited:
    '''Lets the address space grow by so many MiB from here.'''
    def __init__(self, mib):
        self.mib = mib
    def __enter__(self):
        self.before = resource.getrlimit(resource.RLIMIT_AS)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + (self.mib << 20), self.before[1]))
    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_AS, self.before)
"""


@pytest.mark.parametrize("mib", [0, 20, 30, 60, 95, 150])
def test_the_first_load_of_a_process(mib: int) -> None:
    """From nothing, over a library that loads by half, to a model that does."""
    script = """
    with limited(int(sys.argv[1])):
        found = outcome(lambda: Embedder(provider="cpu", threads=2).encode("x"))
    tell(found=found, next=right(model()), embedded=Embedder().encode(["x", "y"]).shape)
    """
    found = told(LIMITED + textwrap.dedent(script), str(mib))
    assert found["found"][0] in TYPED - {"ok"}
    assert any(word in found["found"][1] for word in ("memory", "alloc", "failed to map"))
    assert (found["next"], found["embedded"]) == (True, [2, 384])


def test_loads_and_calls_under_every_limit() -> None:
    """The limits go up until everything works, so that each step of a load and of a call is the one that fails."""
    script = """
    texts = [f"text number {number} of a call that runs on every worker" for number in range(96)]
    expected = Embedder(provider="cpu", threads=2).encode(texts)
    tried = []
    for mib in [*range(0, 200, 15), 1000]:
        kept = []
        with limited(mib):
            load = outcome(lambda: kept.append(Embedder(provider="cpu", threads=2)))
        if kept:
            with limited(0):
                at_once = outcome(lambda: kept[0].encode(texts))
            with limited(mib // 2):
                call = outcome(lambda: kept.append(kept[0].encode(texts)))
            same = len(kept) == 1 or bool((kept[1] == expected).all())
            after = bool((kept[0].encode(texts) == expected).all())
            tried.append([load, at_once, True, True])
            tried.append([load, call, same, after])
            if call[0] == "ok":
                break
        else:
            tried.append([load, None, True, True])
        del kept
        gc.collect()
    tell(tried=tried)
    """
    tried = told(LIMITED + textwrap.dedent(script))["tried"]
    loads, calls = [load[0] for load, *_ in tried], [call[0] for _, call, *_ in tried if call]
    assert set(loads) | set(calls) <= TYPED
    assert all(same and after for *_, same, after in tried)
    assert (loads[0] != "ok", loads[-1], calls[-1]) == (True, "ok", "ok")
    assert set(calls) > {"ok"}, "no call was short of memory"


@pytest.mark.parametrize(
    ("texts", "mib"),
    [
        ("[''] * 20_000_000", 500),  # 30 GB of rows
        ("[str(number) for number in range(300_000)]", 100),
        ("['word ' * 1_000_000]", 100),  # tokenizing takes a hundred times its bytes
        ("[f'{number} a b ' * 3_000 for number in range(200)]", 26),
    ],
)
def test_more_than_memory_holds(texts: str, mib: int) -> None:
    script = f"""
    embedder = model()
    assert right(embedder)
    texts = {texts}
    with limited({mib}):
        found = outcome(lambda: embedder.encode(texts))
    tell(found=found, next=right(embedder))
    """
    found = told(LIMITED + textwrap.dedent(script))
    assert found["found"][0] in {"InferenceError", "MemoryError"}
    assert "memory" in found["found"][1]
    assert found["next"]


def test_a_long_stream_in_a_group_with_little_memory() -> None:
    """What is streamed stays within the group's memory; more than that the system would end."""
    script = """
    Path(sys.argv[1]).write_text(str(os.getpid()))
    embedder = model()
    rows = sum(len(chunk) for chunk in embedder.encode_iter(TEXTS * 800, chunk_size=512))
    tell(rows=rows, texts=len(TEXTS) * 800, right=right(embedder))
    """
    with memory_group(300) as processes:
        command = [sys.executable, "-c", PREAMBLE + textwrap.dedent(script), str(processes)]
        environment = {**os.environ, "PYTHONUTF8": "1"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["rows"], found["right"]) == (found["texts"], True)
