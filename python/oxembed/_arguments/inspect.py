"""`oxembed inspect`."""

from __future__ import annotations

import argparse

from oxembed._arguments.model import Commands

_EXAMPLES = """examples:
  oxembed inspect path/to/folder                 what it is, what would run, what is suspicious
  oxembed inspect path/to/model.onnx --json      a graph, as JSON
  oxembed inspect BAAI/bge-small-en-v1.5         a model in the local Hugging Face cache
"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "inspect",
        help="look into a model folder or an ONNX file",
        description="Say what a model folder or an ONNX file is, what is suspicious about it, and what each execution "
        "provider would take of its graph. Nothing is embedded and no weights are loaded.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="PATH", help="a model folder, an ONNX file, or a model id")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--revision", metavar="R", help="branch, tag or commit of a Hugging Face id")
