"""`oxembed models`."""

from __future__ import annotations

import argparse

from oxembed._arguments.model import Commands

_EXAMPLES = """examples:
  oxembed models                            every registered model, a line each
  oxembed models BAAI/bge-small-en-v1.5     everything about one of them
  oxembed models | cut -f 1,3               names and dimensions

In a pipe a line holds, separated by tabs: id, family, dimension, tokens, parameters, pooling, license, and where the
model is: package, cache or nothing. A model need not be registered to work: `oxembed info MODEL` tells.
"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "models",
        help="list models that are known to work",
        description="List the models whose shapes this version is tested with. None of this is used to load a model: "
        "its own folder decides.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="show everything about this one")
    parser.add_argument("--json", action="store_true", help="as JSON")
