"""`oxembed verify`."""

from __future__ import annotations

import argparse
import math

from oxembed._arguments.model import Commands, add_run_options
from oxembed.hub import EMBEDDED_MODEL

_EXAMPLES = """examples:
  oxembed verify
  oxembed verify path/to/folder --reference path/to/folder/golden.npz
  oxembed verify intfloat/e5-small-v2 --prompt-name query --unrelated-below 0.9 --separation-above 0.1

The reference is an .npz file with the array "embeddings" of shape (texts, dimension), and any arrays "prompt_<name>"
of the first texts with that prompt. The texts are a JSON list beside it: for golden.npz, in golden_texts.json or
texts.json.

Exit status: 0 every check passed, 1 one failed or could not be made, 2 wrong usage.
"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "verify",
        help="check that a model works here as it should",
        description="Check a model: sound vectors that mean something, the same in any batch, and like a reference.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        nargs="?",
        default=EMBEDDED_MODEL,
        metavar="MODEL",
        help="folder, Hugging Face id in the local cache, or the embedded %(default)s (the default)",
    )
    parser.add_argument("--reference", "-r", metavar="FILE", help="vectors to agree with, an .npz file")
    parser.add_argument("--reference-texts", metavar="FILE", help="texts of the reference, a JSON list")
    parser.add_argument("--json", action="store_true", help="as JSON")
    group = parser.add_argument_group("checks")
    group.add_argument(
        "--prompt-name", metavar="N", help="name of a prompt of the model to put before the suite's texts"
    )
    group.add_argument(
        "--no-pairs",
        action="store_true",
        help="leave out the English pairs, for a model that is not trained on English",
    )
    for option, what in (
        ("similar-above", "least cosine of sentences that mean the same (default: 0.6)"),
        ("unrelated-below", "largest cosine of sentences that do not (default: 0.4)"),
        ("separation-above", "least difference of the averages (default: 0.2)"),
        ("batch-tolerance", "largest difference alone and in a batch (default: 1e-5)"),
        ("reference-tolerance", "largest difference to the reference (default: 1e-5)"),
    ):
        # Left out where not given, so that the defaults are those of oxembed.verify alone.
        group.add_argument(f"--{option}", type=_number, metavar="X", default=argparse.SUPPRESS, help=what)
    add_run_options(parser.add_argument_group("model"))


def _number(text: str) -> float:
    """A finite number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}")
    return number
