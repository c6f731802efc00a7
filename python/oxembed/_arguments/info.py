"""`oxembed info`."""

from __future__ import annotations

import argparse

from oxembed._arguments.model import Commands, add_run_options

_EXAMPLES = """examples:
  oxembed info                              versions, ONNX Runtime, models at hand
  oxembed info BAAI/bge-small-en-v1.5       what this model is and how it would run
"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "info",
        help="show versions and models",
        description="Show what is installed, or what a model is and how it would run.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="a model, as for --model of the other commands")
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_run_options(parser.add_argument_group("model"))
