"""LangChain's and LlamaIndex's embeddings classes against a running `oxembed serve`: `make serve-clients-test`.

They bring a hundred packages, so they have an environment of their own. Truth is the library's own vectors.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from servers import Server, serving, texts_of

from oxembed import Embedder

MODEL = "all-MiniLM-L6-v2"
KEY = "a key"
TEXTS = [*texts_of(30), "", "two\nlines"]
NEEDED = ("langchain_openai", "langchain_huggingface", "llama_index.embeddings.openai_like")


def absent(name: str) -> bool:
    return importlib.util.find_spec(name.partition(".")[0]) is None


# In the environment that has them, one that is absent is a failure.
pytestmark = [
    pytest.mark.skipif(
        "OXEMBED_FRAMEWORKS" not in os.environ and any(map(absent, NEEDED)),
        reason="LangChain and LlamaIndex are not installed: `make serve-clients-test`",
    ),
    # What they deprecate in each other is not ours.
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Connections that they leave open are found here, where warnings are not errors, and in no other file's tests."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("--provider", "cpu", variables={"OXEMBED_API_KEYS": KEY}) as running:
        yield running


@pytest.fixture(scope="module")
def library() -> Embedder:
    return Embedder(provider="cpu")


def assert_close(found: list[list[float]], library: Embedder, texts: list[str]) -> None:
    np.testing.assert_allclose(np.array(found), library.encode(texts), rtol=0, atol=1e-6)


def test_langchain_openai(server: Server, library: Embedder) -> None:
    from langchain_openai import OpenAIEmbeddings

    made: dict[str, Any] = {"model": MODEL, "base_url": f"{server.url}/v1", "api_key": KEY}
    embeddings = OpenAIEmbeddings(**made, check_embedding_ctx_length=False)
    assert_close(embeddings.embed_documents(TEXTS), library, TEXTS)
    np.testing.assert_array_equal(
        np.array(embeddings.embed_query("a text"), dtype=np.float32), library.encode("a text")
    )
    assert_close(asyncio.run(embeddings.aembed_documents(TEXTS)), library, TEXTS)
    narrow = OpenAIEmbeddings(**made, check_embedding_ctx_length=False, dimensions=64)
    assert len(narrow.embed_query("a text")) == 64


def test_langchain_openai_as_it_comes_is_told_what_to_change(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends ids of OpenAI's tokenizer: vectors of other words, were they taken."""
    import openai
    import tiktoken
    from langchain_openai import OpenAIEmbeddings

    # The real one is downloaded; every tokenizer but the model's own is as wrong.
    letters = tiktoken.Encoding("letters", pat_str=".", mergeable_ranks={bytes([byte]): byte for byte in range(256)},
                                special_tokens={})  # fmt: skip
    monkeypatch.setattr(tiktoken, "get_encoding", lambda _: letters)
    made: dict[str, Any] = {"model": MODEL, "base_url": f"{server.url}/v1", "api_key": KEY}
    embeddings = OpenAIEmbeddings(**made)
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        embeddings.embed_documents(["a text"])


def test_langchain_huggingface(server: Server, library: Embedder) -> None:
    from huggingface_hub import AsyncInferenceClient, InferenceClient
    from langchain_huggingface import HuggingFaceEndpointEmbeddings

    # It takes names of models on the hub only; its clients can be told where to ask.
    embeddings = HuggingFaceEndpointEmbeddings(model=MODEL, huggingfacehub_api_token=KEY)
    embeddings.client = InferenceClient(server.url, token=KEY)
    embeddings.async_client = AsyncInferenceClient(server.url, token=KEY)
    # It makes spaces of line ends.
    plain = [text.replace("\n", " ") for text in TEXTS]
    assert_close(embeddings.embed_documents(TEXTS), library, plain)
    assert_close([embeddings.embed_query("a text")], library, ["a text"])
    assert_close(asyncio.run(embeddings.aembed_documents(TEXTS)), library, plain)


@pytest.mark.parametrize("kind", ["openai_like", "openai"])
def test_llama_index(server: Server, library: Embedder, kind: str) -> None:
    made: dict[str, Any] = {"model_name": MODEL, "api_base": f"{server.url}/v1", "api_key": KEY, "embed_batch_size": 8}
    if kind == "openai":
        from llama_index.embeddings.openai import OpenAIEmbedding

        embeddings = OpenAIEmbedding(**made)
    else:
        from llama_index.embeddings.openai_like import OpenAILikeEmbedding

        embeddings = OpenAILikeEmbedding(**made)
    plain = [text.replace("\n", " ") for text in TEXTS]
    assert_close(embeddings.get_text_embedding_batch(TEXTS), library, plain)
    assert_close([embeddings.get_query_embedding("a text")], library, ["a text"])
    assert_close(asyncio.run(embeddings.aget_text_embedding_batch(TEXTS)), library, plain)
