"""`oxembed quantize`."""

from __future__ import annotations

import argparse
import json
import sys

from oxembed._commands.console import shown
from oxembed.quantization import quantize
from oxembed.quantization_report import LEAST_MEAN, LEAST_MINIMUM, QuantizationReport


def run(arguments: argparse.Namespace) -> int:
    """Quantize a model and say what came out; the exit status says whether a file was written."""
    report = quantize(
        arguments.model,
        calibration=arguments.calibration,
        output=arguments.output,
        force=arguments.force,
        threads=arguments.threads,
    )
    text = json.dumps(report.as_dict(), ensure_ascii=False, indent=2) if arguments.json else _text(report, arguments)
    sys.stdout.buffer.write(f"{text}\n".encode())
    sys.stdout.buffer.flush()
    if report.path is None:
        sys.stderr.write(
            f"oxembed: nothing was written: {_shortfall(report)}; --force writes the file all the same, and texts like "
            "your own as --calibration may bring it nearer\n"
        )
        return 1
    if not report.passed:
        sys.stderr.write(f"oxembed: written all the same, as --force says: {_shortfall(report)}\n")
    return 0


def _text(report: QuantizationReport, arguments: argparse.Namespace) -> str:
    """The tables; below them the file that was written, and how to use it."""
    if report.path is None:
        return str(report)
    model = shown(arguments.model)
    if arguments.output is None:
        use = f"--model {model} --dtype int8 and Embedder({model!r}, dtype='int8') use it"
    else:
        use = f"copied beside model.safetensors of {model}, it is what --dtype int8 and dtype='int8' use"
    return f"{report}\n\n{shown(report.path)}\n{use}"


def _shortfall(report: QuantizationReport) -> str:
    found = report.quality
    return (
        f"the vectors have a mean cosine of {found.mean:.5f} to float32 and a minimum of {found.minimum:.5f}, where "
        f"{LEAST_MEAN} and {LEAST_MINIMUM} are due"
    )
