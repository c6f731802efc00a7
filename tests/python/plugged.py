"""What scripts in processes of their own share that use the test provider: see `provider_scripts`.

Imported there alone: the import is what finds the library and begins to note what is logged.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import provider_plugin
from numpy.typing import ArrayLike, NDArray
from provider_plugin import NAME

from oxembed import Embedder, providers

__all__ = ["FIXTURES", "NAME", "cpu", "golden", "logged", "plug_in", "plugin", "refusal", "tell", "worst"]

FIXTURES = Path(__file__).parent.parent / "fixtures"
plugin = provider_plugin.Plugin(provider_plugin.library())
logged: list[str] = []
"""What oxembed logged with level WARNING or above."""


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        logged.append(record.getMessage())


logging.getLogger("oxembed").addHandler(_Handler(logging.WARNING))


def plug_in(minimum_share: float | None = None, max_sessions: int | None = None, **options: object) -> Any:
    """The test provider with options of its own, and with settings where they are given."""
    settings: dict[str, Any] = {"minimum_share": minimum_share, "max_sessions": max_sessions}
    given = {name: value for name, value in settings.items() if value is not None}
    return providers.PlugIn(name=NAME, options={name: str(value) for name, value in options.items()}, **given)


def golden(name: str, key: str = "embeddings") -> tuple[list[str], NDArray[np.float32]]:
    """The texts of a fixture and the vectors that sentence-transformers made of them."""
    texts: list[str] = json.loads((FIXTURES / name / "golden_texts.json").read_text(encoding="utf-8"))
    with np.load(FIXTURES / name / "golden.npz") as stored:
        vectors: NDArray[np.float32] = stored[key]
    return texts[: len(vectors)], vectors


def worst(rows: ArrayLike, expected: ArrayLike) -> float:
    """The largest difference of two numbers; infinite where one is not finite or the shapes differ."""
    rows, expected = np.asarray(rows), np.asarray(expected)
    if rows.shape != expected.shape or not np.isfinite(rows).all():
        return float("inf")
    return float(np.abs(rows - expected).max(initial=0.0))


def cpu(folder: Path) -> Embedder:
    """A model on the CPU, to compare with."""
    return Embedder(folder, provider="cpu")


def refusal(folder: Path, **arguments: Any) -> list[str]:
    """The class and the message of the error that loading ends with."""
    try:
        Embedder(folder, **arguments)
    except Exception as error:
        return [type(error).__name__, str(error)]
    return ["none", "it was loaded"]


def tell(**facts: object) -> None:
    """Print facts for the test that started this process."""
    print(json.dumps(facts))
