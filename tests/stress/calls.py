"""The kinds of calls, each with what is right for it. A kind draws its texts, calls, and checks every row."""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from truth import Truth

from oxembed import Embedder, InvalidInputError

if TYPE_CHECKING:
    from tally import Tally


class Scene(NamedTuple):
    """What a call is made with."""

    model: Embedder
    dtype: str
    truth: Truth
    chance: random.Random

    def draw(self, most: int) -> list[int]:
        return self.chance.choices(range(len(self.truth.texts)), k=self.chance.randint(1, most))

    def texts(self, numbers: list[int]) -> list[str]:
        return [self.truth.texts[number] for number in numbers]

    def check(self, numbers: list[int], rows: Any, what: str) -> int:
        self.truth.check(self.dtype, numbers, rows, what)
        return len(numbers)


class NotRefusedError(AssertionError):
    """A call that has to be refused gave something."""


def one(scene: Scene) -> int:
    number = scene.draw(1)[0]
    return scene.check([number], scene.model.encode(scene.truth.texts[number])[None], "encode of one text")


def few(scene: Scene) -> int:
    numbers = scene.draw(8)
    return scene.check(numbers, scene.model.encode(scene.texts(numbers)), "encode of a few texts")


def many(scene: Scene) -> int:
    numbers = scene.draw(120)
    return scene.check(numbers, scene.model.encode(scene.texts(numbers)), "encode of many texts")


def cut_short(scene: Scene) -> int:
    numbers = scene.draw(8)
    rows = scene.model.encode(scene.texts(numbers), truncate_dim=64, normalize_embeddings=False)
    return scene.check(numbers, rows, "encode with truncate_dim")


def iterated(scene: Scene) -> int:
    numbers = scene.draw(60)
    chunks = list(scene.model.encode_iter(iter(scene.texts(numbers)), chunk_size=scene.chance.randint(1, 32)))
    return scene.check(numbers, np.concatenate(chunks), "encode_iter")


def closed_early(scene: Scene) -> int:
    numbers = scene.draw(60)
    rows = scene.model.encode_iter(scene.texts(numbers), chunk_size=4)
    first = next(rows)
    if scene.chance.random() < 0.5:
        rows.close()
    del rows
    return scene.check(numbers[: len(first)], first, "encode_iter, closed")


def wrong_type(scene: Scene) -> int:
    numbers = scene.draw(20)
    items: list[Any] = [*scene.texts(numbers), scene.chance.choice([None, 7, b"bytes", 1.5, ["nested"]])]
    try:
        scene.model.encode(items)
    except TypeError as error:
        if f"text {len(numbers)} " in str(error):
            return 0
        raise
    raise NotRefusedError(f"encode took {items[-1]!r} for a text")


def too_long(scene: Scene) -> int:
    try:
        scene.model.encode(["short", "x y " * 5000], truncation="error")
    except InvalidInputError as error:
        if "text 1 " in str(error):
            return 0
        raise
    raise NotRefusedError("truncation='error' let a long text pass")


def surrogate(scene: Scene) -> int:
    try:
        scene.model.encode(["good", "bad \udc80"])
    except InvalidInputError as error:
        if "text 1 " in str(error):
            return 0
        raise
    raise NotRefusedError("a lone surrogate was tokenized")


def tokens(scene: Scene) -> int:
    texts = scene.texts(scene.draw(20))
    limit = scene.model.max_seq_length
    counted = [min(count, limit) for count in scene.model.count_tokens(texts)]
    if scene.model.tokenize(texts)["attention_mask"].sum(axis=1).tolist() != counted:
        raise AssertionError("tokenize and count_tokens disagree")
    return 0


def pickled(scene: Scene) -> int:
    again = pickle.loads(pickle.dumps(scene.model))
    return few(scene._replace(model=again))


def loaded(scene: Scene) -> int:
    dtype = scene.chance.choice(list(scene.truth.vectors))
    model = Embedder(dtype=dtype, provider="cpu", threads=scene.chance.randint(1, 3))
    return (many if scene.chance.random() < 0.3 else few)(scene._replace(model=model, dtype=dtype))


def dropped_in_a_cycle(scene: Scene) -> int:
    model = Embedder(dtype=scene.dtype, provider="cpu")
    cycle: list[object] = [model, copy.copy(model)]
    cycle.append(cycle)
    return one(scene._replace(model=model))


def not_found(scene: Scene) -> int:
    try:
        Embedder("no/such/folder")
    except FileNotFoundError:
        return 0
    raise NotRefusedError("a folder that is not there was loaded")


Kind = Callable[[Scene], int]

# How often each is drawn: loads take a hundred times as long as calls.
KINDS: dict[Kind, int] = {
    one: 30,
    few: 30,
    many: 10,
    cut_short: 10,
    iterated: 10,
    closed_early: 10,
    wrong_type: 6,
    too_long: 4,
    surrogate: 4,
    tokens: 4,
    not_found: 3,
    pickled: 1,
    loaded: 2,
    dropped_in_a_cycle: 1,
}
LIGHT = {kind: times for kind, times in KINDS.items() if kind not in (pickled, loaded, dropped_in_a_cycle)}


def make(
    models: dict[str, Embedder], truth: Truth, chance: random.Random, tally: Tally, kinds: dict[Kind, int]
) -> None:
    """Make one call, of a kind and a dtype drawn by chance."""
    dtype = chance.choice(list(models))
    kind = chance.choices(list(kinds), weights=list(kinds.values()))[0]
    texts = kind(Scene(models[dtype], dtype, truth, chance))
    tally.add(kind.__name__, texts)
