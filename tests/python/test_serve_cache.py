"""The embedding cache of `oxembed serve`: the same answers, fewer of them computed, and a file that stays."""

from __future__ import annotations

import base64
import itertools
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIXTURES
from numpy.typing import NDArray
from servers import Answer, Server, refused, serving, texts_of, wait_for

from oxembed import Embedder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")

FOLDER = FIXTURES / "bert-mean-prompts"
OTHER = FIXTURES / "bert-cls"
CPU = ("--provider", "cpu", "--model", f"m={FOLDER}")
MEMORY = ("--cache-bytes", "10000000")
LARGE = "word " * 200


@pytest.fixture(scope="module")
def model() -> Embedder:
    return Embedder(FOLDER, provider="cpu")


def ask(server: Server, inputs: object, **more: Any) -> Answer:
    return server.ask("/v1/embeddings", {"input": inputs, "encoding_format": "base64", **more})


def rows(answer: Answer) -> NDArray[np.float32]:
    assert answer.status == 200, answer.body
    data = answer.json()["data"]
    assert [row["index"] for row in data] == list(range(len(data)))
    return np.array([np.frombuffer(base64.b64decode(row["embedding"]), dtype="<f4") for row in data])


def counted(server: Server) -> dict[str, float]:
    """What the cache counts, such as `hits memory`."""
    found: dict[str, float] = {}
    for line in server.ask("/metrics").body.decode().splitlines():
        if line.startswith("oxembed_cache_"):
            name, value = line.removeprefix("oxembed_cache_").rsplit(" ", 1)
            found[re.sub(r'(_total)?(\{store="(\w+)"\})?$', r" \3", name).strip()] = float(value)
    return found


def test_bits_usage_and_counts_are_right(model: Embedder) -> None:
    texts = list(texts_of(12))
    with serving(*CPU) as plain, serving(*CPU, *MEMORY) as server:
        for inputs in [texts[:4], texts[2:8], texts, [texts[9], "new", texts[0], "new"], "a lone one", [[2, 5, 3]]]:
            answer = ask(server, inputs)
            # The whole answer, usage included.
            assert answer.body == ask(plain, inputs).body
            assert ask(server, inputs).body == answer.body
        np.testing.assert_array_equal(rows(ask(server, texts)), model.encode(texts))
        found = counted(server)
        # Missed once each: twelve texts, "new" twice in one request, the lone one, the tokens.
        assert found["misses"] == 12 + 2 + 1 + 1
        assert found["hits memory"] == (4 + 2 + 6 + 8 + 12 + 2 + 4 + 1 + 1) + 12
        assert found["rows memory"] == 12 + 1 + 1 + 1
        assert 0 < found["bytes memory"] < 10_000_000
        assert "hits disk" not in found
        assert counted(plain) == {}


def test_options_have_rows_of_their_own(model: Embedder) -> None:
    with serving(*CPU, *MEMORY) as server:
        for _ in range(2):
            np.testing.assert_array_equal(rows(ask(server, ["a", "b"])), model.encode(["a", "b"]))
            narrow = rows(ask(server, ["a", "b"], dimensions=16))
            np.testing.assert_array_equal(narrow, model.encode(["a", "b"], truncate_dim=16, normalize_embeddings=True))
            for prompt in ("query", "document"):
                found = server.ask("/embed", {"inputs": ["a", "b"], "prompt_name": prompt}).json()
                expected = model.encode(["a", "b"], prompt_name=prompt, normalize_embeddings=True)
                np.testing.assert_array_equal(np.array(found, dtype=np.float32), expected)
        assert counted(server)["misses"] == 8


def test_what_is_refused_is_refused_with_a_cache_too() -> None:
    with serving(*CPU) as plain, serving(*CPU, *MEMORY) as server:
        cut = server.ask("/embed", {"inputs": ["short", LARGE], "truncate": True})
        assert cut.status == 200
        for inputs in (LARGE, ["short", "other", LARGE], ["short", LARGE, LARGE], [[100_000]]):
            answer = ask(server, inputs)
            assert answer.status == 400
            assert answer.body == ask(plain, inputs).body
        assert server.ask("/embed", {"inputs": ["short", LARGE], "truncate": True}).body == cut.body


