"""`oxembed download`."""

from __future__ import annotations

import argparse

from oxembed._arguments.model import Commands

_EXAMPLES = """examples:
  oxembed download BAAI/bge-small-en-v1.5                       the newest revision, into the Hugging Face cache
  oxembed download BAAI/bge-small-en-v1.5 --revision 5c38ec7    a branch, a tag or a commit
  oxembed embed "some text" --model "$(oxembed download BAAI/bge-small-en-v1.5)"

Prints the model's folder. Only what the model needs is downloaded, and each file is compared with the hub's hash.
A private or gated model needs a token: set HF_TOKEN, or run `hf auth login` once.
HF_ENDPOINT names another hub, HF_HUB_CACHE another cache; HF_HUB_DISABLE_PROGRESS_BARS=1 hides the progress bars.
"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "download",
        help="download a model from the Hugging Face hub",
        description="Download a model from the Hugging Face hub, or bring its copy here up to date.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="ID", help="Hugging Face id, such as BAAI/bge-small-en-v1.5")
    parser.add_argument("--revision", metavar="R", help="branch, tag or commit (default: main)")
    parser.add_argument("--cache-dir", metavar="D", help="cache folder to use in place of the usual one")
    parser.add_argument("--onnx-file", metavar="F", help="ONNX file to download in place of the weights")
