"""`oxembed embed`."""

from __future__ import annotations

import argparse
from pathlib import Path

from oxembed._arguments.model import Commands, add_model_options, add_vector_options
from oxembed._options import CALIBRATED, PRECISIONS

_EXAMPLES = """examples:
  oxembed embed "some text" "another text"
  oxembed embed --input texts.txt --output vectors.npy
  sort -u texts.txt | oxembed embed --input - --precision binary > vectors.jsonl

The input holds one text a line, in UTF-8; an empty line is an empty text, so row N belongs to line N + 1.
.npy holds an array of shape (texts, dimension); .jsonl and standard output hold one object a line
({"index": ..., "text": ..., "embedding": [...]}); .csv has the columns index, text, 0, 1, 2, ...
"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "embed",
        help="turn texts into vectors",
        description="Turn texts into vectors.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts to embed")
    parser.add_argument("--input", "-i", metavar="FILE", help="file with one text a line; - is standard input")
    parser.add_argument("--output", "-o", metavar="FILE", help="file.npy, file.jsonl or file.csv")
    add_model_options(parser)
    group = add_vector_options(parser)
    group.add_argument("--precision", choices=PRECISIONS, default="float32", help="number format (default: float32)")
    group.add_argument(
        "--calibration",
        metavar="FILE",
        help="ranges for int8 and uint8, made by `oxembed calibrate` (default: calibration.json of the model's folder)",
    )


def check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse options that make no sense together."""
    from oxembed._commands.writers import SUFFIXES

    if bool(arguments.texts) == (arguments.input is not None):
        parser.error("embed: give either texts as arguments or --input FILE (- is standard input)")
    if arguments.calibration is not None and arguments.precision not in CALIBRATED:
        parser.error(f"embed: --calibration has no part in --precision {arguments.precision}")
    output: str | None = arguments.output
    if output is not None and Path(output).suffix.lower() not in SUFFIXES:
        parser.error(f"embed: --output {output!r} must end in one of: {', '.join(SUFFIXES)}")
