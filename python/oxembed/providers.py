"""The execution providers with their options, for `provider=` of `Embedder`.

A name alone (`provider="coreml"`) is the provider with its defaults; an instance of a class here says more. A list of
either is an order of preference. `docs/providers.md` says how to choose, and what happens when one does not work.

Every class but `CPU` has three fields more than those it describes:

- `minimum_share`: the least share of the model's multiply-adds that the provider has to take, 0 to 1; with less it
  counts as not available.
- `max_sessions`: sessions of different shapes that are kept: by default from 2 to 16, as many as have room in 2 GiB;
  the one that was not used for longest is given up.
- `options`: options of ONNX Runtime's own, by ONNX Runtime's names, handed on as they are. They win over the fields.

Any other setting that is `None` is left to the provider. Types are checked when an instance is made, values when a
model is loaded.

Example:
    >>> from oxembed import Embedder, providers
    >>> providers.CoreML(compute_units="cpu_and_gpu", options={"ProfileComputePlan": "1"})
    CoreML(options={'ProfileComputePlan': '1'}, compute_units='cpu_and_gpu')
    >>> Embedder(provider=[providers.CPU()]).model_info().provider
    'cpu'
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, final

from oxembed._provider import NO_OPTIONS, OptionValue, Provider, TypedProvider

__all__ = [
    "CPU",
    "CUDA",
    "MLX",
    "QNN",
    "XNNPACK",
    "CoreML",
    "DirectML",
    "MIGraphX",
    "NvTensorRTRTX",
    "OpenVINO",
    "PlugIn",
    "Provider",
    "TensorRT",
    "WebGPU",
]


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CPU(TypedProvider):
    """The processor: ONNX Runtime's own kernels, in every build. It has no options.

    Example:
        >>> CPU() == CPU()
        True
    """

    _provider: ClassVar[str] = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Accelerator(TypedProvider):
    """Every provider but the CPU; see the module."""

    minimum_share: float = 0.5
    max_sessions: int | None = None
    options: Mapping[str, OptionValue] = NO_OPTIONS


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CoreML(_Accelerator):
    """Apple's neural engine, graphics processor and CPU.

    Source: https://onnxruntime.ai/docs/execution-providers/CoreML-ExecutionProvider.html

    Attributes:
        compute_units: The hardware that CoreML may use (`MLComputeUnits`).
        model_format: The format of the compiled model (`ModelFormat`); `"neural_network"` is the old one, which takes
            fewer operators.
        specialization_strategy: `"fast_prediction"` has faster runs for a longer compilation and more disk
            (`SpecializationStrategy`).
        low_precision_accumulation: Sums in half precision on the graphics processor: faster, less exact
            (`AllowLowPrecisionAccumulationOnGPU`).
        static_shapes_only: Leave nodes of varying shapes to the CPU (`RequireStaticInputShapes`).
        subgraphs: Take nodes in the bodies of loops and conditions too (`EnableOnSubgraphs`).
        profile_compute_plan: Log the hardware and the estimated cost of every operator (`ProfileComputePlan`).
        cache_folder: The folder for compiled models (`ModelCacheDirectory`); by default one in the user's cache.
        embedding_lookup: The operator that looks up embeddings. CoreML computes `"gather_nd"` of ids wrongly, so ONNX
            Runtime leaves that to the CPU.

    Example:
        >>> CoreML(compute_units="cpu_and_neural_engine").minimum_share
        0.5
    """

    _provider: ClassVar[str] = "coreml"
    compute_units: Literal["all", "cpu_and_neural_engine", "cpu_and_gpu", "cpu_only"] = "all"
    model_format: Literal["ml_program", "neural_network"] = "ml_program"
    specialization_strategy: Literal["default", "fast_prediction"] = "default"
    low_precision_accumulation: bool = False
    static_shapes_only: bool = True
    subgraphs: bool = False
    profile_compute_plan: bool = False
    cache_folder: str | os.PathLike[str] | None = None
    embedding_lookup: Literal["gather_nd", "gather"] = "gather"


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CUDA(_Accelerator):
    """NVIDIA's graphics processors.

    Source: https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html

    Attributes:
        device_id: Which of several graphics processors, counted from 0.
        arena_extend_strategy: How the pool of graphics memory grows.
        gpu_mem_limit: The most bytes of graphics memory for the pool.
        use_tf32: Matrix products in TensorFloat-32: faster, less exact.

    Example:
        >>> CUDA(device_id=1, gpu_mem_limit=2 * 1024**3)
        CUDA(device_id=1, gpu_mem_limit=2147483648)
    """

    _provider: ClassVar[str] = "cuda"
    device_id: int = 0
    arena_extend_strategy: Literal["same_as_requested", "next_power_of_two"] = "same_as_requested"
    gpu_mem_limit: int | None = None
    use_tf32: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TensorRT(_Accelerator):
    """NVIDIA's compiler for its graphics processors. It builds an engine for each shape, which takes minutes, once.

    Source: https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html

    Attributes:
        device_id: Which of several graphics processors, counted from 0.
        max_workspace_size: The most bytes of graphics memory while an engine is built (`trt_max_workspace_size`).
        builder_optimization_level: How long to look for faster kernels, 0 to 5 (`trt_builder_optimization_level`).

    Example:
        >>> TensorRT(builder_optimization_level=5)
        TensorRT(builder_optimization_level=5)
    """

    _provider: ClassVar[str] = "tensorrt"
    device_id: int = 0
    max_workspace_size: int | None = None
    builder_optimization_level: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NvTensorRTRTX(_Accelerator):
    """TensorRT for RTX: NVIDIA's compiler for the graphics processors of personal computers.

    Source: https://onnxruntime.ai/docs/execution-providers/TensorRTRTX-ExecutionProvider.html

    Attributes:
        device_id: Which of several graphics processors, counted from 0.
        cuda_graph: Record the kernels of a shape and start them as one (`enable_cuda_graph`).

    Example:
        >>> NvTensorRTRTX(cuda_graph=True)
        NvTensorRTRTX(cuda_graph=True)
    """

    _provider: ClassVar[str] = "nv_tensorrt_rtx"
    device_id: int = 0
    cuda_graph: bool | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DirectML(_Accelerator):
    """Any graphics processor under Windows.

    Source: https://onnxruntime.ai/docs/execution-providers/DirectML-ExecutionProvider.html

    Attributes:
        device_id: Which of several graphics processors, counted from 0.
        performance_preference: Which processor to prefer where no `device_id` says it.
        device_filter: The kind of processor to look for where no `device_id` says it.

    Example:
        >>> DirectML(performance_preference="high_performance")
        DirectML(performance_preference='high_performance')
    """

    _provider: ClassVar[str] = "directml"
    device_id: int | None = None
    performance_preference: Literal["default", "high_performance", "minimum_power"] | None = None
    device_filter: Literal["any", "gpu", "npu"] | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class OpenVINO(_Accelerator):
    """Intel's processors, graphics processors and neural processors.

    Source: https://onnxruntime.ai/docs/execution-providers/OpenVINO-ExecutionProvider.html

    Attributes:
        device: The kind of device to use.
        num_streams: Runs that OpenVINO does at the same time (`NUM_STREAMS` of `load_config`).

    Example:
        >>> OpenVINO(device="gpu")
        OpenVINO(device='gpu')
    """

    _provider: ClassVar[str] = "openvino"
    device: Literal["cpu", "gpu", "npu"] = "cpu"
    num_streams: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class WebGPU(_Accelerator):
    """Any graphics processor, through Vulkan, Metal or Direct3D.

    Source: https://onnxruntime.ai/docs/execution-providers/WebGPU-ExecutionProvider.html

    Attributes:
        power_preference: Which of two graphics processors to use (`powerPreference`).
        validation_mode: How much WebGPU checks while it runs (`validationMode`).

    Example:
        >>> WebGPU(power_preference="low_power")
        WebGPU(power_preference='low_power')
    """

    _provider: ClassVar[str] = "webgpu"
    power_preference: Literal["high_performance", "low_power"] | None = None
    validation_mode: Literal["disabled", "wgpu_only", "basic", "full"] | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MLX(_Accelerator):
    """Apple's arrays on the graphics processor of Apple silicon.

    Source: https://pypi.org/project/onnxruntime-ep-mlx/

    Example:
        >>> MLX(max_sessions=4)
        MLX(max_sessions=4)
    """

    _provider: ClassVar[str] = "mlx"


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MIGraphX(_Accelerator):
    """AMD's graphics processors.

    Source: https://onnxruntime.ai/docs/execution-providers/MIGraphX-ExecutionProvider.html

    Attributes:
        device_id: Which of several graphics processors, counted from 0.

    Example:
        >>> MIGraphX(device_id=1)
        MIGraphX(device_id=1)
    """

    _provider: ClassVar[str] = "migraphx"
    device_id: int = 0


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class QNN(_Accelerator):
    """Qualcomm's neural processors.

    Source: https://onnxruntime.ai/docs/execution-providers/QNN-ExecutionProvider.html

    Attributes:
        backend: The part of the chip to use (`backend_type`).

    Example:
        >>> QNN(backend="gpu")
        QNN(backend='gpu')
    """

    _provider: ClassVar[str] = "qnn"
    backend: Literal["htp", "gpu", "cpu"] = "htp"


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class XNNPACK(_Accelerator):
    """Small kernels for the processors of telephones.

    Source: https://onnxruntime.ai/docs/execution-providers/Xnnpack-ExecutionProvider.html

    Attributes:
        threads: Threads of XNNPACK's own (`intra_op_num_threads`).

    Example:
        >>> XNNPACK(threads=2)
        XNNPACK(threads=2)
    """

    _provider: ClassVar[str] = "xnnpack"
    threads: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PlugIn(_Accelerator):
    """A provider of a plug-in library that has no class here.

    Source: https://onnxruntime.ai/docs/execution-providers/plugin-ep-libraries/

    Attributes:
        name: The provider's name, as ONNX Runtime spells it.
        device: The kind of device to use, where the provider has several.

    Example:
        >>> PlugIn(name="ExampleExecutionProvider", device="gpu")
        PlugIn(name='ExampleExecutionProvider', device='gpu')
    """

    _provider: ClassVar[str] = "plug-in"
    name: str
    device: Literal["cpu", "gpu", "npu"] | None = None

    def _request(self) -> tuple[str, dict[str, str], dict[str, str]]:
        _, settings, options = TypedProvider._request(self)
        return settings.pop("name"), settings, options
