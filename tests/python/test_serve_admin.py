"""`/admin/models` of `oxembed serve`: models that come, go and change places while requests are answered."""

from __future__ import annotations

import base64
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIXTURES
from numpy.typing import NDArray
from servers import Server, serving

from oxembed import Embedder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")

FIRST = FIXTURES / "bert-mean-prompts"
SECOND = FIXTURES / "bert-cls"
TEXTS = ["a text", "another one", "a third, which is longer than the others", "four"]
VARIABLES = {"OXEMBED_ADMIN_KEYS": "chief,deputy", "OXEMBED_API_KEYS": "user"}


def started(*more: str, **variables: str) -> Any:
    return serving("--provider", "cpu", "--model", f"m,alias={FIRST}", *more, variables={**VARIABLES, **variables})


@pytest.fixture
def server() -> Iterator[Server]:
    with started("--model-root", str(FIXTURES)) as running:
        yield running


def vectors(server: Server, model: str, texts: list[str] = TEXTS) -> NDArray[np.float32]:
    body = {"input": texts, "model": model, "encoding_format": "base64"}
    answer = server.ask("/v1/embeddings", body, key="user")
    assert answer.status == 200, answer.body
    return np.array([np.frombuffer(base64.b64decode(row["embedding"]), dtype="<f4") for row in answer.json()["data"]])


def expected(folder: Path) -> NDArray[np.float32]:
    found: NDArray[np.float32] = Embedder(folder, provider="cpu").encode(TEXTS)
    return found


def listed(server: Server) -> dict[str, dict[str, Any]]:
    models = server.ask("/admin/models", key="chief").json()["models"]
    return {model["name"]: model for model in models}


def test_without_an_admin_key_there_is_nothing() -> None:
    with serving("--provider", "cpu", "--model", f"m={FIRST}", variables={"OXEMBED_API_KEYS": "user"}) as server:
        unknown = server.ask("/no/such/route", key="user")
        assert unknown.status == 404
        for method, path in [("GET", "/admin/models"), ("POST", "/admin/models"), ("DELETE", "/admin/models/m")]:
            for key in (None, "user", "chief"):
                answer = server.ask(path, {} if method == "POST" else None, key=key, method=method)
                assert answer.status == 404
                assert answer.json()["error"]["message"] == unknown.json()["error"]["message"].replace(
                    "/no/such/route", path
                )


def test_only_admin_keys_open_it_and_nothing_else(server: Server) -> None:
    for key in (None, "user", "chie", "chieff"):
        assert server.ask("/admin/models", key=key).status == 401
        assert server.ask("/admin/models", {"name": "m"}, key=key).status == 401
        assert server.ask("/admin/models/m", key=key, method="DELETE").status == 401
    for key in ("chief", "deputy"):
        assert server.ask("/admin/models", key=key).status == 200
        assert server.ask("/v1/embeddings", {"input": "a"}, key=key).status == 401
    assert server.ask("/admin/models", key="chief", method="PUT").status == 405


def test_what_is_told_of_models(server: Server) -> None:
    for _ in range(3):
        vectors(server, "m")
    vectors(server, "alias")
    model = listed(server)["m"]
    told = {key: model[key] for key in ("aliases", "path", "loaded", "requests")}
    assert told == {"aliases": ["alias"], "path": str(FIRST), "loaded": True, "requests": 4}
    assert model["memory_bytes"] >= (FIRST / "model.safetensors").stat().st_size
    assert len(model["hash"]) == 64


def test_models_are_loaded_and_unloaded(server: Server) -> None:
    body = {"name": "new", "path": str(SECOND), "aliases": ["neu"]}
    loaded = server.ask("/admin/models", body, key="chief")
    assert (loaded.status, loaded.json()["aliases"]) == (200, ["neu"])
    for name in ("new", "neu"):
        np.testing.assert_array_equal(vectors(server, name), expected(SECOND))
    np.testing.assert_array_equal(vectors(server, "m"), expected(FIRST))
    assert [model["id"] for model in server.ask("/v1/models", key="user").json()["data"]] == ["m", "new"]
    assert server.ask("/admin/models/m", key="chief", method="DELETE").status == 204
    assert server.ask("/v1/embeddings", {"input": "a", "model": "m"}, key="user").status == 404
    assert server.ask("/v1/embeddings", {"input": "a"}, key="user").json()["model"] == "new"
    last = server.ask("/admin/models/new", key="chief", method="DELETE")
    assert (last.status, "the only model" in last.json()["error"]["message"]) == (409, True)
    assert server.ask("/admin/models/m", key="chief", method="DELETE").status == 404


def test_names_of_the_hub_are_one_name(server: Server) -> None:
    """With the slash as it is, and encoded, as the `openai` package sends it."""
    assert server.ask("/admin/models", {"name": "a/hub name", "path": str(SECOND)}, key="chief").status == 200
    for path in ("a/hub%20name", "a%2Fhub%20name"):
        assert server.ask(f"/v1/models/{path}", key="user").json()["id"] == "a/hub name"
    assert server.ask("/v1/models/a", key="user").status == 404
    assert server.ask("/v1/models/", key="user").status == 404
    # Counted by its pattern: a name is a client's.
    assert 'route="/v1/models/{name}"' in server.ask("/metrics", key="user").body.decode()
    assert server.ask("/admin/models/a/hub%20name", key="chief", method="DELETE").status == 204


