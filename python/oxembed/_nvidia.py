"""Loads NVIDIA's libraries out of the packages that bring them, before ONNX Runtime looks for them.

`pip install "onnxruntime-gpu[cuda,cudnn]"` puts CUDA and cuDNN into `site-packages/nvidia`, where the system's loader
does not look. What is loaded already is found by name, so loading them from there first is enough. It is what
`onnxruntime.preload_dlls` does, without importing that package and without printing; packages that are not there are no
error here, as the libraries may be the system's: what is missing in the end is said by the provider itself.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from oxembed import _build_facts

_PROVIDERS = ("auto", "cuda", "tensorrt", "CUDAExecutionProvider", "TensorrtExecutionProvider")
# Folders below site-packages, and patterns of the libraries to load from them, those that others need first. From CUDA
# 13 on, one folder has all of CUDA.
_LINUX = (
    (("nvidia/cu{major}/lib", "nvidia/cublas/lib"), ("libcublasLt.so.{major}", "libcublas.so.{major}")),
    (("nvidia/cu{major}/lib", "nvidia/cuda_nvrtc/lib"), ("libnvrtc.so.{major}",)),
    (("nvidia/cu{major}/lib", "nvidia/curand/lib"), ("libcurand.so.*",)),
    (("nvidia/cu{major}/lib", "nvidia/cufft/lib"), ("libcufft.so.*",)),
    (("nvidia/cu{major}/lib", "nvidia/cuda_runtime/lib"), ("libcudart.so.{major}",)),
    (("nvidia/cudnn/lib",), ("libcudnn.so.9",)),
)
_WINDOWS = (
    (("nvidia/cu{major}/bin/*", "nvidia/cublas/bin"), ("cublasLt64_{major}.dll", "cublas64_{major}.dll")),
    (("nvidia/cu{major}/bin/*", "nvidia/cufft/bin"), ("cufft64_*.dll",)),
    (("nvidia/cu{major}/bin/*", "nvidia/cuda_runtime/bin"), ("cudart64_{major}.dll",)),
    (("nvidia/cudnn/bin",), ("cudnn_engines_runtime_compiled64_9.dll", "cudnn_engines_precompiled64_9.dll")),
    (("nvidia/cudnn/bin",), ("cudnn_heuristic64_9.dll", "cudnn_ops64_9.dll", "cudnn_adv64_9.dll")),
    (("nvidia/cudnn/bin",), ("cudnn_graph64_9.dll", "cudnn64_9.dll", "cudnn_engines_tensor_ir64_9.dll")),
)
_TENSORRT = (
    (("tensorrt_libs",), ("libnvinfer.so.*", "libnvinfer_plugin.so.*", "libnvonnxparser.so.*")),
    (("tensorrt_libs",), ("nvinfer_[0-9]*.dll", "nvinfer_plugin_[0-9]*.dll", "nvonnxparser_[0-9]*.dll")),
)
_logger = logging.getLogger("oxembed")
_loaded: set[Path] = set()


def preload(providers: Iterable[str], runtime_library: Path) -> list[Path]:
    """Load the libraries that `providers` need, if this ONNX Runtime was built with any of NVIDIA's.

    Returns:
        What was loaded now; a library is loaded once a process.
    """
    if not any(name in _PROVIDERS for name in providers) or not _built_for_nvidia(runtime_library.parent):
        return []
    major = _build_facts.read(runtime_library.parent).get("cuda_version", "").partition(".")[0] or None
    found = [path for folder in sys.path if folder for path in libraries(Path(folder), major)]
    return [path for path in found if path not in _loaded and _load(path)]


def libraries(site_packages: Path, major: str | None, platform: str = sys.platform) -> Iterator[Path]:
    """The libraries in the packages below a folder, in the order in which to load them.

    Args:
        site_packages: The folder.
        major: The version of CUDA that ONNX Runtime was built with; `None` where it does not say.
        platform: As `sys.platform` has it.
    """
    windows = platform == "win32"
    for folders, patterns in (*(_WINDOWS if windows else _LINUX), _TENSORRT[windows]):
        for folder in folders:
            places = sorted(site_packages.glob(folder.format(major=major or "*")))
            found = [path for place in places for pattern in patterns for path in _matches(place, pattern, major)]
            yield from found
            if found:
                break


def _built_for_nvidia(capi: Path) -> bool:
    name = "onnxruntime_providers_cuda.dll" if sys.platform == "win32" else "libonnxruntime_providers_cuda.so"
    return (capi / name).is_file()


def _matches(folder: Path, pattern: str, major: str | None) -> list[Path]:
    return sorted(path for path in folder.glob(pattern.format(major=major or "*")) if path.is_file())


def _load(path: Path) -> bool:
    """Load one, for good; one that does not load may still be found elsewhere."""
    try:
        ctypes.CDLL(os.fspath(path))
    except OSError as error:
        _logger.info("%s was not loaded: %s", path, error)
        return False
    _loaded.add(path)
    return True
