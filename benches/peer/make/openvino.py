"""The OpenVINO file, as optimum exports it."""

from __future__ import annotations

import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer


def main(source: Path, target: Path) -> None:
    """Export `source`: the whole folder as sentence-transformers reads it."""
    model = SentenceTransformer(str(source), backend="openvino", model_kwargs={"export": True})
    model.save_pretrained(str(target / "whole"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
