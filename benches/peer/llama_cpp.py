"""llama.cpp, through llama-cpp-python, with a GGUF file of the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peer.side import Rows, Side, normalized

# The model's own limit.
MAX_TOKENS = 256


class Program(Side):
    """A `Llama` in embedding mode; `batch` is in tokens, as llama.cpp counts."""

    packages = ("llama-cpp-python",)

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self._load(self.batch)

    def _load(self, batch: int | None) -> None:
        from llama_cpp import Llama

        (file,) = Path(self.settings["gguf"]).glob("*.gguf")
        threads = self.settings["threads"] if "batches" in self.settings else None
        options: dict[str, Any] = {} if batch is None else {"n_batch": batch, "n_ubatch": batch}
        self.model = Llama(
            str(file), embedding=True, n_ctx=0, n_threads=threads, n_threads_batch=threads, verbose=False, **options
        )
        self.loaded = batch

    def encode(self, texts: list[str]) -> Rows:
        """All texts in one call."""
        if self.batch != self.loaded:
            self._load(self.batch)
        return normalized(self.model.embed(texts))

    def note(self) -> str:
        """Batches are counted in tokens."""
        return "" if self.batch is None else f"batches of {self.batch} tokens"
