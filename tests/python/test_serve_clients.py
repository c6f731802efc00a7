"""The official `openai` client and huggingface_hub's against a running `oxembed serve`.

Truth is sentence-transformers' vectors in the fixtures, and the library's own, of which a client has to see every bit.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from servers import SLOW, Server, ids_of, serving, texts_of, wait_for

from oxembed import Embedder

openai = pytest.importorskip("openai")
hub = pytest.importorskip("huggingface_hub")
hub_errors = pytest.importorskip("huggingface_hub.errors")

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
MODEL = "all-MiniLM-L6-v2"
KEY = "a key"
TOLERANCE = 1e-5

Vectors = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    models = ("--model", f"{MODEL},small=all-MiniLM-L6-v2")
    with serving("--provider", "cpu", "--auto-truncate", *models, variables={"OXEMBED_API_KEYS": KEY}) as running:
        yield running


@pytest.fixture(scope="module")
def library() -> Embedder:
    return Embedder(provider="cpu")


@pytest.fixture(scope="module")
def golden() -> tuple[list[str], Vectors]:
    folder = FIXTURES / "all-MiniLM-L6-v2-golden"
    with np.load(folder / "vectors.npz") as stored:
        return json.loads((folder / "texts.json").read_text(encoding="utf-8")), stored["embeddings"]


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as made:
        yield made


def rows(answer: Any) -> Vectors:
    assert [row.index for row in answer.data] == list(range(len(answer.data)))
    return np.array([row.embedding for row in answer.data], dtype=np.float32)


def assert_same_directions(found: Vectors, truth: Vectors) -> None:
    """The embedded model's weights are rounded to half precision, its golden vectors are of the whole ones."""
    assert found.shape == truth.shape
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(truth, axis=1)
    assert float(((found * truth).sum(axis=1) / lengths).min()) >= 0.99999


def assert_close(found: Vectors, truth: Vectors) -> None:
    assert found.shape == truth.shape
    assert float(np.abs(found - truth).max()) <= TOLERANCE


# ---- openai ---------------------------------------------------------------------------------------------------------


def test_openai_gets_the_golden_vectors(client: Any, golden: tuple[list[str], Vectors]) -> None:
    texts, truth = golden
    answer = client.embeddings.create(model=MODEL, input=texts)
    assert_same_directions(rows(answer), truth)
    assert (answer.model, answer.object) == (MODEL, "list")


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_openai_sees_every_bit_of_the_library(client: Any, library: Embedder, encoding: str | None) -> None:
    options = {} if encoding is None else {"encoding_format": encoding}
    for text in texts_of(5):
        answer = client.embeddings.create(model=MODEL, input=text, **options)
        found = answer.data[0].embedding
        if encoding == "base64":
            # Asked for in so many words, the client hands it over as it came.
            found = np.frombuffer(base64.b64decode(found), dtype="<f4")
        np.testing.assert_array_equal(np.array(found, dtype=np.float32), library.encode(text))


def test_openai_counts_tokens(client: Any, library: Embedder) -> None:
    texts = list(texts_of(3))
    usage = client.embeddings.create(model=MODEL, input=texts).usage
    assert usage.prompt_tokens == usage.total_tokens == sum(map(len, ids_of(library, texts)))


def test_openai_cuts_to_dimensions(client: Any, library: Embedder) -> None:
    texts = list(texts_of(3))
    found = rows(client.embeddings.create(model=MODEL, input=texts, dimensions=100))
    whole = library.encode(texts)[:, :100]
    assert_close(found, whole / np.linalg.norm(whole, axis=1, keepdims=True))


def test_openai_sends_token_ids(client: Any, library: Embedder) -> None:
    texts = ["one text", "another text of more words"]
    ids = ids_of(library, texts)
    assert_close(rows(client.embeddings.create(model=MODEL, input=ids)), library.encode(texts))
    assert_close(rows(client.embeddings.create(model=MODEL, input=ids[1])), library.encode(texts[1:]))


