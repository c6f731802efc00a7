"""oxembed itself, as the others are measured."""

from __future__ import annotations

from typing import Any

from oxembed import Embedder
from peer.side import Rows, Side


class Program(Side):
    """An `Embedder`; `dtype` is the row's."""

    packages = ("onnxruntime",)

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.model = Embedder(settings["folder"], dtype=settings.get("dtype", "float32"), provider="cpu")

    def encode(self, texts: list[str]) -> Rows:
        """All texts in one call."""
        return self.model.encode(texts)

    def versions(self) -> dict[str, str]:
        """Not from a distribution: the package may be used from its sources."""
        import oxembed

        return {"oxembed": oxembed.__version__, **super().versions()}
