"""A provider that compiles a graph for each shape: texts are padded to a few, and their rows are the model's."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import provider_plugin
import pytest
from conftest import TOLERANCE
from provider_scripts import facts
from reference.factory import GOLDEN_FIXTURES
from reference.sentence_transformer import SentenceTransformer
from test_long_texts import text_of, with_limit

NAME = provider_plugin.NAME
# Of a model that takes at most 64 tokens.
LENGTHS = (4, 6, 8, 12, 16, 24, 32, 48, 64)


def told(script: str, cache: Path, *arguments: str | Path) -> Any:
    return facts(textwrap.dedent(script), cache, *arguments)


@pytest.fixture(scope="module")
def fixtures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the rows of every fixture are like: all together, with each prompt, alone, and in other batches."""
    script = """
    import random
    found = {}
    for name in json.loads(sys.argv[2]):
        model = Embedder(FIXTURES / name, provider=plug_in())
        texts, vectors = golden(name)
        rows = model.encode(texts)
        with np.load(FIXTURES / name / "golden.npz") as stored:
            keys = [key for key in stored.files if key.startswith("prompt_")]
        prompts = {}
        for key in keys:
            some, expected = golden(name, key)
            prompts[key] = worst(model.encode(some, prompt_name=key.removeprefix("prompt_")), expected)
        alone = np.stack([model.encode(text) for text in texts])
        others = [worst(alone, rows)]
        for size in (2, 3, 5, 9, 33):
            order = random.Random(size).sample(range(len(texts)), len(texts))
            parts = [order[first : first + size] for first in range(0, len(order), size)]
            others += [worst(model.encode([texts[text] for text in part]), alone[part]) for part in parts]
        again = bool((model.encode(texts) == rows).all())
        placement = model.placement()
        found[name] = {
            "golden": worst(rows, vectors), "prompts": prompts, "others": max(others), "again": again,
            "providers": sorted({session.provider for session in placement}), "failures": placement.failures,
            "nodes": [session.providers[NAME] for session in placement], "sessions": len(placement),
        }
        del model
    tell(found=found, left=plugin.counts().live_sessions)
    """
    found = told(script, tmp_path_factory.mktemp("cache"), json.dumps(GOLDEN_FIXTURES))
    assert found["left"] == 0
    rows: dict[str, Any] = found["found"]
    return rows


@pytest.mark.parametrize("name", GOLDEN_FIXTURES)
def test_rows_of_fixed_shapes_are_those_of_the_model(name: str, fixtures: dict[str, Any]) -> None:
    found = fixtures[name]
    assert found["golden"] <= TOLERANCE
    assert all(error <= TOLERANCE for error in found["prompts"].values())
    # In other company a text is padded to other lengths, so a sum may be added up in another order.
    assert found["others"] <= 1e-6
    assert found["again"]
    assert (found["providers"], found["failures"]) == ([NAME], 0)
    assert min(found["nodes"]) >= 12
    assert 2 <= found["sessions"] <= 16


def test_some_fixtures_have_prompts(fixtures: dict[str, Any]) -> None:
    assert sum(bool(found["prompts"]) for found in fixtures.values()) >= 5


def test_texts_of_each_length_and_one_token_more(tmp_path: Path) -> None:
    script = """
    folder = FIXTURES / "bert-cls"
    on_cpu, found = cpu(folder), []
    model = Embedder(folder, provider=plug_in(max_sessions=1))
    for tokens in json.loads(sys.argv[2]):
        text = " ".join(["the"] * (tokens - 2))
        found.append([
            model.count_tokens([text])[0], worst(model.encode(text), on_cpu.encode(text)),
            [session.session for session in model.placement()],
        ])
    tell(found=found)
    """
    asked = sorted({2, 3, *LENGTHS, *(length + 1 for length in LENGTHS), 65, 100, 1000})
    found = told(script, tmp_path, json.dumps(asked))["found"]
    for tokens, (counted, error, sessions) in zip(asked, found, strict=True):
        assert counted == tokens
        assert error <= TOLERANCE
        # Longer texts are cut.
        padded = next(length for length in LENGTHS if length >= min(tokens, 64))
        assert sessions == [f"1 text of {padded} tokens"]


