"""`oxembed serve` and OpenTelemetry: spans for a collector, by OTLP over HTTP, in the client's own trace."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from conftest import PATIENCE
from servers import Server, serving, wait_for

service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """What a collector was sent."""

    def __init__(self, port: int = 0) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.paths: list[tuple[str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.paths.append((self.path, self.headers["Content-Type"]))
                for part in service.ExportTraceServiceRequest.FromString(body).resource_spans:
                    collector.resources.append({one.key: one.value.string_value for one in part.resource.attributes})
                    for scope in part.scope_spans:
                        collector.spans.extend(scope.spans)
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @contextmanager
    def running(self) -> Iterator[Collector]:
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join()


def ask(server: Server, parent: str | None) -> None:
    headers = {"Content-Type": "application/json"} | ({} if parent is None else {"traceparent": parent})
    request = urllib.request.Request(server.url + "/v1/embeddings", b'{"input": ["one", "two"]}', headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        assert answer.status == 200


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_spans_reach_the_collector() -> None:
    with (
        Collector().running() as collector,
        serving("--provider", "cpu", "--otlp-endpoint", collector.url, "--service-name", "mine") as server,
    ):
        before = time.time_ns()
        ask(server, f"00-{TRACE}-{PARENT}-01")
        ask(server, None)
        ask(server, f"00-{TRACE}-{PARENT}-00")  # whoever asks does not want it recorded
        server.ask("/v1/embeddings", {"input": []})
        # What is left is sent at the end.
        assert server.stop() == 0
        after = time.time_ns()
    assert set(collector.paths) == {("/v1/traces", "application/x-protobuf")}
    assert {resource["service.name"] for resource in collector.resources} == {"mine"}
    assert all(resource["service.version"] for resource in collector.resources)
    requests = [span for span in collector.spans if span.name == "POST /v1/embeddings"]
    assert len(requests) == 3
    (continued,) = [span for span in requests if span.trace_id.hex() == TRACE]
    assert continued.parent_span_id.hex() == PARENT
    assert continued.kind == 2  # a server's
    found = attributes(continued)
    expected = {
        "http.request.method": "POST", "http.route": "/v1/embeddings", "http.response.status_code": 200,
        "oxembed.model": "all-MiniLM-L6-v2", "oxembed.inputs": 2, "oxembed.tokens": 6,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    assert before <= continued.start_time_unix_nano <= continued.end_time_unix_nano <= after
    failed = [attributes(span) for span in requests if "error.type" in attributes(span)]
    assert [(span["http.response.status_code"], span["error.type"]) for span in failed] == [(400, "invalid")]
    # A failure of the client is none of the service's.
    assert all(span.status.code == 0 for span in requests)
    stages = [span for span in collector.spans if span.parent_span_id == continued.span_id]
    assert [stage.name for stage in sorted(stages, key=lambda stage: stage.start_time_unix_nano)] == [
        "tokenize",
        "queue",
        "run",
    ]
    assert all(stage.trace_id == continued.trace_id for stage in stages)
    # The clock that is read is another than the one that runs, and who reads both may be held up in between.
    slack = 200_000_000
    assert all(
        continued.start_time_unix_nano - slack <= stage.start_time_unix_nano <= stage.end_time_unix_nano
        and stage.end_time_unix_nano <= continued.end_time_unix_nano + slack
        for stage in stages
    )
    assert "one" not in str(collector.spans).replace("none", "")


def test_the_variables_of_opentelemetry() -> None:
    with Collector().running() as collector:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url + "/", "OTEL_SERVICE_NAME": "theirs"}
        with serving("--provider", "cpu", variables=variables) as server:
            ask(server, None)
            assert server.stop() == 0
    assert collector.paths[0][0] == "/v1/traces"
    assert {resource["service.name"] for resource in collector.resources} == {"theirs"}


def test_a_collector_that_is_away_costs_a_line() -> None:
    free = Collector()
    port = free.server.server_port
    free.server.server_close()
    variables = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
    with serving("--provider", "cpu", "--otlp-endpoint", free.url, variables=variables) as server:

        def asked_until(says: str) -> bool:
            ask(server, None)
            return any(says in line for line in server.log)

        wait_for(lambda: asked_until("takes no traces"))
        for _ in range(20):
            ask(server, None)
            time.sleep(0.05)
        assert sum("takes no traces" in line for line in server.log) == 1
        with Collector(port).running() as collector:
            # Said once the collector's answer is there.
            wait_for(lambda: asked_until("takes traces again"))
            assert collector.spans
            assert server.stop() == 0
