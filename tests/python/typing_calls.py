"""Calls of the public interface, checked by mypy and pyright in strict mode; never run.

`assert_type` holds what a call returns. A line with an ignore comment is a call that must be rejected: both checkers
complain about an ignore that ignores nothing.
"""

from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, assert_type

import numpy as np
from numpy.typing import NDArray

from oxembed import (
    BatchEmbeddingRequest,
    BatchEmbeddingResponse,
    Calibration,
    Check,
    Diagnosis,
    Embedder,
    HealthStatus,
    InvalidInputError,
    ModelInfo,
    ModelNotFoundError,
    OxembedError,
    Placement,
    SessionPlacement,
    Usage,
    Verification,
    __version__,
    doctor,
    providers,
    quantize_embeddings,
    verify,
)


def constructors() -> None:
    Embedder()
    Embedder("BAAI/bge-small-en-v1.5", revision="main", cache_dir=Path("cache"), local_files_only=True, token=None)
    Embedder(Path("folder"), provider=["cuda", "cpu"], threads=2, max_seq_length=128, truncate_dim=64)
    Embedder("folder", provider="cpu", dtype="float32", onnx_file="onnx/model.onnx", device="cpu")
    Embedder(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Embedder("folder", "cpu")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Embedder("folder", provider=providers.CoreML(compute_units="cpu_and_gpu", cache_folder=Path("cache")))
    Embedder("folder", provider=[providers.CUDA(device_id=1, options={"key": 1}), "cpu"])
    Embedder("folder", provider=(providers.PlugIn(name="ExampleExecutionProvider"), providers.CPU()))
    Embedder("folder", provider=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    providers.CoreML(compute_units="tpu")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    providers.CoreML("all")  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
    providers.CUDA(device_id="0")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    providers.PlugIn()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    providers.CPU(options={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Embedder(threads="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def vectors(model: Embedder, texts: Iterable[str], column: "np.ndarray[Any, np.dtype[np.str_]]") -> None:
    assert_type(model.encode("text"), NDArray[np.float32])
    assert_type(model.encode(["a", "b"]), NDArray[np.float32])
    assert_type(model.encode(texts), NDArray[np.float32])
    assert_type(model.encode(column), NDArray[np.float32])
    assert_type(model.encode("text", precision="float32"), NDArray[np.float32])
    assert_type(model.encode("text", precision="float16"), NDArray[np.float16])
    assert_type(model.encode(["a"], precision="binary"), NDArray[np.int8])
    assert_type(model.encode(["a"], precision="ubinary"), NDArray[np.uint8])
    assert_type(model.encode("text", precision="int8", calibration="calibration.json"), NDArray[np.int8])
    assert_type(model.encode(["a"], precision="uint8", calibration=Path("calibration.json")), NDArray[np.uint8])
    assert_type(model.encode_query("text"), NDArray[np.float32])
    assert_type(model.encode_document(texts, truncate_dim=64), NDArray[np.float32])
    model.encode(
        ["a"],
        prompt_name=None,
        prompt="query: ",
        normalize_embeddings=True,
        truncate_dim=64,
        truncation="error",
        show_progress_bar=False,
        batch_size=32,
        convert_to_numpy=True,
        convert_to_tensor=False,
        device="cpu",
        output_value="sentence_embedding",
    )
    model.encode(sentences=["a"], batch_size=64)
    model.encode(3)  # type: ignore[call-overload]  # pyright: ignore
    model.encode([b"bytes"])  # type: ignore[list-item]  # pyright: ignore
    model.encode("text", truncation="left")  # type: ignore[call-overload]  # pyright: ignore
    model.encode("text", precision="int4")  # type: ignore[call-overload]  # pyright: ignore
    model.encode("text", precision="int8", calibration=3)  # type: ignore[call-overload]  # pyright: ignore
    model.encode("text", nonsense=True)  # type: ignore[call-overload]  # pyright: ignore


def variable_precision(model: Embedder, precision: Literal["float32", "binary"]) -> NDArray[Any]:
    return model.encode("text", precision=precision)


def calibrations(model: Embedder, texts: Iterable[str], stored: NDArray[np.float32]) -> None:
    calibration = model.calibrate(texts, prompt_name="document", truncate_dim=64)
    assert_type(calibration, Calibration)
    assert_type(calibration.dimension, int)
    assert_type(calibration.ranges, NDArray[np.float32])
    assert_type(calibration.dequantize(stored), NDArray[np.float32])
    assert_type(Calibration.load("calibration.json"), Calibration)
    Calibration.from_embeddings(stored, normalized=True).save(Path("calibration.json"))
    Embedder(calibration=calibration)
    quantize_embeddings(stored, "int8", calibration=calibration)
    quantize_embeddings(stored, precision="uint8", ranges=calibration.ranges)
    model.calibrate(texts, precision="int8")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    calibration.vectors = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def verifications(model: Embedder) -> None:
    found = verify(model, Path("golden.npz"), pairs=False, similar_above=0.7)
    assert_type(found, Verification)
    assert_type(found.passed, bool)
    assert_type(found.checks, tuple[Check, ...])
    assert_type(found.checks[0].status, Literal["passed", "failed", "skipped"])
    verify("folder", reference="golden.npz", reference_texts="texts.json", prompt_name="query")
    verify(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def diagnoses() -> None:
    found = doctor()
    assert_type(found, Diagnosis)
    assert_type(found.works, bool)
    assert_type([provider.remedy for provider in found.providers], list[str | None])
    assert_type(found.threads.cgroup, float | None)


def streams(model: Embedder, texts: Iterable[str]) -> None:
    assert_type(model.encode_iter(texts), Generator[NDArray[np.float32], None, None])
    for chunk in model.encode_iter(texts, chunk_size=100, prompt_name="document"):
        assert_type(chunk, NDArray[np.float32])
    model.encode_iter(texts, chunk_size="100")  # type: ignore[call-overload]  # pyright: ignore


async def waiting(model: Embedder) -> None:
    assert_type(await model.aencode("text"), NDArray[np.float32])
    assert_type(await model.aencode(["a"], normalize_embeddings=True), NDArray[np.float32])


def tokens_and_scores(model: Embedder, a: NDArray[np.float32], b: list[list[float]]) -> None:
    assert_type(model.tokenize("text"), dict[str, NDArray[np.int64]])
    assert_type(model.count_tokens("text"), int)
    assert_type(model.count_tokens(["a", "b"]), list[int])
    assert_type(model.similarity(a, b), NDArray[np.float32])
    assert_type(model.similarity_pairwise(a, a), NDArray[np.float32])


def itself(model: Embedder) -> None:
    assert_type(model.dimension, int)
    assert_type(model.max_seq_length, int)
    assert_type(model.get_sentence_embedding_dimension(), int)
    assert_type(model.prompts, dict[str, str])
    assert_type(model.default_prompt_name, str | None)
    assert_type(model.model_info(), ModelInfo)
    assert_type(model.model_info().prompts, Mapping[str, str])
    assert_type(model.health_check(), HealthStatus)
    assert_type(model.placement(), Placement)
    assert_type(model.placement()[0], SessionPlacement)
    assert_type(model.placement()[0].work, Mapping[str, float])
    assert_type([unused.reason for unused in model.placement().not_used], list[str])
    assert_type([event.next for event in model.placement().events], list[str | None])
    assert_type(model.warm_up(max_length=128, batch_sizes=(1, 8)), int)
    assert_type(__version__, str)
    model.dimension = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def service(model: Embedder) -> None:
    request = BatchEmbeddingRequest("all-MiniLM-L6-v2", ["a", "b"], normalize=False)
    response = model.embed_batch(request, max_inputs=10)
    assert_type(response, BatchEmbeddingResponse)
    assert_type(response.embeddings, NDArray[np.float32])
    assert_type(response.usage, Usage)
    assert_type(response.usage.total_tokens, int)
    assert_type(response.usage.truncated_inputs, int)
    assert_type(response.usage.duration_ms, float)
    request.model = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def errors() -> None:
    error: OxembedError = InvalidInputError("message")
    value_error: ValueError = InvalidInputError("message")
    not_found: FileNotFoundError = ModelNotFoundError("message")
    raise error from ExceptionGroup("all", [value_error, not_found])
