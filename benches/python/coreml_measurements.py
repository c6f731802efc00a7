"""What `coreml.py` measures of its sides; each result is a part of the JSON file."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from cold_start import QUERY
from coreml_sides import Setting, export_arguments, export_providers, start
from numpy.typing import NDArray
from timing import Times, interleaved, percentiles, ratio

import oxembed
from oxembed.runtime import load_runtime

# Of the graph that is placed as a whole.
SHAPE = (1, 32)


def measure(setting: Setting) -> dict[str, Any]:
    """Every measurement, as it goes into the JSON file."""
    arguments, info = setting.arguments, setting.model.model_info()

    def tell(what: str) -> None:
        sys.stderr.write(f"measuring {what} ...\n")

    results: dict[str, Any] = {
        "machine": machine(),
        "model": {"name": info.name, "parameters": info.parameters, "dimension": info.dimension},
        "provider": {
            "name": setting.row["name"],
            "runtime_name": setting.row["runtime_name"],
            "options": {key: str(value) for key, value in arguments.provider_option},
            "dtype": arguments.dtype,
        },
        "export": {
            "file": arguments.onnx.name if arguments.onnx else None,
            "options": dict(export_providers(setting)[0][1]),
            "problem": setting.export_problem,
        },
        "threads": info.threads,
        "runs": arguments.runs,
        "warm_ups": arguments.warm_ups,
        "rounds": arguments.rounds,
    }
    tell("single calls")
    results["latency"] = latency(setting)
    tell("throughput")
    results["throughput"] = throughput(setting)
    tell("quality and placement")
    results["quality"] = quality(setting)
    results["placement"] = placement(setting)
    if arguments.starts:
        tell("starts")
    results["starts"] = starts(setting) if arguments.starts else {}
    return results


def latency(setting: Setting) -> list[dict[str, Any]]:
    """Single calls of one text, and of batches."""
    found = []
    step = max(1, len(setting.texts) // max(setting.arguments.batches))
    spread = [QUERY, *setting.texts[::step]]
    for size in setting.arguments.batches:
        texts = spread[:size]
        times = interleaved(setting.encoders(texts), setting.arguments.runs, setting.arguments.warm_ups)
        sides = {name: {**percentiles(seconds), "seconds": seconds} for name, seconds in times.items()}
        found.append({"texts": size, "characters": sum(map(len, texts)), "sides": sides, "faster": compared(times)})
    return found


def throughput(setting: Setting) -> dict[str, Any]:
    """The whole corpus in one call."""
    times = interleaved(setting.encoders(setting.texts), setting.arguments.rounds)
    sides = {
        name: {"texts_per_second": len(setting.texts) / statistics.median(seconds), "seconds": seconds}
        for name, seconds in times.items()
    }
    return {"texts": len(setting.texts), "sides": sides, "faster": compared(times)}


def compared(times: Times) -> dict[str, float]:
    """How many times as fast the provider is as the others, by the median of the rounds' own ratios."""
    return {name: ratio(times, "provider", name) for name in times if name != "provider"}


def quality(setting: Setting) -> dict[str, Any]:
    """Every side's vectors of the corpus against the CPU's."""
    reference = setting.cpu.encode(setting.texts)
    sides = {}
    for name, side in setting.sides.items():
        if name == "cpu":
            continue
        each = cosines(side.encode(setting.texts), reference)
        finite = np.isfinite(each)
        worst = int(np.argmin(np.where(finite, each, -2.0)))
        sides[name] = {
            "mean_cosine": float(each[finite].mean()) if finite.any() else None,
            "smallest_cosine": float(each[worst]) if finite.all() else None,
            "worst_text": worst,
            "rows_not_finite": int((~finite).sum()),
            "cosines": [float(value) if is_number else None for value, is_number in zip(each, finite, strict=True)],
        }
    return {"reference": "cpu", "texts": len(setting.texts), "sides": sides}


def cosines(rows: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float64]:
    """The cosine of each row to the reference's of the same number; NaN where a row has one."""
    one, other = rows.astype(np.float64), reference.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: NDArray[np.float64] = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    return result


def placement(setting: Setting) -> dict[str, Any]:
    """The share that the provider has of each session, and in how many parts it has the graph."""
    runtime_name = setting.row["runtime_name"]
    sessions = []
    for one in setting.model.placement():
        nodes = one.providers.get(runtime_name, 0)
        sessions.append(
            {
                "session": one.session,
                "device": one.device,
                "nodes": one.nodes,
                "provider_nodes": nodes,
                "node_share": nodes / one.nodes,
                "work_share": one.work.get(runtime_name, 0.0),
            }
        )
    return {"sessions": sessions, "partitions": partitions(setting)}


def partitions(setting: Setting) -> dict[str, Any]:
    """The parts that a plain session on the provider has of the written graph and of the export, where it has any.

    For CoreML of both written graphs, which differ in how they look up embeddings: which of them it takes whole is a
    question of its version.
    """
    import onnxruntime

    row = setting.row
    if row["name"] == "cpu" or row["runtime_name"] not in onnxruntime.get_available_providers():
        return {}
    import baseline

    found = {"export": setting.export.session} if setting.export is not None else {}
    targets: dict[str, Literal["cpu", "plain", "coreml"]] = {"any shape": "cpu"}
    if row["shapes"] == "ladder":
        targets = {"Gather": "plain", "GatherND": "coreml"} if row["name"] == "coreml" else {"Gather": "plain"}
    with tempfile.TemporaryDirectory() as folder:
        for name, target in targets.items():
            file = Path(folder) / f"{target}.onnx"
            oxembed.export(setting.arguments.model, file, target=target, static=None if target == "cpu" else SHAPE)
            found[name] = baseline.session(file, setting.model.model_info().threads, export_providers(setting))
    return {name: baseline.placed(session, row["runtime_name"])._asdict() for name, session in found.items()}


def starts(setting: Setting) -> dict[str, dict[str, list[float]]]:
    """Loads of every side in turn: those of an empty cache, and those after them in the same."""
    arguments = setting.arguments
    # A folder that the user named may have compiled models already.
    options = [one for one in arguments.provider_option if one[0] != "cache_folder"]
    shared = {"side": "oxembed", "model": arguments.model, "dtype": arguments.dtype, "threads": arguments.threads}
    sides = {
        "provider": {**shared, "provider": arguments.provider, "provider_option": options},
        "cpu": {**shared, "provider": "cpu", "provider_option": [], "dtype": "float32"},
    }
    if setting.export is not None:
        sides["export"] = export_arguments(setting)
    times: dict[str, dict[str, list[float]]] = {name: {"empty_cache": [], "with_cache": []} for name in sides}
    for _ in range(arguments.starts):
        with tempfile.TemporaryDirectory() as cache:
            for name, side in sides.items():
                for kind in times[name]:
                    times[name][kind].append(start(side, cache))
    return times


def machine() -> dict[str, Any]:
    """The machine and the versions of what ran on it."""
    brand = ""
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        brand = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    elif sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        brand = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    macos = platform.mac_ver()[0]
    return {
        "processor": brand or platform.processor() or platform.machine(),
        "processors": os.cpu_count(),
        "system": f"macOS {macos}" if macos else f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "onnxruntime": load_runtime(),
        "oxembed": oxembed.__version__,
        "numpy": np.__version__,
    }
