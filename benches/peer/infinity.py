"""infinity, through its Python interface, which its server has inside."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from peer.side import Rows, Side, normalized


class Program(Side):
    """An engine on torch or, as `optimum`, on ONNX Runtime."""

    packages = ("infinity-emb", "torch", "transformers")

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        from infinity_emb import EngineArgs, SyncEngineArray

        if settings["engine"] == "optimum":
            # infinity itself says only that it is not there, whatever keeps it from being imported.
            import_module("optimum.onnxruntime.modeling_ort")
        self.folder = settings["folder"]
        options: dict[str, Any] = {} if self.batch is None else {"batch_size": self.batch}
        arguments = EngineArgs(
            model_name_or_path=self.folder, engine=settings["engine"], device="cpu", dtype="float32", **options
        )
        self.engines = SyncEngineArray.from_args([arguments])

    def encode(self, texts: list[str]) -> Rows:
        """All texts in one call."""
        rows, _ = self.engines.embed(model=self.folder, sentences=texts).result()
        return normalized(rows)

    def close(self) -> None:
        """Its threads would keep the process alive."""
        self.engines.stop()