def test_openai_lists_the_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve("small").id == MODEL


def test_openai_raises_what_it_has_for_each_error(server: Server, client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="has to be a string") as wrong:
        client.embeddings.create(model=MODEL, input=["a", {}])
    assert wrong.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError, match="have 384") as wide:
        client.embeddings.create(model=MODEL, input="a", dimensions=1000)
    assert wide.value.param == "dimensions"
    with pytest.raises(openai.NotFoundError, match="there is all-MiniLM-L6-v2, small") as unknown:
        client.embeddings.create(model="text-embedding-3-small", input="a")
    assert unknown.value.code == "model_not_found"
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="another", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        stranger.models.list()
    assert refused.value.code == "invalid_api_key"


def test_openai_is_told_to_come_back_and_does() -> None:
    with (
        serving(*SLOW, "--max-queued-inputs", "100") as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as impatient,
        ThreadPoolExecutor(1) as clients,
    ):
        patient = impatient.with_options(max_retries=20)
        with server.occupied():
            with pytest.raises(openai.RateLimitError) as full:
                impatient.embeddings.create(model=MODEL, input="a")
            assert full.value.code == "rate_limit_exceeded"
            assert int(full.value.response.headers["retry-after"]) >= 1
            answer = clients.submit(patient.embeddings.create, model=MODEL, input="a")
            wait_for(lambda: server.metric("rejected_requests_total") >= 2, "the second is not told to come back")
        assert len(answer.result().data) == 1


def test_openai_asks_fifty_times_at_once(server: Server, library: Embedder) -> None:
    texts = list(texts_of(50))

    async def ask() -> list[Vectors]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client:
            calls = [client.embeddings.create(model=MODEL, input=text) for text in texts]
            return [rows(answer)[0] for answer in await asyncio.gather(*calls)]

    assert_close(np.array(asyncio.run(ask())), library.encode(texts))


# ---- huggingface_hub ------------------------------------------------------------------------------------------------


def test_hub_gets_the_golden_vectors(server: Server, golden: tuple[list[str], Vectors]) -> None:
    texts, truth = golden
    found = hub.InferenceClient(base_url=server.url, api_key=KEY).feature_extraction(texts)
    assert_same_directions(found, truth)


def test_hub_sees_every_bit_of_the_library(server: Server, library: Embedder) -> None:
    for text in texts_of(5):
        found = hub.InferenceClient(model=server.url, token=KEY).feature_extraction(text)
        # Vectors of this API have a length of one unless it is told not to, whatever the model does by itself.
        np.testing.assert_array_equal(found, library.encode([text], normalize_embeddings=True))


def test_hub_options() -> None:
    folder = FIXTURES / "bert-mean-prompts"
    with np.load(folder / "golden.npz") as stored:
        truth = {key: stored[key] for key in stored.files}
    texts = json.loads((folder / "golden_texts.json").read_text(encoding="utf-8"))
    with serving("--provider", "cpu", "--model", os.fspath(folder)) as server:
        client = hub.InferenceClient(server.url)
        for name in ("query", "document"):
            prompted = client.feature_extraction(texts[:8], prompt_name=name, truncate=True, normalize=False)
            assert_close(prompted, truth[f"prompt_{name}"])
        bare = client.feature_extraction(texts, truncate=True, normalize=False)
        assert_close(bare, truth["embeddings"])
        unit = client.feature_extraction(texts, truncate=True, truncation_direction="right", normalize=True)
        assert_close(unit, truth["embeddings"] / np.linalg.norm(truth["embeddings"], axis=1, keepdims=True))
        with pytest.raises(hub_errors.HfHubHTTPError) as long:
            client.feature_extraction("word " * 2000)
        assert long.value.response.status_code == 422
        with pytest.raises(hub_errors.HfHubHTTPError) as unknown:
            client.feature_extraction("a", prompt_name="poem")
        assert "poem" in unknown.value.response.text
