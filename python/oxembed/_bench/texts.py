"""The texts that are embedded where none are given."""

from __future__ import annotations

import random

from oxembed._quality_texts import PAIRS

COUNT = 2_000
# Words of a text, and how many of 100 texts have so many: as in titles, questions and sentences that people search.
_LENGTHS = ((1, 4, 25), (5, 9, 28), (10, 14, 25), (15, 25, 17), (26, 60, 5))


def built_in(count: int = COUNT) -> list[str]:
    """So many different texts of usual lengths, always the same: what stands in English sentences, cut anew.

    Example:
        >>> texts = built_in(500)
        >>> len(set(texts)), texts == built_in(500)
        (500, True)
        >>> 8 < sum(len(text.split()) for text in texts) / 500 < 13
        True
    """
    words = [word for pair in PAIRS for sentence in pair for word in sentence.split()]
    draw = random.Random(count)
    texts: dict[str, None] = {}
    while len(texts) < count:
        shortest, longest, _ = draw.choices(_LENGTHS, [share for _, _, share in _LENGTHS])[0]
        length = draw.randint(shortest, longest)
        # Pieces of at most a sentence, so that no text is a stretch of another.
        pieces: list[str] = []
        while len(pieces) < length:
            start = draw.randrange(len(words))
            pieces += words[start : start + min(length - len(pieces), 6)]
        texts[" ".join(pieces)] = None
    return list(texts)
