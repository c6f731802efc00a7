"""The compiled embedder behind an `Embedder`, with the arguments that can build it again."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple, cast

from oxembed import _cache, _core, _lifecycle, _nvidia, _plug_ins, runtime
from oxembed._provider import Provider, Request, request
from oxembed.calibration import FILE_NAME, Calibration
from oxembed.exceptions import InvalidInputError, InvalidModelError
from oxembed.hub import ResolvedModel

_CPU = {"cpu", "CPUExecutionProvider"}


class Arguments(NamedTuple):
    """The checked arguments of `Embedder(...)`, in plain types that pickle."""

    model: str
    provider: str | Provider | tuple[str | Provider, ...]
    threads: int | None
    max_seq_length: int | None
    truncate_dim: int | None
    dtype: str
    onnx_file: str | None
    calibration: Calibration | None
    revision: str | None
    cache_dir: str | None
    local_files_only: bool
    token: bool | str | None


class Facts(NamedTuple):
    """What never changes about a loaded model, kept so that asking costs nothing and touches no compiled object."""

    dimension: int
    max_seq_length: int
    similarity_fn_name: str
    pad_token_id: int
    padding_side: str
    prompts: dict[str, str]
    default_prompt_name: str | None
    ends_normalized: bool


class Engine:
    """Holds the compiled embedder, and loads it again in a forked child."""

    __slots__ = ("__weakref__", "_calibration", "_core", "_lock", "arguments", "facts", "resolved")

    def __init__(self, arguments: Arguments, resolved: ResolvedModel) -> None:
        self.arguments = arguments
        self.resolved = resolved
        self._lock = threading.Lock()
        self._calibration = arguments.calibration
        core = self._load()
        self._core: _core.Embedder | None = core
        self.facts = _facts(core)
        _lifecycle.register(self)
        if core.warnings:
            import logging

            for warning in core.warnings:
                logging.getLogger("oxembed").warning("%s: %s", resolved.name, warning)

    def _load(self) -> _core.Embedder:
        arguments = self.arguments
        providers = requests(arguments.provider)
        with _lifecycle.NativeCall():
            runtime.load_runtime()
            cache = _cache.folder()
            return _core.Embedder(
                self.resolved.folder,
                providers=providers,
                plug_ins=_prepared([name for name, _, _ in providers]),
                threads=arguments.threads,
                max_seq_length=arguments.max_seq_length,
                truncate_dim=arguments.truncate_dim,
                dtype=arguments.dtype,
                onnx_file=arguments.onnx_file,
                cache=None if cache is None else str(cache),
            )

    @property
    def core(self) -> _core.Embedder:
        """The compiled embedder of this process."""
        core = self._core
        return self._reload() if core is None else core

    @property
    def calibration(self) -> Calibration | None:
        """The constructor's calibration, else the one in the model folder, read when it is first needed."""
        if self._calibration is None:
            path = Path(self.resolved.folder) / FILE_NAME
            if path.exists():
                try:
                    self._calibration = Calibration.load(path)
                except InvalidInputError as error:
                    raise InvalidModelError(str(error)) from error
        return self._calibration

    def _reload(self) -> _core.Embedder:
        with self._lock:
            if self._core is None:
                self._core = self._load()
            return self._core

    def abandon(self) -> object:
        """Give up the inherited compiled object, in a forked child, and return it; no other thread exists there."""
        core, self._core = self._core, None
        self._lock = threading.Lock()
        return core


def requests(provider: str | Provider | tuple[str | Provider, ...]) -> list[Request]:
    """The checked `provider=` for the compiled module."""
    return [request(one) for one in (provider if isinstance(provider, tuple) else (provider,))]


def _prepared(providers: list[str]) -> list[tuple[str, list[str]]]:
    """The plug-ins to choose from; who asks for the CPU alone waits neither for them nor for NVIDIA's libraries."""
    if set(providers) <= _CPU:
        return []
    library = runtime.loaded_library()
    if library is not None:
        _nvidia.preload(providers, library)
    return _plug_ins.usable(_plug_ins.found())


def _facts(core: _core.Embedder) -> Facts:
    info = core.model_info()
    prompts, default = info["prompts"], info["default_prompt_name"]
    return Facts(
        dimension=core.dimension,
        max_seq_length=core.max_seq_length,
        similarity_fn_name=core.similarity_fn_name,
        pad_token_id=core.pad_token_id,
        padding_side=str(info["padding_side"]),
        prompts=dict(cast("dict[str, str]", prompts)),
        default_prompt_name=default if isinstance(default, str) else None,
        ends_normalized=cast("list[str]", info["modules"])[-1:] == ["Normalize"],
    )
