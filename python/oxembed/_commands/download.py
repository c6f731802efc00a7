"""`oxembed download`."""

from __future__ import annotations

import argparse
import sys

from oxembed import hub
from oxembed._commands.console import is_terminal, size_in_words
from oxembed._download import Plan


def run(arguments: argparse.Namespace) -> int:
    """Download a model and print its folder."""
    folder = hub.download(
        arguments.model,
        revision=arguments.revision,
        cache_dir=arguments.cache_dir,
        onnx_file=arguments.onnx_file,
        announce=_announce,
    )
    sys.stdout.write(f"{folder}\n")
    return 0


def _announce(plan: Plan) -> None:
    if is_terminal(sys.stderr):
        files = "1 file" if plan.files == 1 else f"{plan.files} files"
        sys.stderr.write(
            f"{plan.model_id} at {plan.commit[:7]}: {files}, {size_in_words(plan.bytes)}, into {plan.cache}\n"
        )
