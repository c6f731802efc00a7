"""The variants of the ONNX file that sentence-transformers' documentation recommends for processors."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from sentence_transformers import (
    SentenceTransformer,
    export_dynamic_quantized_onnx_model,
    export_optimized_onnx_model,
)


def quantization() -> str:
    """The name of the quantization for this processor, in optimum's words."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "arm64"
    information = Path("/proc/cpuinfo")
    flags = information.read_text(encoding="utf-8") if information.exists() else ""
    if "avx512_vnni" in flags:
        return "avx512_vnni"
    return "avx512" if "avx512f" in flags else "avx2"


def make(source: Path, target: Path, *, quantized: bool) -> None:
    """Write `model.onnx`, and the whole folder as sentence-transformers reads it."""
    whole = target / "whole"
    shutil.copytree(source / "whole", whole)
    model = SentenceTransformer(str(whole), backend="onnx")
    if quantized:
        export_dynamic_quantized_onnx_model(model, quantization(), str(whole), file_suffix="variant")
    else:
        # Fuses what belongs together; O4, beyond it, is for graphics processors.
        export_optimized_onnx_model(model, "O3", str(whole), file_suffix="variant")
    (whole / "onnx" / "model_variant.onnx").replace(whole / "onnx" / "model.onnx")
    shutil.copy(whole / "onnx" / "model.onnx", target)
