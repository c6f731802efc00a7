"""Plain onnxruntime with tokenizers, as `benches/python/baseline.py` has it: the usual program and the best."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from peer.side import Rows, Side

# Last, so that no script there stands in for a library's module of the same name.
sys.path.append(str(Path(__file__).resolve().parents[1] / "python"))


class Program(Side):
    """One of the two programs, by the row's `best`."""

    packages = ("onnxruntime", "tokenizers")

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        import baseline

        program = baseline.Best if settings["best"] else baseline.Usual
        folder = Path(settings["onnx"])
        self.model = program(folder, folder / "model.onnx", settings["threads"])

    def encode(self, texts: list[str]) -> Rows:
        """All texts in one call."""
        rows: Rows = self.model.encode(texts)
        return rows

    def note(self) -> str:
        """Both programs have their batches written into them."""
        return "sorted, 512 tokens a batch" if self.settings["best"] else "batches of 32 in input order"
