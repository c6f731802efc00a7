"""Types of the compiled module; stubtest holds this file to the binary."""

from collections.abc import Callable
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FULL_BATCH",
    "CancellationToken",
    "Embedder",
    "Usage",
    "__version__",
    "diagnose",
    "export",
    "hold_for_fork",
    "initialize",
    "inspect",
    "int8_support",
    "known_model_types",
    "products_per_second",
    "provider_table",
    "quantize",
    "read_calibration",
    "release_after_fork",
    "serve",
]

FULL_BATCH: int
__version__: str

@final
class CancellationToken:
    def __new__(cls) -> CancellationToken: ...
    def cancel(self) -> None: ...
    @property
    def cancelled(self) -> bool: ...

@final
class Usage:
    @property
    def total_tokens(self) -> int: ...
    @property
    def truncated_inputs(self) -> int: ...
    @property
    def duration_ms(self) -> float: ...

@final
class Embedder:
    def __new__(
        cls,
        folder: str,
        *,
        providers: list[tuple[str, dict[str, str], dict[str, str]]],
        plug_ins: list[tuple[str, list[str]]],
        threads: int | None,
        max_seq_length: int | None,
        truncate_dim: int | None,
        dtype: str,
        onnx_file: str | None,
        cache: str | None,
    ) -> Embedder: ...
    def encode(
        self,
        texts: object,
        *,
        prompt: str | None,
        prompt_name: str | None,
        role: str | None,
        normalize_embeddings: bool | None,
        truncate_dim: int | None,
        truncation: str,
        progress: Callable[[int], None] | None,
        cancellation: CancellationToken | None,
    ) -> tuple[NDArray[np.float32], Usage]: ...
    def embed_batch(
        self, inputs: list[str], *, normalize: bool, max_inputs: int
    ) -> tuple[NDArray[np.float32], Usage]: ...
    def tokenize(self, texts: list[str]) -> list[list[int]]: ...
    def count_tokens(self, texts: list[str]) -> list[int]: ...
    @property
    def dimension(self) -> int: ...
    @property
    def max_seq_length(self) -> int: ...
    @property
    def pad_token_id(self) -> int: ...
    @property
    def similarity_fn_name(self) -> str: ...
    @property
    def warnings(self) -> list[str]: ...
    def model_info(self) -> dict[str, object]: ...
    def health_check(self) -> dict[str, object]: ...
    def placement(self) -> dict[str, object]: ...
    def warm_up(self, *, max_length: int | None, batch_sizes: list[int] | None) -> int: ...
    def linear_shapes(self) -> list[tuple[int, int, int]]: ...
    def operator_times(self, texts: list[str]) -> list[tuple[str, float, int]]: ...
    def stages(self) -> dict[str, int | float]: ...
    def new_failures(self) -> list[dict[str, object]]: ...

def initialize(library: str | None) -> str: ...
def hold_for_fork() -> None: ...
def release_after_fork() -> None: ...
def known_model_types() -> list[str]: ...
def export(
    folder: str,
    output: str,
    *,
    target: str,
    shape: tuple[int, int] | None,
    pooling_inside: bool,
    max_seq_length: int | None,
) -> tuple[Path, Path | None, int, int, list[str], str]: ...
def inspect(path: str, *, runtime_problem: str | None) -> str: ...
def provider_table() -> str: ...
def int8_support() -> str: ...
def products_per_second(inputs: int, outputs: int, *, rows: int, threads: int, seconds: float) -> float: ...
def diagnose(*, plug_ins: list[tuple[str, list[str]]]) -> str: ...
def quantize(
    folder: str,
    *,
    calibration: list[tuple[str, str]] | None,
    output: str | None,
    force: bool,
    threads: int | None,
    progress: Callable[[str, int, int], object] | None,
) -> str: ...
def read_calibration(path: str) -> list[tuple[str, str]]: ...
def serve(arguments: list[str], find: Callable[[str], tuple[str, str]], default: str) -> int: ...
