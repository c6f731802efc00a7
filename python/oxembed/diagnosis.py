"""What is here to compute with: ONNX Runtime, its execution providers, devices, threads, caches, and what is wrong.

`doctor` looks at all of that. Whether a provider works is not believed but tried: a session with a tiny graph is made
on it, and ONNX Runtime's own record says where the nodes went.

Example:
    >>> from oxembed import doctor
    >>> diagnosis = doctor()
    >>> diagnosis.works, [provider.name for provider in diagnosis.providers if provider.name == "cpu"]
    (True, ['cpu'])
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from oxembed import _cache, _core, _flavours, _nvidia, _plug_ins, _processors, hub, runtime
from oxembed._flavours import Flavour
from oxembed._lifecycle import NativeCall
from oxembed.exceptions import ServiceUnavailableError

__all__ = [
    "Advice",
    "Cache",
    "Device",
    "Diagnosis",
    "Flavour",
    "Int8Support",
    "Library",
    "PlugIn",
    "ProviderState",
    "Threads",
    "doctor",
]

_NO_OUTCOME: Mapping[str, Any] = {"providers": (), "registered": False, "problem": None}


@dataclass(frozen=True, slots=True)
class Library:
    """The ONNX Runtime that is loaded.

    Attributes:
        path: Its file.
        version: Its version.
    """

    path: str
    version: str


@dataclass(frozen=True, slots=True)
class PlugIn:
    """A plug-in library of ONNX Runtime.

    Attributes:
        source: The module it comes from, or the environment variable that names it.
        library: Its file; `None` where the module does not tell.
        providers: Its execution providers, as ONNX Runtime spells them.
        registered: Whether ONNX Runtime took it.
        problem: What is wrong with it.
    """

    source: str
    library: str | None
    providers: tuple[str, ...]
    registered: bool
    problem: str | None


@dataclass(frozen=True, slots=True)
class Device:
    """A device that an execution provider offers.

    Attributes:
        provider: The provider, as ONNX Runtime spells it.
        kind: `"cpu"`, `"gpu"` or `"npu"`.
        vendor: Who made it.
        id: The maker's number for it.
        is_virtual: Whether it is only pretended: models can be compiled for it, and not run.
        metadata: What else the provider says of it.
    """

    provider: str
    kind: str
    vendor: str
    id: int
    is_virtual: bool
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProviderState:
    """Whether an execution provider works here.

    Attributes:
        name: As `provider=` spells it.
        runtime_name: As ONNX Runtime spells it.
        works: Whether a session on it computed a tiny graph.
        reason: How it is known, or why it does not work.
        remedy: The command that would make it work; `None` where nothing would.
    """

    name: str
    runtime_name: str
    works: bool
    reason: str
    remedy: str | None


@dataclass(frozen=True, slots=True)
class Threads:
    """How many threads are used, and what limits them.

    Attributes:
        used: Threads that a model uses.
        affinity: Processors that this process may run on; `None` where the system does not say.
        cgroup: Processors that its cgroup gives it; `None` where there is no such limit.
        logical: Processors of the machine.
    """

    used: int
    affinity: int | None
    cgroup: float | None
    logical: int


@dataclass(frozen=True, slots=True)
class Int8Support:
    """What the processor has for `dtype="int8"`.

    Attributes:
        instructions: What the products are computed with here.
        fast: Whether those are made for it, so that int8 is faster than float32.
        available: All that this processor could compute with, to the same bits, the fastest first.
        amx: Whether it has AMX tiles as well, which are not used.
    """

    instructions: str
    fast: bool
    available: tuple[str, ...]
    amx: bool


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder that is kept between processes.

    Attributes:
        purpose: `"models"` (Hugging Face's, shared by all programs) or `"compiled"` (ours).
        folder: Where it is, or will be.
        problem: Why nothing can be written there; `None` if that is possible.
    """

    purpose: str
    folder: str
    problem: str | None


