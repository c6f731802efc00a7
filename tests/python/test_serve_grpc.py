"""`oxembed serve` by gRPC, with a client generated from the .proto file: right vectors, right status."""

from __future__ import annotations

import queue
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tokenizers
from conftest import FIXTURES, PATIENCE, TOLERANCE, Golden
from google.protobuf import descriptor_pb2
from grpc import StatusCode
from grpc_clients import connected, generated, messages, rows
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from servers import LARGE, SLOW, Server, serving, texts_of, wait_for

from oxembed import Embedder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")

MINI = Path(__file__).resolve().parents[2] / "models" / "all-MiniLM-L6-v2"
SMALL = FIXTURES / "bert-mean-prompts"
SERVICE = "oxembed.v1.Embedding"
# Room for large requests and others beside them.
QUEUE = ("--max-queued-inputs", "100000")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    models = ["--model", f"mini,other={MINI}", "--model", f"small={SMALL}"]
    with serving(*SLOW, *QUEUE, *models) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    with connected(server) as stub:
        yield stub


@pytest.fixture(scope="module")
def mini() -> Embedder:
    return Embedder(MINI, provider="cpu")


@pytest.fixture(scope="module")
def tokenizer() -> tokenizers.Tokenizer:
    """The library itself, with the model's file."""
    found = tokenizers.Tokenizer.from_file(str(MINI / "tokenizer.json"))
    found.no_padding()
    found.no_truncation()
    return found


def request(*texts: str, **fields: Any) -> Any:
    return messages.EmbedRequest(texts=texts, **fields)


def large(**fields: Any) -> Any:
    return request(*texts_of(LARGE), **fields)


