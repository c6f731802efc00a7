"""`oxembed serve`, whose options are the service's own: the compiled part reads them."""

from __future__ import annotations

from oxembed._arguments.model import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("serve", help="serve embeddings over HTTP, as OpenAI's API does", add_help=False)
    parser.set_defaults(takes_the_rest=True)
