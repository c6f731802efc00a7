"""Providers that fail in use are told of: the call went on with another one, and nobody would notice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from oxembed._core import Embedder


class told_of_failures:
    """Logs a warning for each failure that happened while a call ran, whether or not the call succeeded."""

    __slots__ = ("_core",)

    def __init__(self, core: Embedder) -> None:
        self._core = core

    def __enter__(self) -> None:
        """Nothing to do before."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for event in self._core.new_failures():
            import logging

            following = event["next"]
            what = "the call failed" if following is None else f"{event['texts']} texts are computed by {following}"
            logging.getLogger("oxembed").warning(
                "the execution provider %s failed: %s; %s", event["provider"], event["message"], what
            )
