"""`oxembed export`."""

from __future__ import annotations

import argparse

from oxembed._arguments.model import Commands, positive

_EXAMPLES = """examples:
  oxembed export all-MiniLM-L6-v2 minilm.onnx
  oxembed export BAAI/bge-small-en-v1.5 bge.onnx --pooling-inside
  oxembed export path/to/folder model.onnx --target coreml --static 1x128

The file runs in any program with ONNX Runtime 1.24 or newer. Weights of more than a gigabyte go to OUT.onnx.data
beside it.
"""


def _shape(text: str) -> tuple[int, int]:
    batch, by, sequence = text.lower().partition("x")
    if not by:
        raise argparse.ArgumentTypeError(f"expected texts x tokens, such as 1x128, got {text!r}")
    return positive(batch), positive(sequence)


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "export",
        help="write a model's graph as an ONNX file",
        description="Write the graph that oxembed runs as an ONNX file, for other programs.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="folder, Hugging Face id, or the embedded model's name")
    parser.add_argument("output", metavar="OUT.onnx", help="the file to write")
    parser.add_argument(
        "--target",
        choices=("cpu", "coreml", "plain", "gpu"),
        default="cpu",
        help="cpu: fused operators, float32 (the default); gpu: the same in float16; coreml: small operators; "
        "plain: small operators that every provider knows",
    )
    parser.add_argument("--static", type=_shape, metavar="BxS", help="fix the shape: B texts of S tokens")
    parser.add_argument("--pooling-inside", action="store_true", help="the output is the finished vector")
    parser.add_argument("--max-seq-length", type=positive, metavar="N", help="a shorter limit than the model's own")
    parser.add_argument("--revision", metavar="R", help="branch, tag or commit of a Hugging Face id")
    parser.add_argument("--json", action="store_true", help="what was written, as JSON")
