"""Text embeddings on your own machine: the vectors of sentence-transformers, from a Rust core on ONNX Runtime.

Example:
    >>> from oxembed import Embedder
    >>> model = Embedder()                       # all-MiniLM-L6-v2, inside the package; no network
    >>> model.encode("hello").shape              # one text: (dimension,)
    (384,)
    >>> model.encode(["hello", "world"]).shape   # n texts: (n, dimension)
    (2, 384)
"""

from importlib import import_module
from typing import TYPE_CHECKING

from oxembed._core import Usage, __version__
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
from oxembed.placement import Placement, ProviderEvent, SessionPlacement, UnusedProvider
from oxembed.results import (
    BatchEmbeddingRequest,
    BatchEmbeddingResponse,
    HealthStatus,
    ModelInfo,
)
from oxembed.stage_times import StageTimes

if TYPE_CHECKING:
    from oxembed import providers
    from oxembed._export import ExportedGraph, export
    from oxembed.diagnosis import Diagnosis, doctor
    from oxembed.inspection import Inspection, inspect
    from oxembed.quantization import quantize, quantize_embeddings
    from oxembed.quantization_report import QuantizationReport
    from oxembed.verification import Check, Verification, verify

__all__ = [
    "BatchEmbeddingRequest",
    "BatchEmbeddingResponse",
    "Calibration",
    "Check",
    "Diagnosis",
    "Embedder",
    "ExportedGraph",
    "HealthStatus",
    "InferenceError",
    "Inspection",
    "InternalError",
    "InvalidInputError",
    "InvalidModelError",
    "ModelInfo",
    "ModelNotFoundError",
    "OxembedError",
    "Placement",
    "ProviderEvent",
    "ProviderUnavailableError",
    "QuantizationReport",
    "ServiceUnavailableError",
    "SessionPlacement",
    "StageTimes",
    "UnusedProvider",
    "Usage",
    "Verification",
    "__version__",
    "doctor",
    "export",
    "inspect",
    "providers",
    "quantize",
    "quantize_embeddings",
    "verify",
]

# Tools that a program which embeds texts does not need: their modules are imported when they are first named.
_LATER = {
    "Check": "verification",
    "Diagnosis": "diagnosis",
    "ExportedGraph": "_export",
    "Inspection": "inspection",
    "QuantizationReport": "quantization_report",
    "Verification": "verification",
    "doctor": "diagnosis",
    "export": "_export",
    "inspect": "inspection",
    "quantize": "quantization",
    "quantize_embeddings": "quantization",
    "verify": "verification",
}

if not TYPE_CHECKING:  # type checkers would take any name for one of the package

    def __getattr__(name: str) -> object:
        if name == "providers" or name in _LATER.values():
            return import_module(f"{__name__}.{name}")
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER, "providers"})
