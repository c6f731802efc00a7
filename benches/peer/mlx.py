"""mlx-embeddings, on the graphics processor of a Mac."""

from __future__ import annotations

from typing import Any

import numpy as np

from peer.side import Rows, Side, normalized

USUAL_BATCH = 32


class Program(Side):
    """A model of mlx-embeddings with its tokenizer."""

    packages = ("mlx", "mlx-embeddings")

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        import mlx.core
        from mlx_embeddings.utils import load

        self.as_array = mlx.core.array
        self.model, self.tokenizer = load(settings["folder"])

    def encode(self, texts: list[str]) -> Rows:
        """Batches in input order: the package has none of its own."""
        size = self.batch or USUAL_BATCH
        return np.concatenate([self._run(texts[start : start + size]) for start in range(0, len(texts), size)])

    def _run(self, texts: list[str]) -> Rows:
        tokens = self.tokenizer._tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="np")
        made = self.model(self.as_array(tokens["input_ids"]), attention_mask=self.as_array(tokens["attention_mask"]))
        return normalized(np.array(made.text_embeds))
