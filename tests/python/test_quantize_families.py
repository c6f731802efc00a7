"""Every family of models in int8: near to sentence-transformers' own vectors, and the same bits in any company."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import FIXTURES, read_golden
from int8_models import FILE, copied, cosines
from reference.factory import GOLDEN_FIXTURES

from oxembed import Embedder, quantize


@pytest.mark.parametrize("name", GOLDEN_FIXTURES)
def test_a_family_in_int8(name: str, tmp_path: Path) -> None:
    golden = read_golden(name)
    folder = copied(tmp_path / "model", FIXTURES / name)
    report = quantize(folder, force=True)
    [file] = folder.rglob(FILE)
    assert report.path == str(file)
    models = [Embedder(folder, provider="cpu", dtype="int8", threads=threads) for threads in (1, 2)]
    vectors = models[1].encode(golden.texts)
    # Random weights are no better to round than others, and these models are narrow: what is held here is that the
    # layers are the right ones, each in its place.
    assert cosines(vectors, golden.vectors["embeddings"]).min() > 0.97
    assert report.quality.mean > 0.999
    alone = np.stack([models[0].encode(text) for text in golden.texts])
    assert alone.tobytes() == vectors.tobytes()
    assert models[1].encode(golden.texts[::-1])[::-1].tobytes() == vectors.tobytes()
