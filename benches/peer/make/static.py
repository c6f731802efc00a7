"""A static model, distilled by model2vec with its own defaults."""

from __future__ import annotations

import sys
from pathlib import Path

from model2vec.distill import distill


def main(source: Path, target: Path) -> None:
    """Distil `source`."""
    distill(model_name=str(source), device="cpu").save_pretrained(str(target))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
