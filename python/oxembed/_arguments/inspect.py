"""`oxembed inspect`."""

from __future__ import annotations

import argparse

from oxembed._arguments.model import Commands, add_provider_options

_EXAMPLES = """examples:
  oxembed inspect path/to/folder                 what it is, what would run, what is suspicious
  oxembed inspect path/to/model.onnx --json      a graph, as JSON
  oxembed inspect BAAI/bge-small-en-v1.5         a model in the local Hugging Face cache
  oxembed inspect all-MiniLM-L6-v2 --provider coreml    where its nodes go, in the sessions that would run

Exit status: 0 done, 1 not found, or the provider that was asked for cannot run it, 2 wrong usage.
"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "inspect",
        help="look into a model folder or an ONNX file",
        description="Say what a model folder or an ONNX file is, what is suspicious about it, and what each execution "
        "provider would take of its graph. No weights are loaded and nothing is embedded, unless --provider is given.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="PATH", help="a model folder, an ONNX file, or a model id")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--revision", metavar="R", help="branch, tag or commit of a Hugging Face id")
    add_provider_options(
        parser.add_argument_group("placement"),
        None,
        "load the model on this provider, and show where ONNX Runtime put the nodes and the work",
    )
