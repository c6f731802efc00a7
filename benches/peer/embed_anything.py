"""embed-anything, on candle or on ONNX Runtime."""

from __future__ import annotations

import os
from typing import Any

from peer.make.hub_cache import MODEL, REVISION
from peer.side import Rows, Side, normalized


class Program(Side):
    """An `EmbeddingModel` from a cache of the Hugging Face Hub that the same model was laid into."""

    packages = ("embed-anything",)

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        # It reads model ids only, no folders.
        os.environ["HF_HOME"] = settings["hub"]
        import embed_anything
        from embed_anything import EmbeddingModel

        self.module = embed_anything
        if settings["engine"] == "onnx":
            self.model = EmbeddingModel.from_pretrained_onnx(
                embed_anything.WhichModel.Bert, hf_model_id=MODEL, revision=REVISION, path_in_repo="onnx/model.onnx"
            )
        else:
            self.model = EmbeddingModel.from_pretrained_hf(model_id=MODEL, revision=REVISION)

    def encode(self, texts: list[str]) -> Rows:
        """All texts in one call."""
        config = None if self.batch is None else self.module.TextEmbedConfig(batch_size=self.batch)
        return normalized([found.embedding for found in self.module.embed_query(texts, self.model, config)])
