"""The command `oxembed`: `embed`, `search` and `info`.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 141 the reader of the output went away.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from oxembed._core import __version__
from oxembed._options import PRECISIONS
from oxembed.exceptions import OxembedError
from oxembed.hub import EMBEDDED_MODEL

__all__ = ["main"]

_DESCRIPTION = "Turn text into embedding vectors on this machine, and search by meaning."
_EXAMPLES = """examples:
  oxembed search "a bug that vanishes when you look" --input notes.txt
  oxembed embed "some text" "another text"
  oxembed embed --input texts.txt --output vectors.npy
  oxembed info
"""
_EMBED_EXAMPLES = """examples:
  oxembed embed "some text" "another text"
  oxembed embed --input texts.txt --output vectors.npy
  sort -u texts.txt | oxembed embed --input - --precision binary > vectors.jsonl

The input holds one text a line, in UTF-8; an empty line is an empty text, so row N belongs to line N + 1.
.npy holds an array of shape (texts, dimension); .jsonl and standard output hold one object a line
({"index": ..., "text": ..., "embedding": [...]}); .csv has the columns index, text, 0, 1, 2, ...
"""
_SEARCH_EXAMPLES = """examples:
  oxembed search "a bug that vanishes when you look" --input notes.txt
  oxembed search "unpaid invoices" --input - --top 20 --json < subjects.txt

Prints score, line number and text of the best lines, best first; separated by tabs where the output is not a terminal.
"""
_INFO_EXAMPLES = """examples:
  oxembed info                              versions, ONNX Runtime, models at hand
  oxembed info BAAI/bge-small-en-v1.5       what this model is and how it would run
"""


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive whole number, got {text!r}")
    return number


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        "-m",
        default=EMBEDDED_MODEL,
        metavar="M",
        help="folder, Hugging Face id in the local cache, or the embedded %(default)s (the default)",
    )
    _add_run_options(group)


def _add_run_options(group: argparse._ArgumentGroup) -> None:  # pyright: ignore[reportPrivateUsage]
    group.add_argument("--revision", metavar="R", help="branch, tag or commit of a Hugging Face id")
    group.add_argument(
        "--provider",
        "-p",
        default="auto",
        metavar="P",
        help="execution provider, or several in order of preference, separated by commas (default: auto)",
    )
    group.add_argument("--threads", type=_positive, metavar="N", help="threads to use (default: all)")


def _add_embed(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # pyright: ignore[reportPrivateUsage]
    parser = commands.add_parser(
        "embed",
        help="turn texts into vectors",
        description="Turn texts into vectors.",
        epilog=_EMBED_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts to embed")
    parser.add_argument("--input", "-i", metavar="FILE", help="file with one text a line; - is standard input")
    parser.add_argument("--output", "-o", metavar="FILE", help="file.npy, file.jsonl or file.csv")
    _add_model_options(parser)
    group = parser.add_argument_group("vectors")
    group.add_argument("--prompt-name", metavar="N", help="name of a prompt of the model to put before each text")
    group.add_argument("--prompt", metavar="TEXT", help="text to put before each text")
    group.add_argument("--normalize", action="store_true", default=None, help="scale each vector to length 1")
    group.add_argument("--truncate-dim", type=_positive, metavar="N", help="keep only N leading dimensions")
    group.add_argument("--precision", choices=PRECISIONS, default="float32", help="number format (default: float32)")


def _add_search(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # pyright: ignore[reportPrivateUsage]
    parser = commands.add_parser(
        "search",
        help="rank the lines of a file by meaning",
        description="Rank the lines of a file by how close their meaning is to a query.",
        epilog=_SEARCH_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("query", help="what to look for")
    parser.add_argument(
        "--input", "-i", required=True, metavar="FILE", help="file with one text a line; - is standard input"
    )
    parser.add_argument("--top", "-k", type=_positive, default=5, metavar="K", help="lines to show (default: 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    _add_model_options(parser)


def _add_info(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # pyright: ignore[reportPrivateUsage]
    parser = commands.add_parser(
        "info",
        help="show versions and models",
        description="Show what is installed, or what a model is and how it would run.",
        epilog=_INFO_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="a model, as for --model of the other commands")
    parser.add_argument("--json", action="store_true", help="as JSON")
    _add_run_options(parser.add_argument_group("model"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oxembed",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"oxembed {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    _add_embed(commands)
    _add_search(commands)
    _add_info(commands)
    return parser


def _check_embed(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    from oxembed._commands.writers import SUFFIXES

    if bool(arguments.texts) == (arguments.input is not None):
        parser.error("embed: give either texts as arguments or --input FILE (- is standard input)")
    output: str | None = arguments.output
    if output is not None and Path(output).suffix.lower() not in SUFFIXES:
        parser.error(f"embed: --output {output!r} must end in one of: {', '.join(SUFFIXES)}")


def _run(arguments: argparse.Namespace) -> int:
    command: Callable[[argparse.Namespace], int]
    if arguments.command == "embed":
        from oxembed._commands.embed import run as command
    elif arguments.command == "search":
        from oxembed._commands.search import run as command
    else:
        from oxembed._commands.info import run as command
    return command(arguments)


def _discard_output() -> None:
    """Let what is still buffered go nowhere, so that Python does not complain about the closed pipe at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; those of the process unless given.

    Returns:
        The exit status: 0 done, 1 failed, 130 interrupted, 141 the reader of the output went away.

    Raises:
        SystemExit: With status 2 for wrong usage, 0 after `--help` and `--version`.

    Example:
        >>> main(["search", "cats", "--input", "no-such-file.txt"])
        1
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command == "embed":
        _check_embed(parser, arguments)
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        _discard_output()
        return 141
    except OxembedError as error:
        return _fail("; ".join([str(error), *getattr(error, "__notes__", [])]))
    except OSError as error:
        name = f"{error.filename}: " if error.filename is not None else ""
        return _fail(f"{name}{error.strerror or error}")


def _fail(message: str, status: int = 1) -> int:
    sys.stderr.write(f"oxembed: {message}\n")
    return status
