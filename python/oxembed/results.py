"""What an `Embedder` tells about itself, and the requests and answers of its service contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from oxembed._core import Usage

__all__ = [
    "BatchEmbeddingRequest",
    "BatchEmbeddingResponse",
    "HealthStatus",
    "ModelInfo",
]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What was loaded and how it will run.

    Attributes:
        name: Hugging Face id, the embedded model's name, or the folder's name.
        path: The model folder.
        family: Architecture, such as `"bert"`.
        source: The file the network came from: `"model.safetensors"` or an ONNX file.
        dimension: Length of a vector.
        max_seq_length: Most tokens of a text that count, special tokens included.
        pooling: Pooling modes, concatenated in this order.
        modules: The modules of the folder, in order.
        prompts: Prompt texts by name.
        default_prompt_name: Prompt used when none is asked for, or `None`.
        similarity_fn_name: `"cosine"`, `"dot"`, `"euclidean"` or `"manhattan"`.
        padding_side: `"right"` or `"left"`.
        vocabulary_size: Tokens that the tokenizer knows.
        parameters: Number of weights.
        dtype: Number format of the arithmetic.
        quality: Where linear layers are int8, how near the vectors come to those in float32, as measured when they were
            made: `mean`, `minimum` and `first_percentile` of the cosines of `texts` texts, and whether it `passed`.
            Else `None`.
        provider: Execution provider that was chosen.
        threads: Threads in use.
        assumptions: What the folder did not say and was assumed, one sentence each.

    Example:
        >>> from oxembed import Embedder
        >>> info = Embedder().model_info()
        >>> info.family, info.dimension, info.max_seq_length
        ('bert', 384, 256)
    """

    name: str
    path: str
    family: str
    source: str
    dimension: int
    max_seq_length: int
    pooling: tuple[str, ...]
    modules: tuple[str, ...]
    prompts: Mapping[str, str]
    default_prompt_name: str | None
    similarity_fn_name: str
    padding_side: str
    vocabulary_size: int
    parameters: int
    dtype: str
    quality: Mapping[str, float] | None
    provider: str
    threads: int
    assumptions: tuple[str, ...]

    @classmethod
    def from_core(cls, values: Mapping[str, object]) -> ModelInfo:
        """Build from the plain dict of the compiled module; keys that this class does not know are left out.

        Example:
            >>> from oxembed import Embedder
            >>> info = Embedder().model_info()
            >>> ModelInfo.from_core(info.as_dict()) == info
            True
        """
        known: dict[str, Any] = {
            item.name: tuple(cast("list[str]", value)) if isinstance(value, list) else value
            for item in fields(cls)
            for value in [values[item.name]]
        }
        known["prompts"] = dict(known["prompts"])
        return cls(**known)

    def as_dict(self) -> dict[str, Any]:
        """The same as a plain dict of numbers, strings, lists and dicts, ready for `json.dumps`.

        Example:
            >>> from oxembed import Embedder
            >>> Embedder().model_info().as_dict()["pooling"]
            ['mean']
        """
        plain: dict[str, Any] = {}
        for item in fields(self):
            value: Any = getattr(self, item.name)
            if isinstance(value, tuple):
                value = list(cast("tuple[str, ...]", value))
            plain[item.name] = dict(cast("dict[str, str]", value)) if isinstance(value, dict) else value
        return plain


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """Answer of `Embedder.health_check`.

    Attributes:
        healthy: Whether a text was embedded and its vector is sound.
        message: What was tried and what came of it.
        latency_ms: How long it took, in milliseconds.

    Example:
        >>> from oxembed import Embedder
        >>> Embedder().health_check().healthy
        True
    """

    healthy: bool
    message: str
    latency_ms: float


@dataclass(frozen=True, slots=True)
class BatchEmbeddingRequest:
    """A request of the strict service contract, see `Embedder.embed_batch`.

    Attributes:
        model: Name of the model that must answer; anything but the loaded one is rejected.
        inputs: The texts; kept as a tuple.
        normalize: Whether vectors are scaled to length 1.

    Raises:
        TypeError: `inputs` is a lone string or bytes.

    Example:
        >>> BatchEmbeddingRequest("all-MiniLM-L6-v2", ["one", "two"]).inputs
        ('one', 'two')
    """

    model: str
    inputs: Sequence[str]
    normalize: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.inputs, str | bytes | bytearray):
            kind = type(self.inputs).__name__
            raise TypeError(f"inputs must be a list of str, not a lone {kind}; pass inputs=[text]")
        object.__setattr__(self, "inputs", tuple(self.inputs))


@dataclass(frozen=True, slots=True, eq=False)
class BatchEmbeddingResponse:
    """The answer to a `BatchEmbeddingRequest`.

    Attributes:
        model: Name of the model that answered.
        embeddings: Array of shape (n, dim), float32, in the order of the inputs.
        usage: `total_tokens`, `truncated_inputs` and `duration_ms` of the call.

    Example:
        >>> from oxembed import Embedder
        >>> response = Embedder().embed_batch(BatchEmbeddingRequest("all-MiniLM-L6-v2", ["one", "two"]))
        >>> response.embeddings.shape, response.usage.truncated_inputs
        ((2, 384), 0)
    """

    model: str
    embeddings: NDArray[np.float32]
    usage: Usage
