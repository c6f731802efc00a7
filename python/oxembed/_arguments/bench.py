"""`oxembed bench`."""

from __future__ import annotations

import argparse

from oxembed._arguments.model import Commands, add_run_options, positive
from oxembed.hub import EMBEDDED_MODEL

_EXAMPLES = """examples:
  oxembed bench
  oxembed bench --profile                                   where the time goes
  oxembed bench path/to/folder --texts texts.txt --dtype int8
  oxembed bench --threads 1 --rounds 9 --json

Nothing else should run on the machine meanwhile: look at the spread. The limit is what this CPU could do in float32, if
there were nothing but products of the model's own matrices; it is measured in the same rounds.

Exit status: 0 measured, 1 it could not be, 2 wrong usage.
"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "bench",
        help="measure how fast a model is here, and how fast it could be",
        description="Measure speed, latency and memory of a model here, and the share of what this CPU can do.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        nargs="?",
        default=EMBEDDED_MODEL,
        metavar="MODEL",
        help="folder, Hugging Face id, or the embedded %(default)s (the default)",
    )
    parser.add_argument(
        "--texts", metavar="FILE", help="texts to embed, one a line, - for standard input; else 2,000 of its own"
    )
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="rounds of everything (default: 5)")
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_run_options(parser.add_argument_group("model"))