def refused(call: Any, *arguments: Any, **options: Any) -> Any:
    """The error of a call that has to fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **options)
    return caught.value


class Conversation:
    """A stream that requests are put into one by one."""

    def __init__(self, client: Any, **options: Any) -> None:
        self.asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.answers = client.EmbedStream(iter(self.asked.get, None), **options)

    def ask(self, number: int, what: Any) -> None:
        self.asked.put(messages.StreamedRequest(id=number, request=what))

    def end(self) -> None:
        self.asked.put(None)


# ---- Vectors -------------------------------------------------------------------------------------------------------


def test_rows_are_those_of_the_library(client: Any, mini: Embedder, tokenizer: tokenizers.Tokenizer) -> None:
    for texts in (["a text"], ["a text", "another", "a text", ""], list(texts_of(200))):
        answer = client.Embed(request(*texts))
        expected = mini.encode(texts)
        assert (answer.model, answer.dimension, answer.truncated) == ("mini", 384, 0)
        assert rows(answer).tobytes() == expected.tobytes()
        assert answer.tokens == sum(len(encoding.ids) for encoding in tokenizer.encode_batch(texts))


def test_options_are_those_of_the_library(client: Any, mini: Embedder) -> None:
    texts = list(texts_of(9))
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"dimensions": 64}, {"truncate_dim": 64}),
        ({"dimensions": 64, "normalize": True}, {"truncate_dim": 64, "normalize_embeddings": True}),
        ({"prompt": "about: "}, {"prompt": "about: "}),
        ({"model": "other"}, {}),
    ]
    for fields, options in cases:
        answer = client.Embed(request(*texts, **fields))
        assert rows(answer).tobytes() == mini.encode(texts, **options).tobytes(), fields


def test_prompts_give_the_vectors_of_sentence_transformers(client: Any, golden: Golden) -> None:
    query, document = golden.vectors["prompt_query"], golden.vectors["prompt_document"]
    for fields, truth in [
        ({}, golden.vectors["embeddings"]),
        ({"prompt_name": "query"}, query),
        ({"prompt_name": "document"}, document),
        ({"role": messages.ROLE_QUERY}, query),
        ({"role": messages.ROLE_DOCUMENT}, document),
        ({"prompt": "query: "}, query),
        ({"prompt": "query: ", "role": messages.ROLE_DOCUMENT}, query),
    ]:
        texts = golden.texts[: len(truth)]
        found = rows(client.Embed(request(*texts, model="small", truncate=True, **fields)))
        scale = np.maximum(1.0, np.abs(truth).max(axis=1, keepdims=True))
        assert (np.abs(found - truth) / scale).max() <= TOLERANCE, fields


def test_token_ids_are_texts(client: Any, mini: Embedder, tokenizer: tokenizers.Tokenizer) -> None:
    texts = list(texts_of(20))
    ids = [messages.TokenIds(ids=tokenizer.encode(text).ids) for text in texts]
    answer = client.Embed(messages.EmbedRequest(token_ids=ids))
    assert rows(answer).tobytes() == mini.encode(texts).tobytes()
    assert answer.tokens == sum(len(row.ids) for row in ids)


def test_long_texts_are_cut_where_that_is_asked_for(client: Any, mini: Embedder) -> None:
    text = "word " * 600
    answer = client.Embed(request(text, "short", truncate=True))
    assert (answer.truncated, answer.tokens) == (1, 256 + 3)
    assert rows(answer).tobytes() == mini.encode([text, "short"]).tobytes()


def test_tokens_are_those_of_the_tokenizers_library(client: Any, tokenizer: tokenizers.Tokenizer) -> None:
    texts = ["a text", "", "naïve 語 🦀 unaffordable", "word " * 300]
    for special in (True, False):
        answer = client.Tokenize(messages.TokenizeRequest(texts=texts, without_special_tokens=not special))
        for text, found in zip(texts, answer.texts, strict=True):
            expected = tokenizer.encode(text, add_special_tokens=special)
            assert [token.id for token in found.tokens] == expected.ids
            assert [token.text for token in found.tokens] == expected.tokens
            assert [int(token.special) for token in found.tokens] == expected.special_tokens_mask
            spans = [(token.start, token.stop) for token in found.tokens if not token.special]
            masked = zip(expected.offsets, expected.special_tokens_mask, strict=True)
            assert spans == [span for span, is_special in masked if not is_special]
            assert not any(token.HasField("start") for token in found.tokens if token.special)


def test_tokens_of_a_prompt(client: Any) -> None:
    asked = messages.TokenizeRequest(model="small", texts=["a"], prompt_name="query", without_special_tokens=True)
    alone = messages.TokenizeRequest(model="small", texts=["query: a"], without_special_tokens=True)
    assert client.Tokenize(asked).texts[0] == client.Tokenize(alone).texts[0]


def test_info(client: Any, mini: Embedder) -> None:
    answer = client.Info(messages.InfoRequest())
    assert [model.name for model in answer.models] == ["mini", "small"]
    first, second = answer.models
    assert (first.dimension, first.max_seq_length, first.provider) == (384, mini.max_seq_length, "cpu")
    assert (first.family, list(first.pooling), first.similarity) == ("bert", ["mean"], "cosine")
    assert dict(second.prompts) == {"query": "query: ", "document": "passage: "}
    assert (answer.max_inputs, answer.max_message_bytes) == (LARGE, 16 << 20)
    assert (answer.default_model, list(answer.unloaded)) == ("mini", [])
    assert time.time() - 3600 < first.loaded <= time.time()


def test_requests_of_a_stream_are_counted_and_told_one_by_one() -> None:
    with serving("--provider", "cpu") as server, connected(server) as client:
        stream = Conversation(client)
        stream.ask(1, request("a", "b"))
        stream.ask(2, request("a", dimensions=100_000))
        stream.end()
        assert len(list(stream.answers)) == 2
        client.Info(messages.InfoRequest())
        service = "/oxembed.v1.Embedding/"
        expected = {
            f'oxembed_http_requests_total{{method="POST",route="{service}EmbedStream#message",status="200"}} 2',
            f'oxembed_http_requests_total{{method="POST",route="{service}EmbedStream",status="200"}} 1',
            f'oxembed_http_requests_total{{method="POST",route="{service}Info",status="200"}} 1',
            f'oxembed_errors_total{{route="{service}EmbedStream#message",kind="invalid"}} 1',
        }
        # A stream is counted when its last byte was taken, and that may be after the client has read it.
        wait_for(lambda: expected <= set(server.ask("/metrics").body.decode().splitlines()))
    told = [line for line in server.log if "EmbedStream#message" in line]
    assert sorted("inputs=2" in line and 'failure="invalid"' not in line for line in told) == [False, True]
    # By the id of the stream.
    assert len({re.findall(r'id="(\S+)"', line)[0] for line in server.log if "EmbedStream" in line}) == 1


# ---- What is wrong with a request ----------------------------------------------------------------------------------

BAD: dict[str, tuple[dict[str, Any], StatusCode, str]] = {
    "nothing": ({}, StatusCode.INVALID_ARGUMENT, "at least one"),
    "texts and ids": ({"texts": ["a"], "token_ids": [{"ids": [1]}]}, StatusCode.INVALID_ARGUMENT, "send one of them"),
    "a row without ids": ({"token_ids": [{"ids": [1]}, {}]}, StatusCode.INVALID_ARGUMENT, "token_ids[1] has no ids"),
    "ids of no token": (
        {"token_ids": [{"ids": [10**6]}]},
        StatusCode.INVALID_ARGUMENT,
        "of this model's own tokenizer",
    ),
    "no dimensions": ({"texts": ["a"], "dimensions": 0}, StatusCode.INVALID_ARGUMENT, "dimensions is 0"),
    "more dimensions": (
        {"texts": ["a"], "dimensions": 385},
        StatusCode.INVALID_ARGUMENT,
        "the model's vectors have 384",
    ),
    "a role": ({"texts": ["a"], "role": 9}, StatusCode.INVALID_ARGUMENT, "role is 9"),
    "a prompt": ({"texts": ["a"], "prompt_name": "nope"}, StatusCode.INVALID_ARGUMENT, "nope"),
    "a model": ({"texts": ["a"], "model": "nope"}, StatusCode.NOT_FOUND, "there is mini, other, small"),
    "a long name": ({"texts": ["a"], "model": "語" * 100_000}, StatusCode.NOT_FOUND, "there is no model"),
    "too long": ({"texts": ["a", "word " * 600]}, StatusCode.INVALID_ARGUMENT, "text 1 has 602 tokens"),
    "too many": ({"texts": ["a"] * (LARGE + 1)}, StatusCode.INVALID_ARGUMENT, "20001 inputs are more than"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said(client: Any, name: str) -> None:
    fields, code, says = BAD[name]
    error = refused(client.Embed, messages.EmbedRequest(**fields))
    assert error.code() is code
    assert says in error.details()
    # The same in a stream, where it ends nothing.
    stream = Conversation(client)
    stream.ask(7, messages.EmbedRequest(**fields))
    stream.ask(8, request("a text"))
    stream.end()
    answers = {answer.id: answer for answer in stream.answers}
    failure = answers[7].failure
    assert (failure.code, says in failure.message) == (code.value[0], True)
    assert answers[8].response.dimension == 384


def test_tokenizing_needs_texts_and_a_model(client: Any) -> None:
    assert refused(client.Tokenize, messages.TokenizeRequest()).code() is StatusCode.INVALID_ARGUMENT
    asked = messages.TokenizeRequest(texts=["a"], model="nope")
    assert refused(client.Tokenize, asked).code() is StatusCode.NOT_FOUND
    many = messages.TokenizeRequest(texts=["a"] * (LARGE + 1))
    assert refused(client.Tokenize, many).code() is StatusCode.INVALID_ARGUMENT


def test_methods_and_services_that_there_are_not(client: Any) -> None:
    for path in (f"/{SERVICE}/Other", "/oxembed.v2.Embedding/Embed", "/Embed"):
        call = client.channel.unary_unary(path)
        assert refused(call, b"").code() is StatusCode.UNIMPLEMENTED, path


# ---- Streams -------------------------------------------------------------------------------------------------------


def test_a_stream_answers_what_is_ready(server: Server, client: Any, mini: Embedder) -> None:
    stream = Conversation(client)
    stream.ask(1, large())
    wait_for(lambda: waiting(server)[0] == LARGE)
    for number, texts in ((2**64 - 1, ["a small one"]), (0, list(texts_of(100)))):
        stream.ask(number, request(*texts))
        found = next(stream.answers)
        assert (found.id, found.WhichOneof("outcome")) == (number, "response")
        np.testing.assert_allclose(rows(found.response), mini.encode(texts), atol=1e-6)
    stream.answers.cancel()
    server.wait_until_idle()


def test_each_of_many_requests_of_a_stream_gets_its_own(client: Any, mini: Embedder) -> None:
    texts = list(texts_of(300))
    stream = Conversation(client)
    for index, text in enumerate(texts):
        stream.ask(index, request(text))
    stream.end()
    found = {answer.id: rows(answer.response)[0] for answer in stream.answers}
    np.testing.assert_allclose([found[index] for index in range(300)], mini.encode(texts), atol=1e-6)


def test_an_id_may_come_twice_and_a_request_may_be_absent(client: Any) -> None:
    asked = [messages.StreamedRequest(id=3, request=request("a")), messages.StreamedRequest(id=3)]
    outcomes = sorted((answer.id, answer.WhichOneof("outcome")) for answer in client.EmbedStream(iter(asked)))
    assert outcomes == [(3, "failure"), (3, "response")]


def test_a_client_that_does_not_read_is_held_up(client: Any) -> None:
    sent = 0

    def requests() -> Iterator[Any]:
        nonlocal sent
        for number in range(2000):
            sent = number + 1
            # Refused at once, with an answer as long as the question.
            yield messages.StreamedRequest(id=number, request=request("a", model="x" * 50_000))

    answers = client.EmbedStream(requests())
    before = -1
    while before != sent or not sent:
        before = sent
        time.sleep(1)
    assert sent < 1500, "nothing held the requests up"
    assert sorted(answer.id for answer in answers) == list(range(2000))


# ---- Time, and clients that leave ----------------------------------------------------------------------------------


def test_a_deadline_is_honoured(server: Server, client: Any) -> None:
    for call in (lambda: client.Embed(large(), timeout=0.5), lambda: list(talk(client, timeout=0.5))):
        with server.gives_up():
            assert refused(call).code() is StatusCode.DEADLINE_EXCEEDED
    assert client.Embed(request("a"), timeout=PATIENCE).dimension == 384


def talk(client: Any, **options: Any) -> Iterator[Any]:
    stream = Conversation(client, **options)
    stream.ask(1, large())
    return iter(stream.answers)


def test_the_service_has_a_limit_of_its_own() -> None:
    with (
        serving(*SLOW, "--timeout", "0.5", *QUEUE) as server,
        connected(server) as client,
    ):
        with server.gives_up():
            error = refused(client.Embed, large())
        assert (error.code(), "not answered within 0.5 s" in error.details()) == (StatusCode.DEADLINE_EXCEEDED, True)
        stream = Conversation(client)
        stream.ask(1, large())
        stream.ask(2, request("a"))
        stream.end()
        found = {answer.id: answer for answer in stream.answers}
        assert found[1].failure.code == StatusCode.DEADLINE_EXCEEDED.value[0]
        server.wait_until_idle()


def test_what_is_cancelled_is_given_up(server: Server, client: Any) -> None:
    with server.gives_up(2):
        alone = client.Embed.future(large())
        stream = Conversation(client)
        stream.ask(1, large())
        wait_for(lambda: waiting(server)[0] == 2 * LARGE)
        alone.cancel()
        stream.answers.cancel()
    assert alone.code() is StatusCode.CANCELLED
    assert client.Embed(request("a")).dimension == 384


def test_a_client_whose_connection_breaks_is_given_up(server: Server) -> None:
    with server.gives_up():
        with connected(server) as client:
            call = client.Embed.future(large())
            wait_for(lambda: waiting(server)[0] == LARGE)
        assert call.done(), "the channel was closed, and its call goes on"


def waiting(server: Server) -> list[int]:
    """Texts that wait or run, of each model."""
    lines = server.ask("/metrics").body.decode().splitlines()
    found = {
        line.split()[0]: int(float(line.split()[1])) for line in lines if line.startswith("oxembed_queued_inputs{")
    }
    return [found[name] for name in sorted(found)]


# ---- Keys and limits -----------------------------------------------------------------------------------------------


def test_keys() -> None:
    variables = {"OXEMBED_API_KEYS": "first,second"}
    with serving("--provider", "cpu", variables=variables) as server, connected(server) as client:
        for metadata in ([], [("authorization", "Bearer wrong")], [("authorization", "second")]):
            for call in (client.Embed, client.Tokenize, client.Info):
                error = refused(call, messages.EmbedRequest(texts=["a"]), metadata=metadata)
                assert (error.code(), "Bearer KEY" in error.details()) == (StatusCode.UNAUTHENTICATED, True)
            error = refused(lambda metadata=metadata: list(client.EmbedStream(iter([]), metadata=metadata)))
            assert error.code() is StatusCode.UNAUTHENTICATED
        assert client.Embed(request("a"), metadata=[("authorization", "Bearer second")]).dimension == 384
        assert (
            refused(ProtoReflectionDescriptorDatabase(client.channel).get_services).code() is StatusCode.UNAUTHENTICATED
        )
        health = health_pb2_grpc.HealthStub(client.channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING


def test_a_full_queue_says_when_to_come_back() -> None:
    with serving(*SLOW, "--max-queued-inputs", "100") as server, connected(server) as client:
        busy = client.Embed.future(large())
        wait_for(lambda: waiting(server) == [LARGE])
        error = refused(client.Embed, request("a"))
        assert error.code() is StatusCode.RESOURCE_EXHAUSTED
        assert 1 <= int(dict(error.trailing_metadata())["retry-after"]) <= 60
        (answer,) = client.EmbedStream(iter([messages.StreamedRequest(id=5, request=request("a"))]))
        assert answer.failure.code == StatusCode.RESOURCE_EXHAUSTED.value[0]
        assert 1 <= answer.failure.retry_after <= 60
        busy.cancel()
        server.wait_until_idle()
        assert client.Embed(request("a")).dimension == 384


def test_a_message_that_is_too_large() -> None:
    with serving("--provider", "cpu", "--max-body-bytes", "1000") as server, connected(server) as client:
        too_large = request("a" * 1000)
        error = refused(client.Embed, too_large)
        assert (error.code(), "larger than 1000 bytes" in error.details()) == (StatusCode.RESOURCE_EXHAUSTED, True)
        asked = [messages.StreamedRequest(id=1, request=one) for one in (request("a"), too_large)]
        answers = client.EmbedStream(iter(asked))
        assert next(answers).response.dimension == 384
        assert refused(next, answers).code() is StatusCode.RESOURCE_EXHAUSTED
        assert client.Embed(request("a")).dimension == 384


# ---- Health, reflection, the end -----------------------------------------------------------------------------------


def test_health(client: Any) -> None:
    health = health_pb2_grpc.HealthStub(client.channel)
    for service in ("", SERVICE):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    error = refused(health.Check, health_pb2.HealthCheckRequest(service="other"))
    assert error.code() is StatusCode.NOT_FOUND


def test_reflection_has_what_protoc_makes_of_the_file(client: Any) -> None:
    (expected,) = descriptor_pb2.FileDescriptorSet.FromString(generated().descriptors).file
    database = ProtoReflectionDescriptorDatabase(client.channel)
    assert {SERVICE, "grpc.health.v1.Health"} <= set(database.get_services())
    assert database.FindFileByName("oxembed.proto") == expected
    assert database.FindFileContainingSymbol(f"{SERVICE}.EmbedStream") == expected
    # The version that newer clients ask for has the same messages.
    stable = client.channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    (answer,) = stable(iter([reflection_pb2.ServerReflectionRequest(file_by_filename="oxembed.proto")]))
    (found,) = answer.file_descriptor_response.file_descriptor_proto
    assert descriptor_pb2.FileDescriptorProto.FromString(found) == expected


def test_the_end_answers_what_was_asked_and_says_that_it_is_one() -> None:
    with serving("--provider", "cpu", "--drain", "200") as server, connected(server) as client:
        health = health_pb2_grpc.HealthStub(client.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        idle, busy = Conversation(client), Conversation(client)
        # Some seconds of work, so that the second comes while the first is not done.
        texts = texts_of(1500)
        busy.ask(1, request(*texts))
        alone = client.Embed.future(request(*texts))
        wait_for(lambda: waiting(server) == [2 * len(texts)])
        ended: list[int] = []
        ending = threading.Thread(target=lambda: ended.append(server.stop()))
        ending.start()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert list(watch) == []
        assert refused(next, idle.answers).code() is StatusCode.UNAVAILABLE
        assert len(next(busy.answers).response.values) == len(texts) * 384
        error = refused(next, busy.answers)
        assert (error.code(), "is stopping" in error.details()) == (StatusCode.UNAVAILABLE, True)
        assert len(alone.result().values) == len(texts) * 384
        ending.join(timeout=PATIENCE)
        assert ended == [0]
