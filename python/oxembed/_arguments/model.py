"""Options that several commands share."""

from __future__ import annotations

import argparse
from typing import TypeAlias

from oxembed.hub import EMBEDDED_MODEL

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # pyright: ignore[reportPrivateUsage]
Group: TypeAlias = "argparse._ArgumentGroup"  # pyright: ignore[reportPrivateUsage]

RUNTIME = "runtime."


def positive(text: str) -> int:
    """A whole number above zero."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive whole number, got {text!r}")
    return number


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The model and how to run it."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        "-m",
        default=EMBEDDED_MODEL,
        metavar="M",
        help="folder, Hugging Face id, or the embedded %(default)s (the default)",
    )
    add_run_options(group)


def add_vector_options(parser: argparse.ArgumentParser) -> Group:
    """What decides on the vectors."""
    group = parser.add_argument_group("vectors")
    group.add_argument("--prompt-name", metavar="N", help="name of a prompt of the model to put before each text")
    group.add_argument("--prompt", metavar="TEXT", help="text to put before each text")
    group.add_argument("--normalize", action="store_true", default=None, help="scale each vector to length 1")
    group.add_argument("--truncate-dim", type=positive, metavar="N", help="keep only N leading dimensions")
    return group


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.removeprefix(RUNTIME):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, such as compute_units=cpu_and_gpu, got {text!r}")
    return key, value


def add_run_options(group: Group) -> None:
    """How to find and run a model that is named elsewhere."""
    group.add_argument("--revision", metavar="R", help="branch, tag or commit of a Hugging Face id")
    add_provider_options(
        group, "auto", "execution provider, or several in order of preference, separated by commas (default: auto)"
    )


def add_provider_options(group: Group, default: str | None, what: str) -> None:
    """What to run a model on."""
    group.add_argument("--provider", "-p", default=default, metavar="P", help=what)
    group.add_argument(
        "--provider-option",
        action="append",
        default=[],
        type=_option,
        metavar="KEY=VALUE",
        help="option of the first provider named; runtime.KEY=VALUE is one of ONNX Runtime's own (repeatable)",
    )
    group.add_argument(
        "--dtype",
        choices=("float32", "float16", "bfloat16", "int8", "auto"),
        default="float32",
        help="number format of the arithmetic, if the provider has it; int8 needs `oxembed quantize MODEL` once, and "
        "auto is int8 where that passed and is fast, else float32 (default: float32)",
    )
    group.add_argument("--threads", type=positive, metavar="N", help="threads to use (default: all)")
