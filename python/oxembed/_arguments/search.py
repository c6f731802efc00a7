"""`oxembed search`."""

from __future__ import annotations

import argparse

from oxembed._arguments.model import Commands, add_model_options, positive

_EXAMPLES = """examples:
  oxembed search "a bug that vanishes when you look" --input notes.txt
  oxembed search "unpaid invoices" --input - --top 20 --json < subjects.txt

Prints score, line number and text of the best lines, best first; separated by tabs where the output is not a terminal.
"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "search",
        help="rank the lines of a file by meaning",
        description="Rank the lines of a file by how close their meaning is to a query.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("query", help="what to look for")
    parser.add_argument(
        "--input", "-i", required=True, metavar="FILE", help="file with one text a line; - is standard input"
    )
    parser.add_argument("--top", "-k", type=positive, default=5, metavar="K", help="lines to show (default: 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    add_model_options(parser)
