"""model2vec: a table of token vectors, averaged. Not the same model, but the floor of what a call can take."""

from __future__ import annotations

from typing import Any

from peer.side import Rows, Side, normalized


class Program(Side):
    """A `StaticModel` that was distilled from the same model."""

    packages = ("model2vec",)

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        from model2vec import StaticModel

        self.model = StaticModel.from_pretrained(settings["static"])

    def encode(self, texts: list[str]) -> Rows:
        """All texts in one call."""
        return normalized(self.model.encode(texts))