@dataclass(frozen=True, slots=True)
class Advice:
    """Something that is wrong with the installation as a whole.

    Attributes:
        message: What, and what comes of it.
        remedy: What to do about it.
    """

    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that `doctor` found.

    Attributes:
        oxembed: Version of this package.
        python: Version of Python.
        platform: Operating system and processor.
        library: The ONNX Runtime that is loaded; `None` where there is none that works.
        problem: Why there is none.
        flavours: Installed packages of ONNX Runtime; there should be one.
        built_in: Execution providers that this ONNX Runtime was built with, as it spells them.
        plug_ins: Plug-ins that were found.
        devices: Devices that the providers offer.
        providers: Each provider, and whether it works.
        threads: The threads.
        int8: What the processor has for `dtype="int8"`.
        caches: The cache folders.
        advice: What is wrong with the whole, the worst first.

    Example:
        >>> doctor().threads.used >= 1
        True
    """

    oxembed: str
    python: str
    platform: str
    library: Library | None
    problem: str | None
    flavours: tuple[Flavour, ...]
    built_in: tuple[str, ...]
    plug_ins: tuple[PlugIn, ...]
    devices: tuple[Device, ...]
    providers: tuple[ProviderState, ...]
    threads: Threads
    int8: Int8Support
    caches: tuple[Cache, ...]
    advice: tuple[Advice, ...]

    @property
    def works(self) -> bool:
        """Whether texts can be embedded at all: on the CPU."""
        return any(provider.works for provider in self.providers if provider.name == "cpu")

    def as_dict(self) -> dict[str, Any]:
        """The same as a plain dict of numbers, strings, lists and dicts: what `oxembed doctor --json` prints.

        Example:
            >>> doctor().as_dict()["works"]
            True
        """
        return {"works": self.works, **cast("dict[str, Any]", json.loads(json.dumps(asdict(self))))}


def doctor() -> Diagnosis:
    """Look at what is here to compute with.

    Returns:
        What was found. A broken or missing ONNX Runtime is an answer, not an exception.

    Example:
        >>> [provider.reason for provider in doctor().providers if provider.name == "coreml"] != []
        True
    """
    found = _plug_ins.found()
    problem = None
    with NativeCall():
        try:
            values = _examined(found)
        except ServiceUnavailableError as error:
            problem = str(error)
            values = _without_runtime()
    flavours = tuple(_flavours.installed())
    caches = _caches()
    return Diagnosis(
        oxembed=_core.__version__,
        python=f"{platform.python_version()} ({sys.executable})",
        platform=f"{platform.system()} {platform.machine()}",
        library=None if values["library"] is None else Library(**values["library"]),
        problem=problem,
        flavours=flavours,
        built_in=tuple(values["built_in"]),
        plug_ins=_merged(found, values["plug_ins"]),
        devices=tuple(Device(**one) for one in values["devices"]),
        providers=tuple(ProviderState(**one) for one in values["providers"]),
        threads=Threads(values["threads"], _processors.affinity(), _processors.cgroup_quota(), os.cpu_count() or 1),
        int8=_int8_support(),
        caches=caches,
        advice=(*_about_flavours(flavours), *_about_caches(caches)),
    )


def _int8_support() -> Int8Support:
    values: dict[str, Any] = json.loads(_core.int8_support())
    return Int8Support(values["instructions"], values["fast"], tuple(values["available"]), values["amx"])


def _examined(found: Sequence[_plug_ins.FoundPlugIn]) -> dict[str, Any]:
    """What the compiled module finds out with ONNX Runtime."""
    runtime.load_runtime()
    library = runtime.loaded_library()
    if library is not None:
        _nvidia.preload(["auto"], library)
    usable = [(one.library, list(one.providers)) for one in found if one.library and one.problem is None]
    values: dict[str, Any] = json.loads(_core.diagnose(plug_ins=usable))
    return values


def _without_runtime() -> dict[str, Any]:
    """The same where there is no ONNX Runtime: no provider works, and first of all one is needed."""
    rows: list[dict[str, Any]] = json.loads(_core.provider_table())
    states = [
        {
            "name": row["name"],
            "runtime_name": row["runtime_name"],
            "works": False,
            "reason": "there is no ONNX Runtime that works",
            "remedy": None,
        }
        for row in rows
        if row["runtime_name"]
    ]
    threads = _processors.affinity() or os.cpu_count() or 1
    return {"library": None, "built_in": [], "devices": [], "plug_ins": [], "providers": states, "threads": threads}


def _merged(found: Sequence[_plug_ins.FoundPlugIn], registered: Sequence[Mapping[str, Any]]) -> tuple[PlugIn, ...]:
    """What was found, with what ONNX Runtime made of it."""
    outcomes: dict[str, Mapping[str, Any]] = {one["path"]: one for one in registered}
    plug_ins: list[PlugIn] = []
    for one in found:
        outcome = _NO_OUTCOME if one.library is None or one.problem else outcomes.get(one.library, _NO_OUTCOME)
        plug_ins.append(
            PlugIn(
                source=one.source,
                library=one.library,
                providers=tuple(outcome["providers"]) or one.providers,
                registered=outcome["registered"],
                problem=one.problem or outcome["problem"],
            )
        )
    return tuple(plug_ins)


def _caches() -> tuple[Cache, ...]:
    own = _cache.folder()
    compiled = [] if own is None else [Cache("compiled", str(own), _cache.problem(own))]
    models = [Cache("models", str(folder), _cache.problem(folder)) for folder in hub.cache_folders()]
    return (*models, *compiled)


def _about_flavours(flavours: Sequence[Flavour]) -> list[Advice]:
    remedy = _flavours.remedy(flavours)
    if remedy is None:
        return []
    if len(flavours) > len({flavour.folder for flavour in flavours}):
        names = " and ".join(f"{flavour.name} {flavour.version}" for flavour in flavours)
        holder = next((flavour for flavour in flavours if flavour.in_place), None)
        holds = "neither as a whole" if holder is None else f"{holder.name} {holder.version}"
        message = f"{names} are installed over each other, in the same folder; it holds {holds}. Keep one of them"
        return [Advice(message, remedy)]
    [broken, *_] = [one for one in flavours if one.missing or one.replaced or not one.in_place]
    message = (
        f"the files of {broken.name} {broken.version} are not as they were installed: {broken.missing} of "
        f"{broken.files} are missing, {broken.replaced} have another size"
    )
    return [Advice(message, remedy)]


def _about_caches(caches: Sequence[Cache]) -> list[Advice]:
    advice: list[Advice] = []
    if not any(cache.purpose == "compiled" for cache in caches):
        message = "there is no home folder for a cache: what a provider compiles is compiled again in each process"
        advice.append(Advice(message, "set OXEMBED_CACHE to a folder that can be written to"))
    for cache in caches:
        if cache.problem is None:
            continue
        if cache.purpose == "compiled":
            message = f"{cache.problem}: what a provider compiles is compiled again in each process"
            advice.append(Advice(message, "set OXEMBED_CACHE to a folder that can be written to"))
        elif not Path(cache.folder).is_dir():
            message = f"{cache.problem}: no model can be downloaded"
            advice.append(Advice(message, "set HF_HUB_CACHE to a folder that can be written to"))
    return advice
