"""fastembed, with the ONNX file of the same model in place of the one it would download."""

from __future__ import annotations

from typing import Any

from peer.side import Rows, Side, normalized

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


class Program(Side):
    """A `TextEmbedding`; with a row's `batches`, threads are named too."""

    packages = ("fastembed", "onnxruntime")

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        from fastembed import TextEmbedding

        threads = settings["threads"] if "batches" in settings else None
        self.model = TextEmbedding(MODEL, specific_model_path=settings["onnx"], threads=threads)

    def encode(self, texts: list[str]) -> Rows:
        """All texts in one call."""
        options = {} if self.batch is None else {"batch_size": self.batch}
        return normalized(list(self.model.embed(texts, **options)))
