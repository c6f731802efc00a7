"""The model as it lies in a cache of the Hugging Face Hub, for programs that take no folder."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
REVISION = "main"
# A commit's name, as the cache has it.
COMMIT = "0" * 40


def main(source: Path, target: Path) -> None:
    """Copy what is in `source`, an export with the folder it was made of beside it."""
    repository = target / "hub" / f"models--{MODEL.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / REVISION).write_text(COMMIT, encoding="utf-8")
    shutil.copytree(source.parent / "float32", snapshot)
    (snapshot / "onnx").mkdir()
    shutil.copy(source / "model.onnx", snapshot / "onnx")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
