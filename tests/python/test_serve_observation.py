"""What an operator sees of `oxembed serve`: a line a request, ids, metrics that count. Never what was in a request."""

from __future__ import annotations

import itertools
import json
import re
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import PATIENCE
from servers import SLOW, Server, serving, wait_for

parser = pytest.importorskip("prometheus_client.openmetrics.parser")

MODEL = "all-MiniLM-L6-v2"
SECRETS = ("a text that nobody may read", "zwölf Boxkämpfer", "key-that-opens", "101, 2023, 102", "[101,2023,102]")


def samples(server: Server, key: str | None = None) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All numbers of `/metrics`, by name and labels; read by the strict reader of Prometheus' own client."""
    answer = server.ask("/metrics", key=key)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = parser.text_string_to_metric_families(answer.body.decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(found: dict[Any, float], name: str, **labels: str) -> float:
    return found.get((name, tuple(sorted(labels.items()))), 0.0)


def samples_at_rest(server: Server) -> dict[Any, float]:
    """The numbers when nobody else is there: the server learns that a client hung up after the client did."""
    found: dict[Any, float] = {}

    def rests() -> bool:
        found.clear()
        found.update(samples(server))
        return value(found, "oxembed_connections") == value(found, "oxembed_requests_in_flight") == 1

    wait_for(rests)
    return found


def with_id(server: Server, given: str | None) -> str:
    headers = {} if given is None else {"X-Request-Id": given}
    with urllib.request.urlopen(
        urllib.request.Request(server.url + "/live", headers=headers), timeout=PATIENCE
    ) as answer:
        found: str = answer.headers["x-request-id"]
        return found


def lines(server: Server, count: int) -> list[dict[str, Any]]:
    """The log's lines about requests, as objects, when there are so many."""

    def found() -> list[dict[str, Any]]:
        rows = [json.loads(line) for line in list(server.log) if line.startswith("{")]
        return [row for row in rows if row.get("target") == "oxembed::requests"]

    wait_for(lambda: len(found()) >= count)
    return found()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("--provider", "cpu", "--log-format", "json", variables={"OXEMBED_LOG": "info"}) as running:
        yield running


def test_counts_are_those_of_what_was_sent() -> None:
    with serving("--provider", "cpu", "--max-inputs", "4") as server:
        before = samples_at_rest(server)
        for _ in range(3):
            assert server.ask("/v1/embeddings", {"input": ["one", "two", "two"]}).status == 200
        assert server.ask("/embed", {"inputs": "word " * 600, "truncate": True}).status == 200
        for body, status in (({}, 400), ({"input": ["a"] * 5}, 400), ({"input": "a", "model": "none"}, 404)):
            assert server.ask("/v1/embeddings", body).status == status
        assert server.ask("/nowhere/at/all").status == 404
        after = samples_at_rest(server)

    def grew(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    of_model = {"model": MODEL}
    assert grew("oxembed_requests_total", **of_model) == 4
    assert grew("oxembed_inputs_total", **of_model) == 10
    assert grew("oxembed_truncated_inputs_total", **of_model) == 1
    # "one" and "two" have a token each, and two special ones.
    assert grew("oxembed_tokens_total", **of_model) == 3 * 9 + 256
    answers = {"method": "POST", "route": "/v1/embeddings"}
    assert grew("oxembed_http_requests_total", status="200", **answers) == 3
    assert grew("oxembed_http_requests_total", status="400", **answers) == 2
    assert grew("oxembed_http_requests_total", status="404", **answers) == 1
    assert grew("oxembed_http_requests_total", status="404", method="GET", route="none") == 1
    assert grew("oxembed_errors_total", kind="invalid", route="/v1/embeddings") == 2
    assert grew("oxembed_errors_total", kind="unknown_model", route="/v1/embeddings") == 1
    assert grew("oxembed_http_request_seconds_count", route="/v1/embeddings") == 6
    assert grew("oxembed_request_seconds_count", **of_model) == 4
    stages = [
        grew("oxembed_request_stage_seconds_sum", stage=stage, **of_model) for stage in ("tokenize", "queue", "run")
    ]
    assert sum(stages) == pytest.approx(grew("oxembed_request_seconds_sum", **of_model), rel=1e-6)
    assert min(stages[0], stages[2]) > 0
    assert grew("oxembed_stage_seconds_total", stage="run", **of_model) > 0
    assert grew("oxembed_batch_tokens_total", **of_model) == 3 * 6 + 256
    assert value(after, "oxembed_queued_inputs", **of_model) == 0
    assert value(after, "oxembed_placement_share", provider="CPUExecutionProvider", **of_model) == 1
    assert value(after, "oxembed_model_info", provider="cpu", dtype="float32", **of_model) == 1
    assert [name for name, _ in after if name == "oxembed_build_info"]
    assert abs(value(after, "process_start_time_seconds") - time.time()) < 600
    if sys.platform == "linux":
        assert value(after, "process_resident_memory_bytes") > 50e6
        assert value(after, "process_threads") > 2
        assert value(after, "process_open_fds") > 5


def test_buckets_tell_a_millisecond_from_a_minute(server: Server) -> None:
    server.ask("/v1/embeddings", {"input": "a"})
    ends = [
        float(dict(labels)["le"])
        for name, labels in samples(server)
        if name == "oxembed_request_seconds_bucket" and dict(labels)["model"] == MODEL
    ]
    assert (min(ends), sorted(ends)[-2], max(ends)) == (0.001, 60.0, float("inf"))
    finite = sorted(ends)[:-1]
    assert all(later / earlier <= 3 for earlier, later in itertools.pairwise(finite))


def test_who_is_not_let_in_is_counted() -> None:
    with serving("--provider", "cpu", variables={"OXEMBED_API_KEYS": "key"}) as server:
        for _ in range(2):
            assert server.ask("/v1/embeddings", {"input": "a"}, key="wrong").status == 401
        found = samples(server, key="key")
    assert value(found, "oxembed_rejected_requests_total", reason="unauthorized") == 2
    assert value(found, "oxembed_errors_total", kind="unauthorized", route="/v1/embeddings") == 2


def test_who_leaves_is_counted() -> None:
    with serving(*SLOW) as server:
        with server.occupied():
            pass
        wait_for(lambda: value(samples(server), "oxembed_errors_total", kind="left", route="/v1/embeddings") > 0)
        found = samples_at_rest(server)
    left = {"method": "POST", "route": "/v1/embeddings", "status": "0"}
    assert value(found, "oxembed_http_requests_total", **left) == 1


@pytest.mark.parametrize("limit", [(), ("--memory-limit-bytes", "4000000000")], ids=["uncounted", "counted"])
def test_the_memory_of_a_model_is_told_where_it_is_counted(limit: tuple[str, ...]) -> None:
    with serving("--provider", "cpu", "--log-format", "json", *limit, variables={"OXEMBED_LOG": "info"}) as server:
        rows = [json.loads(line) for line in list(server.log) if line.startswith("{")]
        (loaded,) = [row for row in rows if row.get("fields", row).get("message") == "loaded"]
    fields = loaded.get("fields", loaded)
    assert ("bytes" in fields) == bool(limit), loaded
    assert fields.get("bytes", 1 << 30) > 40 << 20


def test_ids(server: Server) -> None:
    assert with_id(server, "mine-1") == "mine-1"
    made = {with_id(server, None) for _ in range(5)} | {with_id(server, "x" * 200), with_id(server, "a b")}
    assert len(made) == 7
    assert all(re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", one) for one in made)
    for path in ("/nowhere", "/embed"):
        assert server.ask(path).headers["x-request-id"]


def test_a_line_a_request() -> None:
    with serving("--provider", "cpu", "--log-format", "json") as server:
        server.ask("/v1/embeddings", {"input": ["one", "two"]})
        server.ask("/v1/embeddings", {"input": []})
        server.ask("/live")  # of those who watch, only failures are told
        server.ask("/nowhere")
        first, second, third = lines(server, 3)
    expected = {"level": "INFO", "method": "POST", "route": "/v1/embeddings", "status": 200, "model": MODEL}
    assert {key: first[key] for key in expected} == expected
    assert (first["inputs"], first["tokens"], first["message"]) == (2, 6, "request")
    assert 0 < first["milliseconds"] < 60_000
    assert (second["status"], second["failure"], "model" in second) == (400, "invalid", False)
    assert (third["status"], third["route"]) == (404, "none")
    assert len({first["id"], second["id"], third["id"]}) == 3


def test_the_log_for_people() -> None:
    with serving("--provider", "cpu") as server:
        server.ask("/v1/embeddings", {"input": "one"})
        wait_for(lambda: any("oxembed::requests" in line for line in server.log))
        (line,) = [line for line in server.log if "oxembed::requests" in line]
    assert "INFO" in line
    assert 'route="/v1/embeddings" status=200' in line
    assert "inputs=1 tokens=3" in line
    assert "\x1b" not in line


@pytest.mark.parametrize("style", ["text", "json"])
def test_nothing_that_was_sent_is_in_the_log(style: str) -> None:
    """Not even at the level that tells everything of ours."""
    with serving(
        "--provider", "cpu", "--log-format", style, "--max-inputs", "3",
        variables={"OXEMBED_LOG": "info,oxembed=trace", "OXEMBED_API_KEYS": "key-that-opens"},
    ) as server:  # fmt: skip
        key = "key-that-opens"
        texts: list[Any] = [
            SECRETS[0],
            [SECRETS[0], SECRETS[1]],
            [101, 2023, 102],
            [[101, 2023, 102]],
            SECRETS[0] * 500,
        ]
        for text in texts:
            server.ask("/v1/embeddings", {"input": text}, key=key)
            server.ask("/embed", {"inputs": text}, key=key)
            server.ask("/tokenize", {"inputs": text}, key=key)
        server.ask("/v1/embeddings", {"input": [SECRETS[0]] * 9, "user": SECRETS[1]}, key=key)
        server.ask("/v1/embeddings", {SECRETS[0]: 1, "input": SECRETS[1]}, key=key)
        server.ask("/v1/embeddings", raw=SECRETS[0].encode(), key=key)
        server.ask("/v1/embeddings", {"input": "a", "model": SECRETS[0]}, key=key)
        server.ask("/" + SECRETS[0].replace(" ", "%20"), key=key)
        server.ask("/v1/models/" + SECRETS[0].replace(" ", "%20"), key=key)
        server.ask("/v1/embeddings", {"input": "a"}, key="another-" + key)
        assert server.stop() == 0
        log = "".join(server.log)
    assert log.count("oxembed::requests") >= 20
    for secret in (*SECRETS, SECRETS[0].replace(" ", "%20"), "nobody may read"):
        assert secret not in log