def test_a_swap_that_fails_changes_nothing(server: Server, tmp_path: Path) -> None:
    before = listed(server)
    broken = tmp_path / "broken"
    shutil.copytree(FIRST, broken)
    (broken / "tokenizer.json").write_text("{")
    with started("--model-root", str(tmp_path), "--model", f"other={SECOND}") as other:
        answer = other.ask("/admin/models", {"name": "m", "path": str(broken)}, key="chief")
        assert (answer.status, answer.json()["error"]["param"]) == (422, "path")
        assert "tokenizer.json" in answer.json()["error"]["message"]
        taken: list[dict[str, Any]] = [{"name": "m", "aliases": ["other"]}, {"name": "alias"}]
        for conflicting in taken:
            assert other.ask("/admin/models", conflicting, key="chief").status == 409
        np.testing.assert_array_equal(vectors(other, "alias"), expected(FIRST))
        np.testing.assert_array_equal(vectors(other, "other"), expected(SECOND))
    for body, says in [
        ({}, "name is missing"),
        ({"name": 1}, "name has to be a string"),
        ({"name": "  "}, "is no name"),
        ({"name": "m", "aliases": "a"}, "a list of strings"),
        ({"name": "m", "aliases": [""]}, "is no name"),
        ({"name": "m", "folder": "x"}, "not understood"),
    ]:
        answer = server.ask("/admin/models", body, key="chief")
        assert answer.status == 400
        assert says in answer.json()["error"]["message"]
    unknown = server.ask("/admin/models", {"name": "unknown"}, key="chief")
    assert (unknown.status, "send its path" in unknown.json()["error"]["message"]) == (404, True)
    assert listed(server) == before


def test_paths_outside_are_refused(tmp_path: Path) -> None:
    roots, secret = tmp_path / "roots", tmp_path / "secret"
    roots.mkdir()
    shutil.copytree(SECOND, secret)
    shutil.copytree(SECOND, roots / "inside")
    (roots / "link").symlink_to(secret)
    paths = [
        str(secret),
        "../secret",
        "link",
        f"{roots}/../secret",
        "inside/../../secret",
        str(FIXTURES),
        "/",
        "none",
        "\0",
    ]
    with started("--model-root", str(roots)) as server:
        for path in paths:
            answer = server.ask("/admin/models", {"name": "x", "path": path}, key="chief")
            assert answer.status == 403, path
            assert "models may be loaded from" in answer.json()["error"]["message"]
        for path in (str(roots / "inside"), "inside", "inside/.", str(FIRST)):
            assert server.ask("/admin/models", {"name": "x", "path": path}, key="chief").status == 200, path
    with started() as server:
        answer = server.ask("/admin/models", {"name": "x", "path": str(SECOND)}, key="chief")
        assert (answer.status, "--model-root" in answer.json()["error"]["message"]) == (403, True)


def test_the_folder_given_at_the_start_can_be_loaded_again(tmp_path: Path) -> None:
    current = tmp_path / "current"
    current.symlink_to(FIRST)
    with serving("--provider", "cpu", "--model", f"m={current}", variables=VARIABLES) as server:
        np.testing.assert_array_equal(vectors(server, "m"), expected(FIRST))
        before = listed(server)["m"]["hash"]
        assert server.ask("/admin/models", {"name": "m"}, key="chief").json()["hash"] == before
        current.unlink()
        current.symlink_to(SECOND)
        np.testing.assert_array_equal(vectors(server, "m"), expected(FIRST))
        assert server.ask("/admin/models", {"name": "m"}, key="chief").json()["hash"] != before
        np.testing.assert_array_equal(vectors(server, "m"), expected(SECOND))


@pytest.mark.parametrize("cache", [(), ("--cache-bytes", "10000000")], ids=["no cache", "cache"])
def test_swaps_under_load(cache: tuple[str, ...]) -> None:
    """Every answer is wholly of one version, and none fails."""
    first, second = expected(FIRST), expected(SECOND)
    seen: list[int] = [0, 0]
    wrong: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                found = vectors(running, "m")
            except AssertionError as error:
                wrong.append(str(error))
                return
            if np.array_equal(found, first):
                seen[0] += 1
            elif np.array_equal(found, second):
                seen[1] += 1
            else:
                wrong.append("rows of neither version, or of both")

    with started("--model-root", str(FIXTURES), *cache) as running:
        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for number in range(50):
            folder = SECOND if number % 2 == 0 else FIRST
            assert running.ask("/admin/models", {"name": "m", "path": str(folder)}, key="chief").status == 200
        over.set()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert min(seen) > 0, seen
        assert listed(running)["m"]["requests"] == sum(seen)


def test_swaps_of_one_name_come_one_after_the_other(server: Server) -> None:
    statuses: list[int] = []

    def swap(folder: Path, alias: str) -> None:
        body = {"name": "m", "path": str(folder), "aliases": [alias]}
        statuses.append(server.ask("/admin/models", body, key="chief").status)

    threads = [
        threading.Thread(target=swap, args=(SECOND if number % 2 else FIRST, f"alias-{number}")) for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 12
    model = listed(server)["m"]
    (alias,) = model["aliases"]
    # The path and the alias are those of the same swap.
    assert model["path"] == str(SECOND if int(alias.removeprefix("alias-")) % 2 else FIRST)
    np.testing.assert_array_equal(vectors(server, alias), expected(Path(model["path"])))
