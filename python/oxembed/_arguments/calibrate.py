"""`oxembed calibrate`."""

from __future__ import annotations

import argparse

from oxembed._arguments.model import Commands, add_model_options, add_vector_options

_EXAMPLES = """examples:
  oxembed calibrate --input texts.txt --output calibration.json
  oxembed embed --input texts.txt --output codes.npy --precision int8 --calibration calibration.json

The input holds one text a line, in UTF-8: a thousand or more, like those that will be embedded. Give the same options
for the vectors to both commands. In the model's folder, calibration.json is used without being named.
"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "calibrate",
        help="measure the ranges for int8 and uint8 vectors",
        description="Measure the range of each dimension on typical texts, for embed --precision int8 and uint8.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--input", "-i", required=True, metavar="FILE", help="file with one text a line; - is standard input"
    )
    parser.add_argument("--output", "-o", required=True, metavar="FILE", help="file to write, JSON")
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON")
    add_model_options(parser)
    add_vector_options(parser)
