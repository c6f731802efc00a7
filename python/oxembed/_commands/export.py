"""`oxembed export`."""

from __future__ import annotations

import argparse
import json
import sys

from oxembed._export import export


def run(arguments: argparse.Namespace) -> int:
    """Write the file and say what is in it."""
    exported = export(
        arguments.model,
        arguments.output,
        target=arguments.target,
        static=arguments.static,
        pooling_inside=arguments.pooling_inside,
        max_seq_length=arguments.max_seq_length,
        revision=arguments.revision,
    )
    if arguments.json:
        sys.stdout.write(f"{json.dumps(exported.as_dict(), indent=2)}\n")
        return 0
    sys.stdout.write(f"{exported.path}\n")
    if exported.data_path is not None:
        sys.stdout.write(f"{exported.data_path}\n")
    sys.stderr.write(
        f"{exported.nodes:,} nodes, {exported.weight_bytes / 1e6:,.1f} MB of weights\n"
        f"inputs: {', '.join(exported.inputs)} (int64, batch x sequence)\n"
        f"output: {exported.output} (float32)\n"
    )
    return 0
