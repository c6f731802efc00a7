"""Text embeddings on your own machine: the vectors of sentence-transformers, from a Rust core on ONNX Runtime.

Example:
    >>> from oxembed import Embedder
    >>> model = Embedder()                       # all-MiniLM-L6-v2, inside the package; no network
    >>> model.encode("hello").shape              # one text: (dimension,)
    (384,)
    >>> model.encode(["hello", "world"]).shape   # n texts: (n, dimension)
    (2, 384)
"""

from oxembed._core import Usage, __version__
from oxembed._export import ExportedGraph, export
from oxembed.calibration import Calibration
from oxembed.embedder import Embedder
from oxembed.exceptions import (
    InferenceError,
    InternalError,
    InvalidInputError,
    InvalidModelError,
    ModelNotFoundError,
    OxembedError,
    ProviderUnavailableError,
    ServiceUnavailableError,
)
from oxembed.quantization import quantize_embeddings
from oxembed.results import (
    BatchEmbeddingRequest,
    BatchEmbeddingResponse,
    HealthStatus,
    ModelInfo,
    SessionPlacement,
)
from oxembed.verification import Check, Verification, verify

__all__ = [
    "BatchEmbeddingRequest",
    "BatchEmbeddingResponse",
    "Calibration",
    "Check",
    "Embedder",
    "ExportedGraph",
    "HealthStatus",
    "InferenceError",
    "InternalError",
    "InvalidInputError",
    "InvalidModelError",
    "ModelInfo",
    "ModelNotFoundError",
    "OxembedError",
    "ProviderUnavailableError",
    "ServiceUnavailableError",
    "SessionPlacement",
    "Usage",
    "Verification",
    "__version__",
    "export",
    "quantize_embeddings",
    "verify",
]
