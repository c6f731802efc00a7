"""`oxembed doctor`."""

from __future__ import annotations

import argparse

from oxembed._arguments.model import Commands

_EPILOG = """A provider works if a session with a tiny graph ran on it, and ONNX Runtime's own record says so.
Whether it takes all of a model: `oxembed inspect MODEL --provider NAME`.

Exit status: 0 texts can be embedded, 1 they cannot, 2 wrong usage.
"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "doctor",
        help="say what works here, what does not, and what to do",
        description="Look at ONNX Runtime, its execution providers and plug-ins, devices, threads and cache folders.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