def test_a_small_memory_forgets_and_stays_right(model: Embedder) -> None:
    texts = list(texts_of(300))
    expected = model.encode(texts)
    with serving(*CPU, "--cache-bytes", "20000") as server:
        for start in (0, 150, 0, 100, 50, 290, 0):
            np.testing.assert_array_equal(rows(ask(server, texts[start : start + 150])), expected[start : start + 150])
        found = counted(server)
        assert found["bytes memory"] <= 20_000
        assert found["evictions memory"] > 0


def test_the_file_outlives_the_service(tmp_path: Path, model: Embedder) -> None:
    texts = list(texts_of(20))
    disk = ("--cache-path", str(tmp_path / "new" / "rows"))
    with serving(*CPU, *disk) as server:
        first = ask(server, texts)
        assert server.stop() == 0
    with serving(*CPU, *disk, *MEMORY) as server:
        assert counted(server)["rows disk"] == 20
        again = ask(server, [*texts, "new"])
        np.testing.assert_array_equal(rows(again)[:20], rows(first))
        np.testing.assert_array_equal(rows(again), model.encode([*texts, "new"]))
        assert (counted(server)["hits disk"], counted(server)["misses"]) == (20, 1)
        assert ask(server, texts).body == first.body
        assert (counted(server)["hits disk"], counted(server)["hits memory"]) == (20, 20)
        assert server.stop() == 0
    # A killed one leaves a file that can be used.
    with serving(*CPU, *disk) as server:
        server.process.kill()
    with serving(*CPU, *disk) as server:
        assert ask(server, texts).body == first.body
        assert counted(server)["hits disk"] == 20


def test_another_model_finds_nothing_in_the_file(tmp_path: Path) -> None:
    disk = ("--cache-path", str(tmp_path / "rows"))
    changed = tmp_path / "changed"
    shutil.copytree(FOLDER, changed)
    settings = changed / "sentence_bert_config.json"
    settings.write_text(settings.read_text().replace("64", "63"))
    for folder in (FOLDER, OTHER, changed, FOLDER):
        with serving("--provider", "cpu", "--model", f"m={folder}", *disk) as server:
            expected = Embedder(folder, provider="cpu").encode(["a", "b"])
            np.testing.assert_array_equal(rows(ask(server, ["a", "b"])), expected)
            found = counted(server)
            assert server.stop() == 0
    assert (found["hits disk"], found["rows disk"]) == (2, 6)


def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    def said(path: Path, *more: str) -> str:
        status, message = refused(*CPU, "--port", "0", "--cache-path", str(path), *more)
        assert status == 1
        assert path.name in message
        assert "Traceback" not in message
        assert "panicked" not in message
        return message

    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"a diary" * 1000)
    said(foreign)
    assert foreign.read_bytes() == b"a diary" * 1000, "it was overwritten"
    said(foreign / "below a file")
    said(tmp_path)
    assert "16777216" in refused(*CPU, "--cache-path", str(tmp_path / "x"), "--cache-disk-bytes", "1000")[1]
    good = tmp_path / "good"
    with serving(*CPU, "--cache-path", str(good)) as server:
        assert ask(server, list(texts_of(50))).status == 200
        assert "another process" in said(good)
        assert server.stop() == 0
    whole = good.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"\0" * len(whole), whole[:4096] + b"\x5a" * (len(whole) - 4096)):
        good.write_bytes(damaged)
        said(good)


@pytest.mark.skipif(sys.platform != "linux", reason="the limits of another process can be set on Linux only")
def test_a_file_that_breaks_in_use_is_done_without(tmp_path: Path, model: Embedder) -> None:
    import resource

    texts = list(texts_of(40))
    with serving(*CPU, "--cache-path", str(tmp_path / "rows")) as server:
        assert ask(server, texts[:10]).status == 200
        # No byte behind the first page of a file can be written any more.
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        numbers = itertools.count()

        def failed() -> bool:
            some = [*texts, f"another {next(numbers)}"]
            np.testing.assert_array_equal(rows(ask(server, some)), model.encode(some))
            return counted(server)["errors"] > 0

        wait_for(failed)
        before = counted(server)
        np.testing.assert_array_equal(rows(ask(server, texts)), model.encode(texts))
        assert counted(server)["errors"] == before["errors"]
        assert counted(server)["hits disk"] == before["hits disk"]
        assert server.ask("/health").status == 200
        assert server.stop() == 0
        assert any("requests that run may come" in line for line in server.log)
        assert sum("cache on disk failed" in line for line in server.log) == 1
