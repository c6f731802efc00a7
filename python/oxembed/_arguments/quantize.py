"""`oxembed quantize`."""

from __future__ import annotations

import argparse

from oxembed._arguments.model import Commands, positive

_EXAMPLES = """examples:
  oxembed quantize path/to/folder
  oxembed quantize BAAI/bge-small-en-v1.5 --calibration texts.txt
  oxembed quantize all-MiniLM-L6-v2 --output folder      the embedded model's own folder is left as it is
  oxembed embed --model path/to/folder --dtype int8 --input texts.txt

Writes int8.safetensors beside the weights, after a check on texts that took no part in its making. It is used by
--dtype int8 and Embedder(MODEL, dtype="int8"). Below a mean cosine of 0.9995 to float32, or a minimum of 0.998, nothing
is written, unless --force says so.

Exit status: 0 written, 1 not written, 2 wrong usage.
"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "quantize",
        help="make a model faster on CPUs with 8-bit integers",
        description="Turn the linear layers of a model into 8-bit integers, and say how near its vectors stay.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="folder, Hugging Face id, or the embedded model's name")
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        help="texts to learn from: one a line, or a .jsonl file of objects with text and kind (default: texts of many "
        "kinds that come with oxembed)",
    )
    parser.add_argument("--output", "-o", metavar="DIR", help="another folder to write int8.safetensors to")
    parser.add_argument("--force", action="store_true", help="write the file whatever the check says of its quality")
    parser.add_argument("--threads", type=positive, metavar="N", help="threads to use (default: all)")
    parser.add_argument("--json", action="store_true", help="as JSON")
