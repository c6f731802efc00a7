"""The texts of the stress: of every length, in several scripts, drawn from a seed."""

from __future__ import annotations

import random

PLAIN = "network cable digger street water tax invoice garden music train engine river winter bread teacher school I x"
OTHERS = "règlement größe пример 数据 日本語 مثال 🦀 don't e-mail 3.14 2026-11-22 [SEP] ##"
WORDS = f"{PLAIN} {OTHERS}".split()
NUMBER = 120
SHORT, LONG = 8, 400


def make(seed: int) -> list[str]:
    """The texts that a run knows the right vectors of: most are short, one in twenty is beyond the model's limit."""
    chance = random.Random(f"{seed}/texts")
    texts = ["", " ", "one", "[CLS]", "x" * 5000]
    while len(texts) < NUMBER:
        length = LONG if chance.random() < 1 / 20 else chance.randint(1, SHORT)
        texts.append(" ".join(chance.choices(WORDS, k=length)) + f" {len(texts)}")
    return texts
