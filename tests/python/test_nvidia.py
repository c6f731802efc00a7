"""NVIDIA's libraries are taken from the packages that bring them, in the order in which `onnxruntime` does it."""

from __future__ import annotations

import ctypes
import logging
import sys
from pathlib import Path

import onnxruntime
import pytest

from oxembed import _nvidia

VERSIONS = ("12.8", "13.0")
PLATFORMS = ("linux", "win32")


def expected(monkeypatch: pytest.MonkeyPatch, version: str, platform: str) -> list[Path]:
    """The libraries that `onnxruntime.preload_dlls` loads, below site-packages."""
    monkeypatch.setattr(onnxruntime, "cuda_version", version)
    return [Path(*parts) for parts in onnxruntime._get_nvidia_dll_paths(platform == "win32")]


def install(folder: Path, files: list[Path]) -> None:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"no library")


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("known", [True, False])
def test_the_libraries_and_their_order_are_those_of_onnxruntime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, platform: str, known: bool
) -> None:
    files = expected(monkeypatch, version, platform)
    install(tmp_path, files)
    # Libraries that nobody asked for.
    install(tmp_path, [file.with_name(f"other-{file.name}") for file in files])
    major = version.partition(".")[0] if known else None
    assert list(_nvidia.libraries(tmp_path, major, platform)) == [tmp_path / file for file in files]


def test_the_version_that_onnxruntime_was_built_with_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = {version: expected(monkeypatch, version, "linux") for version in VERSIONS}
    for files in both.values():
        install(tmp_path, files)
    for version, files in both.items():
        assert list(_nvidia.libraries(tmp_path, version[:2], "linux")) == [tmp_path / file for file in files]


def test_libraries_of_tensorrt(tmp_path: Path) -> None:
    names = ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")
    others = ("libnvinfer_builder_resource.so.10.0", "libnvinfer_dispatch.so.10")
    install(tmp_path, [Path("tensorrt_libs", name) for name in (*others, *names)])
    assert [path.name for path in _nvidia.libraries(tmp_path, "12", "linux")] == list(names)


@pytest.fixture
def runtime_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ONNX Runtime with CUDA, and a folder on the path with a library that loads and one that does not."""
    capi = tmp_path / "onnxruntime" / "capi"
    capi.mkdir(parents=True)
    (capi / "libonnxruntime_providers_cuda.so").write_bytes(b"")
    (capi / "build_and_package_info.py").write_text("package_name = 'onnxruntime-gpu'\ncuda_version = '12.8'\n")
    install(tmp_path, [Path("nvidia/cublas/lib/libcublas.so.12")])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_nvidia, "_loaded", set())
    return capi / "libonnxruntime.so.1.31.1"


@pytest.mark.skipif(sys.platform != "linux", reason="the names are Linux's")
def test_they_are_loaded_once_for_those_who_ask(
    runtime_library: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good = runtime_library.parents[2] / "nvidia/cudnn/lib/libcudnn.so.9"
    good.parent.mkdir(parents=True)
    good.symlink_to(next(Path("/").glob("lib*/**/libm.so.6")))
    for names in (["cpu"], ["openvino", "cpu"], ["coreml"], []):
        assert _nvidia.preload(names, runtime_library) == []
    for provider in ("cuda", "tensorrt", "auto", "CUDAExecutionProvider"):
        monkeypatch.setattr(_nvidia, "_loaded", set())
        with caplog.at_level(logging.INFO, "oxembed"):
            assert _nvidia.preload(["cpu", provider], runtime_library) == [good]
        assert _nvidia.preload([provider], runtime_library) == []
    assert "libcublas.so.12 was not loaded" in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


@pytest.mark.skipif(sys.platform != "linux", reason="the names are Linux's")
def test_an_onnxruntime_without_cuda_needs_none(runtime_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runtime_library.parent / "libonnxruntime_providers_cuda.so").unlink()
    loads: list[str] = []
    monkeypatch.setattr(ctypes, "CDLL", loads.append)
    assert _nvidia.preload(["cuda", "auto"], runtime_library) == []
    assert loads == []
