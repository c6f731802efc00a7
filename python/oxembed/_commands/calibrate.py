"""`oxembed calibrate`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from oxembed._commands.console import LineReader, byte_progress, load_model, open_lines, vector_options
from oxembed._progress import Bar


def run(arguments: argparse.Namespace) -> int:
    """Measure the lines of a file and write the calibration."""
    output = Path(arguments.output)
    if not output.resolve().parent.is_dir():
        raise FileNotFoundError(2, "its folder does not exist", arguments.output)
    if output.is_dir():
        raise IsADirectoryError(21, "Is a directory", arguments.output)
    with open_lines(arguments.input) as lines:
        model = load_model(arguments.model, arguments)
        with byte_progress(lines, show=True) as bar:
            calibration = model.calibrate(_watched(lines, bar), **vector_options(arguments))
    calibration.save(output)
    if arguments.json:
        facts = {
            "output": arguments.output,
            "model": calibration.model,
            "vectors": calibration.vectors,
            "dimension": calibration.dimension,
            "normalized": calibration.normalized,
        }
        sys.stdout.write(f"{json.dumps(facts)}\n")
    else:
        sys.stderr.write(
            f"{arguments.output}: ranges of {calibration.dimension} dimensions, measured on {calibration.vectors:,} "
            "texts\n"
        )
    return 0


def _watched(lines: LineReader, bar: Bar | None) -> Iterator[str]:
    shown = 0
    for line in lines:
        yield line
        if bar is not None:
            bar.update(lines.bytes_read - shown)
            shown = lines.bytes_read
