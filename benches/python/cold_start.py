"""One start in a process of its own: loads a model, embeds one text, prints the seconds as JSON.

    python benches/python/cold_start.py '{"side": "oxembed", "model": "path/to/folder", "provider": "cpu", ...}'

`coreml.py` runs it: a first load must not find what an earlier one left in memory, and where a program dies while it
loads, as some exports do on some providers, nothing else dies with it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

QUERY = "How do I sort a list of dictionaries by a value in Python?"


def loader(arguments: dict[str, Any]) -> Callable[[], Any]:
    """What loads the side that `arguments` describe; the imports it needs are done."""
    if arguments.pop("side") == "oxembed":
        from oxembed._commands.console import load_model

        namespace = argparse.Namespace(**arguments, revision=None)
        return lambda: load_model(arguments["model"], namespace)
    from baseline import Usual

    providers = [(name, options) for name, options in arguments["providers"]]
    folder, onnx_file = Path(arguments["folder"]), Path(arguments["onnx"])
    return lambda: Usual(folder, onnx_file, arguments["threads"], providers, arguments["max_tokens"])


def main() -> int:
    """Measure; return 0, or 1 after a line about what is wrong."""
    load = loader(json.loads(sys.argv[1]))
    start = time.perf_counter()
    try:
        row = load().encode([QUERY])
    except Exception as error:
        # Whatever it is, it is what the start ends in: the parent shows it.
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    seconds = time.perf_counter() - start
    json.dump({"seconds": seconds, "finite": bool(np.isfinite(row).all())}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
