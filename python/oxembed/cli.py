"""The command `oxembed`.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 141 the reader of the output went away.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from oxembed._arguments import COMMANDS, embed
from oxembed._core import __version__
from oxembed.exceptions import OxembedError

__all__ = ["main"]

_DESCRIPTION = "Turn text into embedding vectors on this machine, and search by meaning."
_EXAMPLES = """examples:
  oxembed search "a bug that vanishes when you look" --input notes.txt
  oxembed embed "some text" "another text"
  oxembed embed --input texts.txt --output vectors.npy
  oxembed info
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oxembed",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"oxembed {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for command in COMMANDS:
        command.add(commands)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    command = import_module(f"oxembed._commands.{arguments.command}")
    run: Callable[[argparse.Namespace], int] = command.run
    return run(arguments)


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
    arguments, rest = parser.parse_known_args(argv)
    if rest and not getattr(arguments, "takes_the_rest", False):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.rest = rest
    if arguments.command == "embed":
        embed.check(parser, arguments)
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