def test_no_texts_and_texts_without_words(tmp_path: Path) -> None:
    script = """
    folder = FIXTURES / "bert-mean-prompts"
    on_cpu, model = cpu(folder), Embedder(folder, provider=plug_in())
    before = plugin.counts().runs
    none = model.encode([]).shape
    runs = plugin.counts().runs - before
    texts = [[""], ["", " ", ""], ["", "word", "\\n"], ["word"] * 50, ["\\u0000", "\\U0001f600", "e\\u0301"]]
    tell(none=none, runs=runs, errors=[worst(model.encode(each), on_cpu.encode(each)) for each in texts],
         one=worst(model.encode(""), on_cpu.encode("")))
    """
    found = told(script, tmp_path)
    assert (found["none"], found["runs"]) == ([0, 48], 0)
    assert max(*found["errors"], found["one"]) <= TOLERANCE


def test_sessions_are_bounded(tmp_path: Path) -> None:
    script = """
    texts, vectors = golden("bert-mean-prompts")
    found = {}
    for most in (1, 2, 3):
        model = Embedder(FIXTURES / "bert-mean-prompts", provider=plug_in(max_sessions=most))
        errors, alive, done = [], [], threading.Event()

        def calls(start, model=model, errors=errors):
            for size in (1, 60, 2, 7, 1, 23):
                part = [(start + number) % 60 for number in range(size)]
                errors.append(worst(model.encode([texts[text] for text in part]), vectors[part]))

        def watch(alive=alive, done=done):
            while not done.is_set():
                alive.append(plugin.counts().live_sessions)
                time.sleep(0.0005)

        watcher = threading.Thread(target=watch)
        watcher.start()
        threads = [threading.Thread(target=calls, args=(start,)) for start in (0, 17, 41)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        done.set()
        watcher.join()
        alive.append(plugin.counts().live_sessions)  # they are kept: so all of them are seen at least now
        found[most] = [max(errors), max(alive), len(model.placement()), len(errors), plugin.counts().sessions]
        del model, calls
    tell(found=found, left=plugin.counts().live_sessions)
    """
    found = told(script, tmp_path)
    assert found["left"] == 0
    for most, (error, alive, placed, calls, made) in found["found"].items():
        assert error <= TOLERANCE
        assert (alive, placed, calls) == (int(most), int(most), 18)
        assert made > int(most)


# Arguments of `warm_up`; numbers of texts and tokens of calls that find their sessions made.
WARM: list[tuple[dict[str, Any], list[int], list[int]]] = [
    ({"batch_sizes": [1]}, [1], [2, 8, 9, 40, 64, 100]),
    ({"batch_sizes": [2]}, [2], [4, 30]),
    ({"batch_sizes": [3, 5]}, [3, 5], [8, 20]),
    ({"max_length": 12, "batch_sizes": [1, 7, 32, 100]}, [1, 7, 32, 100], [5, 8, 12]),
    ({"max_length": 7}, [1, 3, 4, 6, 31, 33, 64, 10_000], [3, 6, 8]),
]


def test_warm_up_makes_the_sessions_that_calls_take(tmp_path: Path) -> None:
    script = """
    import itertools
    found, letters = [], "abcdefghijklmnopqrstuvw"
    for arguments, sizes, lengths in json.loads(sys.argv[2]):
        model = Embedder(FIXTURES / "bert-cls", provider=plug_in())
        runs = plugin.counts().runs
        number = model.warm_up(**arguments)
        counts = plugin.counts()
        again = model.warm_up(**arguments)
        for size in sizes:
            for tokens in lengths:
                # Of one length all, and no two equal: each of these letters is a token of its own.
                starts = itertools.product(letters, repeat=3)
                texts = {" ".join([*start, *["the"] * tokens][: tokens - 2]) for start in starts}
                model.encode(sorted(texts)[:size])
        later = plugin.counts().sessions - counts.sessions
        found.append([number, again, counts.live_sessions, counts.runs - runs, later])
        del model
    tell(found=found)
    """
    for case, (number, again, alive, runs, later) in zip(
        WARM, told(script, tmp_path, json.dumps(WARM))["found"], strict=True
    ):
        assert number == again == alive, case
        assert runs == 0, case
        assert later == 0, case
        assert number >= 2, case


