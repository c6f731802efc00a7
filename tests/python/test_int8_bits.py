"""An int8 vector is a function of its text: the same bits alone, in any batch, in any order, on any number of threads.

What float32 promises is less, and is tested beside it: the same within 1e-5.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
from conftest import TOLERANCE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from int8_models import ROOT, read_kinds
from numpy.typing import NDArray

from oxembed import Embedder
from oxembed._quality_texts import AWKWARD

THREADS = (1, 2, 3)
# Some of every kind, and those that programs stumble over.
TEXTS = [
    *(text for texts in read_kinds(ROOT / "data" / "unseen.jsonl").values() for text in texts[:6]),
    *AWKWARD,
    "word " * 300,
]
# Hypothesis takes its time for what is drawn, not for what is embedded.
SLOW = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])

companies = st.lists(st.sampled_from(range(len(TEXTS))), min_size=1, max_size=40)


@pytest.fixture(scope="module")
def int8() -> dict[int, Embedder]:
    return {threads: Embedder(provider="cpu", dtype="int8", threads=threads) for threads in THREADS}


@pytest.fixture(scope="module")
def float32() -> dict[int, Embedder]:
    return {threads: Embedder(provider="cpu", threads=threads) for threads in THREADS}


@pytest.fixture(scope="module")
def alone(int8: dict[int, Embedder]) -> NDArray[np.float32]:
    """Each text in a call of its own."""
    return np.stack([int8[1].encode(text) for text in TEXTS])


@pytest.fixture(scope="module")
def alone_in_float32(float32: dict[int, Embedder]) -> NDArray[np.float32]:
    return np.stack([float32[1].encode(text) for text in TEXTS])


@SLOW
@given(company=companies, threads=st.sampled_from(THREADS))
def test_in_any_company(
    int8: dict[int, Embedder], alone: NDArray[np.float32], company: list[int], threads: int
) -> None:
    vectors = int8[threads].encode([TEXTS[index] for index in company])
    assert vectors.tobytes() == alone[company].tobytes()


@pytest.mark.parametrize("threads", THREADS)
def test_all_together_and_one_by_one(int8: dict[int, Embedder], alone: NDArray[np.float32], threads: int) -> None:
    assert int8[threads].encode(TEXTS).tobytes() == alone.tobytes()
    assert int8[threads].encode(TEXTS[::-1]).tobytes() == alone[::-1].tobytes()
    assert np.stack([int8[threads].encode(text) for text in TEXTS]).tobytes() == alone.tobytes()
    chunks = list(int8[threads].encode_iter(TEXTS, chunk_size=7))
    assert np.concatenate(chunks).tobytes() == alone.tobytes()


def test_many_callers_at_once(int8: dict[int, Embedder], alone: NDArray[np.float32]) -> None:
    found: dict[int, bytes] = {}

    def call(caller: int) -> None:
        order = np.random.default_rng(caller).permutation(len(TEXTS))[:20]
        vectors = int8[2].encode([TEXTS[index] for index in order])
        found[caller] = b"same" if vectors.tobytes() == alone[order].tobytes() else b"other"

    callers = [threading.Thread(target=call, args=(caller,)) for caller in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == dict.fromkeys(range(8), b"same")


@SLOW
@given(company=companies, threads=st.sampled_from(THREADS))
def test_float32_in_any_company(
    float32: dict[int, Embedder], alone_in_float32: NDArray[np.float32], company: list[int], threads: int
) -> None:
    vectors = float32[threads].encode([TEXTS[index] for index in company])
    np.testing.assert_allclose(vectors, alone_in_float32[company], atol=TOLERANCE, rtol=0)
