"""One start in a process of its own: imports, loads a model, embeds one text, prints the seconds of each as JSON.

    python benches/python/cold_start.py '{"side": "oxembed", "model": "path/to/folder", "provider": "cpu", ...}'
    python benches/python/cold_start.py '{"side": "suite", "name": "oxembed int8", "onnx": "", "threads": 2, ...}'

`coreml.py` and `starts.py` run it: a first load must not find what an earlier one left in memory, and where a program
dies while it loads, as some exports do on some providers, nothing else dies with it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

QUERY = "How do I sort a list of dictionaries by a value in Python?"


def loader(arguments: dict[str, Any]) -> Callable[[], Any]:
    """What loads the side that `arguments` describe; the imports it needs are done."""
    side = arguments.pop("side")
    if side == "suite":
        name = arguments.pop("name")
        for package in ("oxembed",) if name.startswith("oxembed") else ("onnxruntime", "tokenizers", "baseline"):
            importlib.import_module(package)
        sides = importlib.import_module("sides")
        setting = sides.Setting(**{**arguments, "onnx": Path(arguments["onnx"])})
        return lambda: sides.load(name, setting)
    if side == "oxembed":
        from oxembed._commands.console import load_model

        namespace = argparse.Namespace(**arguments, revision=None)
        return lambda: load_model(arguments["model"], namespace)
    from baseline import Usual

    providers = [(name, options) for name, options in arguments["providers"]]
    folder, onnx_file = Path(arguments["folder"]), Path(arguments["onnx"])
    return lambda: Usual(folder, onnx_file, arguments["threads"], providers, arguments["max_tokens"])


def main() -> int:
    """Measure; return 0, or 1 after a line about what is wrong."""
    begun = time.perf_counter()
    load = loader(json.loads(sys.argv[1]))
    imported = time.perf_counter()
    try:
        model = load()
        loaded = time.perf_counter()
        row = model.encode([QUERY])
    except Exception as error:
        # Whatever it is, it is what the start ends in: the parent shows it.
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    ended = time.perf_counter()
    seconds = {"import": imported - begun, "load": loaded - imported, "first_call": ended - loaded}
    # Only now: what the side imports is part of its import.
    from numpy import isfinite

    json.dump({**seconds, "seconds": ended - imported, "finite": bool(isfinite(row).all())}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
