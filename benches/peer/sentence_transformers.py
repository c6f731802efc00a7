"""sentence-transformers on torch, ONNX Runtime or OpenVINO."""

from __future__ import annotations

from typing import Any

from peer.side import Rows, Side

ENGINES = {
    "torch": ("torch",),
    "onnx": ("onnxruntime", "optimum-onnx"),
    "openvino": ("openvino", "optimum-intel"),
}


class Program(Side):
    """A `SentenceTransformer` on the row's `backend`; `precision` is OpenVINO's own setting."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        from sentence_transformers import SentenceTransformer

        backend = settings.get("backend", "torch")
        self.packages = ("sentence-transformers", "transformers", *ENGINES[backend])
        options: dict[str, Any] = {"dtype": "float32"}
        if backend == "onnx":
            options = {"provider": "CPUExecutionProvider", "file_name": "onnx/model.onnx"}
        elif backend == "openvino":
            options = {"file_name": "openvino/openvino_model.xml"}
            if "precision" in settings:
                options["ov_config"] = {"INFERENCE_PRECISION_HINT": settings["precision"]}
        if backend == "torch" and "batches" in settings:
            import torch

            torch.set_num_threads(settings["threads"])
        self.model = SentenceTransformer(settings["folder"], device="cpu", backend=backend, model_kwargs=options)

    def encode(self, texts: list[str]) -> Rows:
        """All texts in one call."""
        options = {} if self.batch is None else {"batch_size": self.batch}
        rows: Rows = self.model.encode(texts, normalize_embeddings=True, show_progress_bar=False, **options)
        return rows
