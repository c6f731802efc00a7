"""The OpenAPI document of `oxembed serve`: it is one, its examples work, and every answer is as it says.

`make serve-fuzz` runs the last test here for longer, with another seed each time.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from servers import Server, serving, texts_of, wait_for

KEY = "a key"
HOOKS = Path(__file__).with_name("fuzzing_hooks.py")
# With limits that are reached soon.
LIMITS = ("--max-inputs", "50", "--max-queued-inputs", "50", "--max-body-bytes", "20000")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    # Texts are cut: how long one may be in tokens cannot be written into a document.
    keys = {"OXEMBED_API_KEYS": KEY}
    with serving("--provider", "cpu", "--threads", "1", "--auto-truncate", *LIMITS, variables=keys) as running:
        yield running


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = server.ask("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method.upper(), operation


def response_of(document: dict[str, Any], operation: dict[str, Any], status: int) -> dict[str, Any]:
    found: dict[str, Any] = operation["responses"][str(status)]
    if "$ref" in found:
        kind, name = found["$ref"].split("/")[-2:]
        found = document["components"][kind][name]
    return found


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    """Of a schema whose references lead into the document."""
    return Draft202012Validator({**schema, "components": document["components"]})


def check(document: dict[str, Any], path: str, method: str, answer: Any) -> None:
    """The status is one of those of the operation, and the body as its schema says."""
    operation = document["paths"][path][method.lower()]
    response = response_of(document, operation, answer.status)
    ((kind, content),) = response["content"].items()
    assert answer.headers["content-type"].replace(" ", "") == kind.replace(" ", "")
    validator(document, content["schema"]).validate(answer.json())
    for header in response.get("headers", {}):
        assert header.lower() in {name.lower() for name in answer.headers}


def test_it_is_an_openapi_document(document: dict[str, Any]) -> None:
    validate = pytest.importorskip("openapi_spec_validator").validate
    validate(document)


def test_it_knows_the_service(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["ModelName"]["enum"] == ["all-MiniLM-L6-v2"]
    # Of bert-base-uncased.
    assert (schemas["TokenId"]["maximum"], schemas["Dimensions"]["maximum"]) == (30_521, 384)
    assert schemas["Texts"]["maxItems"] == 50
    assert document["security"] == [{"key": []}]
    with serving("--provider", "cpu", "--threads", "1") as without_keys:
        assert "security" not in without_keys.ask("/openapi.json").json()


def test_its_examples_work(server: Server, document: dict[str, Any]) -> None:
    tried = 0
    for path, method, operation in operations(document):
        if "requestBody" not in operation:
            continue
        content = operation["requestBody"]["content"]["application/json"]
        for example in content["examples"].values():
            validator(document, content["schema"]).validate(example["value"])
            answer = server.ask(path, example["value"], key=KEY)
            assert answer.status == 200, (path, example, answer.body)
            check(document, path, method, answer)
            tried += 1
    assert tried >= 10


def test_examples_of_answers_are_as_the_schemas_say(document: dict[str, Any]) -> None:
    tried = 0
    for _, _, operation in operations(document):
        for status in operation["responses"]:
            for content in response_of(document, operation, int(status))["content"].values():
                if "example" in content:
                    validator(document, content["schema"]).validate(content["example"])
                    tried += 1
    assert tried >= 50


WRONG: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "a body that is none": ("/v1/embeddings", "POST", {"raw": b"{"}, 400),
    "no key": ("/v1/embeddings", "POST", {"body": {"input": "a"}, "key": None}, 401),
    "another model": ("/v1/embeddings", "POST", {"body": {"input": "a", "model": "b"}}, 404),
    "a large body": ("/v1/embeddings", "POST", {"raw": b" " * 20_001}, 413),
    "a form": ("/v1/embeddings", "POST", {"raw": b"input=a", "kind": "application/x-www-form-urlencoded"}, 415),
    "no key for a list": ("/v1/models", "GET", {"key": None}, 401),
    "a name that is no UTF-8": ("/v1/models/{name}", "GET", {"name": "%ff"}, 400),
    "a name of none": ("/v1/models/{name}", "GET", {"name": "other"}, 404),
    "wrong inputs": ("/embed", "POST", {"body": {"inputs": [1, "a"]}}, 422),
    "no key at all": ("/embed", "POST", {"body": {"inputs": "a"}, "key": None}, 401),
    "a text as a form": ("/", "POST", {"raw": b"inputs=a", "kind": "text/plain"}, 415),
    "too much to tokenize": ("/tokenize", "POST", {"raw": b" " * 20_001}, 413),
    "no key for what it is": ("/info", "GET", {"key": None}, 401),
    "no key for the status": ("/status.json", "GET", {"key": None}, 401),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_are_as_the_document_says(server: Server, document: dict[str, Any], name: str) -> None:
    path, method, request, status = WRONG[name]
    request = {"key": KEY, **request}
    answer = server.ask(path.replace("{name}", request.pop("name", "")), method=method, **request)
    assert answer.status == status, answer.body
    check(document, path, method, answer)


def test_a_request_that_takes_too_long_is_as_the_document_says(document: dict[str, Any]) -> None:
    with serving("--provider", "cpu", "--threads", "1", "--timeout", "0.05") as server:
        for path, key in (("/v1/embeddings", "input"), ("/embed", "inputs")):
            answer = server.ask(path, {key: list(texts_of(2000))})
            assert answer.status == 504
            check(document, path, "POST", answer)


def test_a_full_queue_is_as_the_document_says(server: Server, document: dict[str, Any]) -> None:
    body = {"inputs": [f"{number} " * 100 for number in range(50)]}
    statuses: set[int] = set()

    def refused() -> bool:
        """They are asked at once, and yet may come one after the other."""
        answers = list(clients.map(lambda _: server.ask("/embed", body, key=KEY), range(8)))
        for answer in answers:
            check(document, "/embed", "POST", answer)
            statuses.add(answer.status)
        return 429 in statuses

    with ThreadPoolExecutor(8) as clients:
        wait_for(refused)
    assert statuses == {200, 429}


def test_what_is_not_there_and_what_is_not_taken(server: Server) -> None:
    missing = server.ask("/v2/embeddings", {"input": "a"})
    assert (missing.status, missing.json()["error"]["type"]) == (404, "invalid_request_error")
    for path, allow in (("/embed", "POST"), ("/health", "GET,HEAD"), ("/", "GET,HEAD,POST")):
        refused = server.ask(path, method="DELETE", key=KEY)
        assert refused.status == 405
        assert sorted(refused.headers["allow"].replace(" ", "").split(",")) == sorted(allow.split(","))


@pytest.mark.skipif(importlib.util.find_spec("schemathesis") is None, reason="schemathesis is not installed")
def test_schemathesis_finds_nothing(server: Server, tmp_path: Path) -> None:
    program = Path(sysconfig.get_path("scripts"), "schemathesis.exe" if os.name == "nt" else "schemathesis")
    examples, seed = os.environ.get("OXEMBED_FUZZ_EXAMPLES", "15"), os.environ.get("OXEMBED_FUZZ_SEED", "1")
    config = tmp_path / "schemathesis.toml"
    config.write_text(f'[auth.openapi.key]\nbearer = "{KEY}"\n', encoding="utf-8")
    command = [str(program), "--config-file", str(config), "--no-color", "run", f"{server.url}/openapi.json"]
    command += ["--checks", "all", "--max-examples", examples, "--seed", seed, "--request-timeout", "120"]
    variables = {**os.environ, "SCHEMATHESIS_HOOKS": HOOKS.stem, "PYTHONPATH": str(HOOKS.parent)}
    done = subprocess.run(
        command, cwd=tmp_path, env=variables, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert "No issues found" in done.stdout
    assert server.ask("/v1/embeddings", {"input": "a"}, key=KEY).status == 200
