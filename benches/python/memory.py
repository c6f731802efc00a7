"""The peak memory of a process that loads one side and embeds some texts, measured in such a process.

    python benches/python/memory.py '{"side": "oxembed", "onnx": "model.onnx", "threads": 2, "max_tokens": 256}' < TEXTS

The suite runs it; TEXTS is a JSON array. Prints MiB of resident memory at its highest, of the whole process with its
interpreter and all that it imported.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sides

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def peak_mib() -> float:
    """The most memory this process has had, by what the system has recorded of it."""
    if platform.system() == "Windows":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 2**20
    if platform.system() == "Linux":
        # Not ru_maxrss: where a process is started without a copy of its parent, that begins with the parent's.
        return _status_mib("VmHWM")
    import resource

    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 2**20


def _status_mib(field: str) -> float:
    return int(STATUS.read_text(encoding="ascii").partition(f"{field}:")[2].split()[0]) / 2**10


def added_by(call: Callable[[], object]) -> dict[str, Any]:
    """MiB that this process had at most during `call` beyond what it had before, as a row has it."""
    try:
        CLEAR.write_text(RESET_PEAK, encoding="ascii")
    except OSError as error:
        return {
            "added_memory_mib": None,
            "added_memory_left_out": f"the peak cannot be set back here: {error.strerror}",
        }
    before = _status_mib("VmRSS")
    call()
    return {"added_memory_mib": max(0.0, _status_mib("VmHWM") - before)}


def of_side(name: str, setting: sides.Setting, texts: list[str]) -> dict[str, Any]:
    """MiB of a process of its own that loads the side and embeds `texts` in one call, as a row has it."""
    arguments = {**setting._asdict(), "side": name, "onnx": str(setting.onnx)}
    command = [sys.executable, str(Path(__file__).resolve()), json.dumps(arguments)]
    done = subprocess.run(
        command, input=json.dumps(texts), capture_output=True, text=True, encoding="utf-8", timeout=600, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"the process that measures the memory of {name} failed:\n{done.stderr.strip()}")
    return {"peak_memory_mib": float(done.stdout), "peak_memory_texts": len(texts)}


def main() -> None:
    """Load, embed, print."""
    arguments = json.loads(sys.argv[1])
    name = arguments.pop("side")
    side = sides.load(name, sides.Setting(**{**arguments, "onnx": Path(arguments["onnx"])}))
    side.encode(json.loads(sys.stdin.read()))
    sys.stdout.write(f"{peak_mib()}\n")


if __name__ == "__main__":
    main()
