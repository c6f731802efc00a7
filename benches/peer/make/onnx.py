"""The usual ONNX file, as optimum exports it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer


def main(source: Path, target: Path) -> None:
    """Export `source`: `model.onnx`, and the whole folder as sentence-transformers reads it."""
    whole = target / "whole"
    model = SentenceTransformer(str(source), backend="onnx", model_kwargs={"export": True})
    model.save_pretrained(str(whole))
    shutil.copy(whole / "onnx" / "model.onnx", target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
