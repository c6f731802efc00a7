"""The checks of `verify`: each gives its outcome, and none of them raises for what the model does wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from oxembed._encoding import encode_quietly
from oxembed._quality_texts import AWKWARD, PAIRS, long_text
from oxembed.exceptions import InferenceError, InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from oxembed._reference import Reference
    from oxembed.embedder import Embedder

_NORM_TOLERANCE = 1e-3
_LEAST_COSINE = 0.99999
_SHUFFLES = 2
# Attention takes memory by the square of the length: a text over a limit of 32,768 tokens would take gigabytes.
_LONGEST_TRIED = 1_024
_ALL_DIMENSIONS = 1 << 30


class Outcome(NamedTuple):
    """The values of a `Check`."""

    name: str
    status: Literal["passed", "failed", "skipped"]
    measured: float | None
    bound: float | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """What measurements are compared with; see `verify`."""

    similar_above: float
    unrelated_below: float
    separation_above: float
    batch_tolerance: float
    reference_tolerance: float


class Suite:
    """One run over a model."""

    def __init__(
        self,
        model: Embedder,
        bounds: Bounds,
        reference: Reference | None,
        *,
        pairs: bool,
        prompt_name: str | None,
        progress: Callable[[int, int], object] | None,
    ) -> None:
        self._model = model
        self._bounds = bounds
        self._reference = reference
        self._pairs = pairs
        self._prompt_name = prompt_name
        self._progress = progress
        self._limit = model.max_seq_length
        self._texts = _texts_for(model)
        rows = sum(map(len, reference.vectors.values())) if reference is not None else 0
        self._total = len(self._texts) * (3 + _SHUFFLES) + (2 * len(PAIRS) if pairs else 0) + rows
        self._done = 0
        self._check_arguments()

    def run(self) -> list[Outcome]:
        """Every check, in order."""
        try:
            vectors, truncated, tokens = self._embed(self._texts)
        except InferenceError as error:
            return [self._unsound(error)]
        outcomes = [
            self._dimension(vectors),
            self._finite(vectors),
            self._norms(vectors),
            self._truncation(truncated, tokens),
            self._repeatability(vectors),
            self._batches(vectors),
        ]
        if self._pairs:
            outcomes += self._meaning()
        if self._reference is not None:
            outcomes += [self._agreement(self._reference, key) for key in self._reference.vectors]
        return outcomes

    def _check_arguments(self) -> None:
        """Object to what does not fit the model, before any work."""
        wanted = [self._prompt_name] if self._prompt_name is not None else []
        if self._reference is not None:
            wanted += [name for name in self._reference.prompts.values() if name is not None]
            for key, rows in self._reference.vectors.items():
                if rows.shape[1] != self._model.dimension:
                    raise InvalidInputError(
                        f"reference {self._reference.name}: {key!r} has vectors of {rows.shape[1]} numbers, and those "
                        f"of the model have {self._model.dimension}: it is another model's, or cut by truncate_dim"
                    )
        for name in wanted:
            if name not in self._model.prompts:
                known = ", ".join(map(repr, self._model.prompts)) or "none"
                raise InvalidInputError(f"the model has no prompt {name!r}; its prompts: {known}")

    def _embed(self, texts: Sequence[str], **options: Any) -> tuple[NDArray[np.float32], int, int]:
        """Vectors, and how many texts were cut and tokens used."""
        vectors, usage = encode_quietly(self._model, texts, **{"prompt_name": self._prompt_name, **options})
        self._done += len(texts)
        if self._progress is not None:
            self._progress(self._done, self._total)
        return vectors, usage.truncated_inputs, usage.total_tokens

    def _unsound(self, error: InferenceError) -> Outcome:
        """Which texts fail, where all of them together do."""
        failing: list[str] = []
        for text in self._texts:
            try:
                self._embed([text])
            except InferenceError:
                failing.append(text)
        first = f", the first of them {_quoted(failing[0])}" if failing else ", though each of them alone can"
        sentence = f"{len(failing)} of {len(self._texts)} texts cannot be embedded{first}: {error}"
        return Outcome("finite", "failed", float(len(failing)), 0.0, sentence)

    def _dimension(self, vectors: NDArray[np.float32]) -> Outcome:
        expected, found = self._model.model_info().dimension, vectors.shape[1]
        agree = expected == found == self._model.dimension and len(vectors) == len(self._texts)
        sentence = f"{len(vectors)} vectors of {found} numbers for {len(self._texts)} texts"
        sentence += ", as model_info() says" if agree else f"; model_info() says {expected} numbers"
        return _outcome("dimension", agree, float(found), float(expected), sentence)

    def _finite(self, vectors: NDArray[np.float32]) -> Outcome:
        bad = ~np.isfinite(vectors).all(axis=1)
        if bad.any():
            first = _quoted(self._texts[int(bad.argmax())])
            sentence = f"{int(bad.sum())} of {bad.size} vectors have NaN or infinity, the first of them that of {first}"
        else:
            sentence = (
                f"no NaN and no infinity in {bad.size} texts, with blank ones, control characters, emoji and long ones"
            )
        return _outcome("finite", not bad.any(), float(bad.sum()), 0.0, sentence)

    def _norms(self, vectors: NDArray[np.float32]) -> Outcome:
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        span = f"norms from {norms.min():.4g} to {norms.max():.4g}"
        full = self._model.encode([], truncate_dim=_ALL_DIMENSIONS).shape[1]
        if self._model.model_info().modules[-1] != "Normalize":
            return Outcome("norms", "skipped", None, None, f"the model does not normalize; {span}")
        if full > vectors.shape[1]:
            sentence = f"vectors are cut from {full} to {vectors.shape[1]} numbers, behind the normalization; {span}"
            return Outcome("norms", "skipped", None, None, sentence)
        off = np.abs(norms - 1)
        worst = float(off.max())
        passed = worst <= _NORM_TOLERANCE
        sentence = f"every norm is 1 within {worst:.1e} (bound {_NORM_TOLERANCE:g})"
        if not passed:
            text = _quoted(self._texts[int(off.argmax())])
            sentence = f"{span}, where 1 ± {_NORM_TOLERANCE:g} is due; the worst is that of {text}"
        return _outcome("norms", passed, worst, _NORM_TOLERANCE, sentence)

    def _truncation(self, truncated: int, tokens: int) -> Outcome:
        prompts, name = self._model.prompts, self._prompt_name or self._model.default_prompt_name
        prompt = prompts.get(name, "") if name is not None else ""
        counts = self._model.count_tokens([prompt + text for text in self._texts])
        long = sum(count > self._limit for count in counts)
        if truncated != long or tokens != sum(min(count, self._limit) for count in counts):
            sentence = (
                f"{truncated} texts reported as cut and {tokens:,} tokens as used, where {long} have more than "
                f"{self._limit:,} tokens and {sum(min(count, self._limit) for count in counts):,} are within the limit"
            )
            return Outcome("truncation", "failed", float(truncated), float(long), sentence)
        if not long:
            sentence = f"the limit of {self._limit:,} tokens is too far to try; a lower max_seq_length can be tried"
            return Outcome("truncation", "skipped", None, None, sentence)
        sentence = f"{truncated} texts over the limit of {self._limit:,} tokens, all reported as cut; tokens add up"
        return Outcome("truncation", "passed", float(truncated), float(long), sentence)

    def _repeatability(self, vectors: NDArray[np.float32]) -> Outcome:
        again, _, _ = self._embed(self._texts)
        return self._same("repeatability", "the same call twice", vectors, [again])

    def _batches(self, vectors: NDArray[np.float32]) -> Outcome:
        others = [np.concatenate([self._embed([text])[0] for text in self._texts])]
        for seed in range(_SHUFFLES):
            order = list(range(len(self._texts)))
            random.Random(seed).shuffle(order)
            shuffled, _, _ = self._embed([self._texts[place] for place in order])
            restored = np.empty_like(shuffled)
            restored[order] = shuffled
            others.append(restored)
        what = f"{len(self._texts)} texts alone, together, and in {_SHUFFLES} shuffled batches"
        return self._same("batches", what, vectors, others)

    def _same(
        self, name: str, what: str, vectors: NDArray[np.float32], others: Sequence[NDArray[np.float32]]
    ) -> Outcome:
        bound = self._bounds.batch_tolerance
        apart = np.max([np.abs(other.astype(np.float64) - vectors).max(axis=1) for other in others], axis=0)
        worst = float(apart.max())
        if all(other.tobytes() == vectors.tobytes() for other in others):
            sentence = f"{what}: the same bits"
        else:
            text = _quoted(self._texts[int(apart.argmax())])
            sentence = f"{what}: numbers differ by up to {worst:.1e} (bound {bound:g}), most for {text}"
        return _outcome(name, worst <= bound, worst, bound, sentence)

    def _meaning(self) -> list[Outcome]:
        """Cosines of every first sentence of a pair to every second one."""
        vectors, _, _ = self._embed([sentence for pair in PAIRS for sentence in pair])
        unit = vectors.astype(np.float64)
        unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), np.finfo(np.float64).tiny)
        cosines: NDArray[np.float64] = unit[::2] @ unit[1::2].T
        same = np.eye(len(PAIRS), dtype=bool)
        similar, unrelated = cosines[same], cosines[~same]
        bounds = self._bounds
        levels = [
            (similar.min() > bounds.similar_above, similar.min(), bounds.similar_above),
            (unrelated.max() < bounds.unrelated_below, unrelated.max(), bounds.unrelated_below),
            (
                similar.mean() - unrelated.mean() > bounds.separation_above,
                similar.mean() - unrelated.mean(),
                bounds.separation_above,
            ),
        ]
        lowest = PAIRS[int(similar.argmin())]
        row, column = np.unravel_index(np.where(same, -np.inf, cosines).argmax(), cosines.shape)
        highest = PAIRS[int(row)][0], PAIRS[int(column)][1]
        sentences = (
            f"sentences that mean the same: {similar.mean():.3f} on average, at least {similar.min():.3f} "
            f"(bound {bounds.similar_above:g}), of {_quoted(lowest[0])} and {_quoted(lowest[1])}",
            f"sentences that do not: {unrelated.mean():.3f} on average, at most {unrelated.max():.3f} "
            f"(bound {bounds.unrelated_below:g}), of {_quoted(highest[0])} and {_quoted(highest[1])}",
            f"the averages are {levels[2][1]:.3f} apart (bound {bounds.separation_above:g})",
        )
        first = int(
            (
                (cosines.argmax(axis=1) == np.arange(len(PAIRS))) & (cosines.argmax(axis=0) == np.arange(len(PAIRS)))
            ).sum()
        )
        hint = (
            "; every sentence is nearest to its like all the same, so the ranking is sound and only the level of the "
            "cosines is this model's own: give bounds that fit it"
            if first == len(PAIRS)
            else f"; {first} of {len(PAIRS)} sentences are nearest to their like: not trained, or not in English, or "
            "broken weights, or another prompt is needed"
        )
        names = ("similar pairs", "unrelated pairs", "separation")
        return [
            _outcome(name, bool(passed), float(measured), bound, sentence if passed else sentence + hint)
            for name, sentence, (passed, measured, bound) in zip(names, sentences, levels, strict=True)
        ]

    def _agreement(self, reference: Reference, key: str) -> Outcome:
        expected = reference.vectors[key].astype(np.float64)
        name, bound = f"reference {key}", self._bounds.reference_tolerance
        texts = reference.texts[: len(expected)]
        try:
            vectors, _, _ = self._embed(texts, prompt_name=reference.prompts[key])
        except InferenceError as error:
            return Outcome(name, "failed", None, bound, f"the texts cannot be embedded: {error}")
        apart = np.abs(vectors - expected).max(axis=1)
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1) * np.linalg.norm(expected, axis=1)
        cosines = (vectors * expected).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
        worst, least = float(apart.max()), float(cosines.min())
        passed = worst <= bound and least >= _LEAST_COSINE
        sentence = (
            f"{len(texts)} vectors agree within {worst:.1e} (bound {bound:g}), at cosines of at least {least:.6f}"
            if passed
            else f"{len(texts)} vectors differ by up to {worst:.1e} (bound {bound:g}), with a cosine of {least:.6f} at "
            f"least (bound {_LEAST_COSINE}); the worst is text {int(apart.argmax())}, "
            f"{_quoted(texts[int(apart.argmax())])}"
        )
        return _outcome(name, passed, worst, bound, sentence)


def _texts_for(model: Embedder) -> list[str]:
    """The awkward texts, and some that reach or pass the model's limit where that is near."""
    texts = [*AWKWARD, *(sentence for pair in PAIRS[:4] for sentence in pair)]
    if model.max_seq_length > _LONGEST_TRIED:
        return [*texts, long_text(_LONGEST_TRIED // 2)]
    return [
        *texts,
        long_text(model.max_seq_length // 2),
        *(long_text(model.max_seq_length * times) for times in (1, 2)),
    ]


def _outcome(name: str, passed: bool, measured: float, bound: float, sentence: str) -> Outcome:
    finite = measured if np.isfinite(measured) else None  # JSON has no NaN
    return Outcome(name, "passed" if passed else "failed", finite, bound, sentence)


def _quoted(text: str) -> str:
    """A text in quotes, made short and printable."""
    shown = ascii(text) if not text.isprintable() else repr(text)
    return shown if len(shown) <= 60 else f"{shown[:56]}...{shown[-1]}"