def test_warm_up_makes_no_more_sessions_than_are_kept(tmp_path: Path) -> None:
    script = """
    models = [Embedder(FIXTURES / "bert-cls", provider=plug_in(max_sessions=most)) for most in (1, 3)]
    found = [[model.warm_up(), [session.session for session in model.placement()]] for model in models]
    refused = Embedder(FIXTURES / "bert-cls", provider=plug_in(max_sessions=2))
    plugin.lose_device()
    try:
        refused.warm_up()
        error = ""
    except ProviderUnavailableError as raised:
        error = str(raised)
    tell(found=found, error=error)
    """
    found = told(script, tmp_path)
    [(one, first), (three, sessions)] = found["found"]
    assert (one, three) == (1, 3)
    assert first == ["1 text of 4 tokens"]
    assert sessions == ["1 text of 4 tokens", "4 texts of 4 tokens", "8 texts of 4 tokens"]
    assert "device lost (test)" in found["error"]


def test_longer_texts_than_are_compiled_go_to_the_cpu(tmp_path: Path) -> None:
    """Also beside a provider that was asked for alone; the placement tells, and other texts are not for the CPU."""
    folder = with_limit("nomicbert-mean", tmp_path / "model", 3000)
    texts = ["fox", text_of(1200), text_of(700), text_of(900), "a river"]
    expected = SentenceTransformer(folder).encode(texts)
    script = """
    folder, texts = Path(sys.argv[2]), json.loads(sys.argv[3])
    found = []
    for names_cpu, asked in ((False, plug_in()), (True, [plug_in(), "cpu"]), (False, [plug_in(), plug_in()])):
        model = Embedder(folder, provider=asked)
        short = [session.provider for session in model.placement()]
        rows = model.encode(texts)
        alone = [worst(model.encode(text), row) for text, row in zip(texts, rows)]
        placement = model.placement()
        # The CPU does not take what the provider fails to do, unless it was named.
        plugin.lose_device()
        try:
            model.encode(texts[0])
            error = ""
        except (InferenceError, ProviderUnavailableError) as raised:
            error = str(raised)
        still = worst(model.encode(texts[1]), rows[1])
        plugin.lose_device(False)
        found.append({
            "names_cpu": names_cpu, "rows": rows.tolist(), "alone": max(alone), "short": short, "error": error,
            "still": still, "tokens": sorted(model.count_tokens(texts)), "not_used": len(placement.not_used),
            "failures": placement.failures, "providers": sorted({session.provider for session in placement}),
        })
    tell(found=found)
    """
    for found in told(script, tmp_path / "cache", folder, json.dumps(texts))["found"]:
        assert found["tokens"][2] < 2048 < found["tokens"][3] <= 3000
        assert np.abs(np.array(found["rows"]) - expected).max() <= TOLERANCE
        assert found["alone"] <= 1e-6
        assert (found["short"], found["providers"]) == ([NAME], [NAME, "cpu"])
        assert (found["not_used"], found["failures"]) == (0, 0)
        assert found["still"] <= 1e-6
        assert ("device lost (test)" in found["error"]) == (not found["names_cpu"])


# Exports that lie in the folders, all inputs of any shape.
EXPORTS = ("bert-cls", "bert-mean-prompts", "distilbert-mean", "qwen3-lasttoken")


def test_onnx_files(tmp_path: Path) -> None:
    """The rows are right, also of those for whom another provider takes over; one session is for every shape."""
    script = """
    found = {}
    for name in json.loads(sys.argv[2]):
        texts, vectors = golden(name)
        arguments = {"onnx_file": "onnx/model.onnx"}
        model = Embedder(FIXTURES / name, provider=plug_in(), **arguments)
        rows = model.encode(texts)
        alone = max(worst(model.encode(text), row) for text, row in zip(texts, rows))
        placement = model.placement()
        failing = Embedder(FIXTURES / name, provider=[plug_in(fail_every=20), plug_in(nan_after=0), "cpu"], **arguments)
        warm = model.warm_up()
        found[name] = {
            "golden": worst(rows, vectors), "alone": alone, "warm": warm,
            "error": worst(failing.encode(texts), vectors),
            "sessions": [[each.session, each.provider, each.work[NAME], each.providers[NAME]] for each in placement],
            "next": [event.next for event in failing.placement().events],
        }
    tell(found=found)
    """
    for name, found in told(script, tmp_path, json.dumps(EXPORTS))["found"].items():
        assert found["golden"] <= TOLERANCE, name
        assert found["error"] <= TOLERANCE, name
        assert found["alone"] <= 2e-6, name
        [[session, provider, work, nodes]] = found["sessions"]
        assert (session, provider, found["warm"]) == ("any shape", NAME, 1), name
        assert work > 0.5, name
        assert nodes >= 12, name
        assert set(found["next"]) == {NAME, "cpu"}, name
