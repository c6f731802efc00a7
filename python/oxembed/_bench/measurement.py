"""Measuring one model: all texts, batches, one text, products; in rounds, so that a disturbance meets all alike."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from oxembed._bench.figures import Figure, quantile
from oxembed._bench.limit import Limit, Products, Rates, limit, shapes_of
from oxembed._bench.memory import peak_mib
from oxembed._encoding import TRUNCATION_WARNING, encode_quietly
from oxembed._lifecycle import NativeCall
from oxembed.embedder import Embedder
from oxembed.results import ModelInfo
from oxembed.stage_times import StageTimes

BATCH_SIZES = (1, 4, 8, 16, 32)
_SECONDS_OF_A_SIZE = 0.15
_SECONDS_OF_ONE_TEXT = 0.5
_CALLS = (20, 300)
_TEXTS_OF_A_PROFILE = 256
# So many make every worker start.
_FIRST_TEXTS = 200


@dataclass(frozen=True, slots=True)
class Pass:
    """All texts in one call.

    Attributes:
        seconds: Wall time.
        cpu_seconds: Of all threads of the process.
        stages: What it went into.
    """

    seconds: float
    cpu_seconds: float
    stages: StageTimes


@dataclass(frozen=True, slots=True)
class OneText:
    """Calls of one text, in seconds, over all rounds.

    Attributes:
        seconds: Wall time of each call.
        besides: The same without ONNX Runtime's part.
    """

    seconds: tuple[float, ...]
    besides: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Batches:
    """Calls of so many texts.

    Attributes:
        seconds: Wall time of a call.
        texts_per_second: Of these calls.
    """

    seconds: Figure
    texts_per_second: Figure


@dataclass(frozen=True, slots=True)
class Operator:
    """Nodes of one operator, by ONNX Runtime's profile.

    Attributes:
        name: The operator.
        share: Of the time of all nodes.
        nodes: How many were run.
    """

    name: str
    share: float
    nodes: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """What came of it.

    Attributes:
        model: What was loaded.
        texts: Number of texts, all different.
        tokens: Their tokens.
        truncated_texts: How many of them are longer than the model's limit, and cut.
        passes: All texts in one call, by round.
        one_text: One text a call.
        batches: Calls of some texts, by their number.
        peak_memory_mib: The most memory of the process, before products were measured.
        limit: What the machine could do; `None` where the linear layers are not known.
        operators: ONNX Runtime's profile, the longest first; `None` where nobody asked.
        why_no_operators: Why there is none, where somebody asked.
    """

    model: ModelInfo
    texts: int
    tokens: int
    truncated_texts: int
    passes: tuple[Pass, ...]
    one_text: OneText
    batches: Mapping[int, Batches]
    peak_memory_mib: float | None
    limit: Limit | None
    operators: tuple[Operator, ...] | None
    why_no_operators: str | None

    @property
    def texts_per_second(self) -> Figure:
        """Of all texts in one call."""
        return Figure.of([self.texts / one.seconds for one in self.passes])

    @property
    def tokens_per_second(self) -> Figure:
        """Of all texts in one call, padding not counted."""
        return Figure.of([self.tokens / one.seconds for one in self.passes])

    @property
    def cpu_seconds_per_1000_texts(self) -> Figure:
        """Of all threads, for all texts in one call."""
        return Figure.of([one.cpu_seconds * 1e3 / self.texts for one in self.passes])

    @property
    def besides_the_run(self) -> Figure:
        """Share of the cores' time that was not in ONNX Runtime, for all texts in one call."""
        threads = self.model.threads
        return Figure.of([1 - one.stages.run / (one.seconds * threads) for one in self.passes])

    def as_dict(self) -> dict[str, Any]:
        """For `json.dumps`."""
        milliseconds = [seconds * 1e3 for seconds in self.one_text.seconds]
        return {
            "texts": self.texts,
            "tokens": self.tokens,
            "truncated_texts": self.truncated_texts,
            "all_texts": {
                "texts_per_second": self.texts_per_second.as_dict(),
                "tokens_per_second": self.tokens_per_second.as_dict(),
                "cpu_seconds_per_1000_texts": self.cpu_seconds_per_1000_texts.as_dict(),
                "besides_the_run": self.besides_the_run.as_dict(),
            },
            "one_text": {
                "calls": len(milliseconds),
                "p50_ms": quantile(milliseconds, 0.5),
                "p95_ms": quantile(milliseconds, 0.95),
                "p99_ms": quantile(milliseconds, 0.99),
                "besides_the_run_us": statistics.median(self.one_text.besides) * 1e6,
            },
            "batches": {
                str(size): {
                    "ms": Figure(one.seconds.median * 1e3, one.seconds.spread, one.seconds.rounds).as_dict(),
                    "texts_per_second": one.texts_per_second.as_dict(),
                }
                for size, one in self.batches.items()
            },
            "peak_memory_mib": self.peak_memory_mib,
            "limit": None if self.limit is None else self.limit.as_dict(),
        }


# Told what comes next, and how many steps there are in all.
Announce = Callable[[str, int], object]


def measure(
    model: Embedder, texts: Sequence[str], rounds: int, *, profile: bool = False, announce: Announce | None = None
) -> Measurement:
    """Measure a model with some different texts, so many rounds of everything.

    Example:
        >>> from oxembed._bench.texts import built_in
        >>> found = measure(Embedder(threads=1), built_in(8), 1)
        >>> found.texts, sorted(found.batches), len(found.passes)
        (8, [1, 4, 8], 1)
    """
    with _told_of_cuts_elsewhere():
        return _Rounds(model, texts, rounds, announce or (lambda what, steps: None)).measure(profile=profile)


@contextmanager
def _told_of_cuts_elsewhere() -> Generator[None]:
    """Hundreds of calls would log the same few texts again and again; the result counts them."""
    logger = logging.getLogger("oxembed")

    def is_news(record: logging.LogRecord) -> bool:
        return record.msg != TRUNCATION_WARNING

    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)


class _Round(NamedTuple):
    batches: dict[int, float]
    one_text: tuple[tuple[float, float], ...]
    all_texts: Pass
    memory: float | None
    rates: Rates


class _Rounds:
    def __init__(self, model: Embedder, texts: Sequence[str], rounds: int, announce: Announce) -> None:
        self._model = model
        self._core = model._engine.core  # pyright: ignore[reportPrivateUsage]
        self._texts = texts
        self._rounds = rounds
        self._shapes = shapes_of(self._core)
        self._threads = model.model_info().threads
        self._sizes = [size for size in BATCH_SIZES if size <= len(texts)]
        steps = 2 + rounds * (4 if self._shapes else 3)
        self._say: Callable[[str], object] = lambda what: announce(what, steps)

    def measure(self, *, profile: bool) -> Measurement:
        self._say("the first call")
        encode_quietly(self._model, self._texts[:: max(1, len(self._texts) // _FIRST_TEXTS)])
        with Products(self._threads if self._shapes else 0) as products:
            rounds = [self._round(number, products) for number in range(1, self._rounds + 1)]
        self._say("the profile")
        operators, why = self._operators() if profile else (None, None)
        passes = tuple(one.all_texts for one in rounds)
        tokens = passes[0].stages.tokens
        calls = [call for one in rounds for call in one.one_text]
        return Measurement(
            model=self._model.model_info(),
            texts=len(self._texts),
            tokens=tokens,
            truncated_texts=passes[0].stages.truncated_texts,
            passes=passes,
            one_text=OneText(tuple(wall for wall, _ in calls), tuple(besides for _, besides in calls)),
            batches={size: _of_size(size, [one.batches[size] for one in rounds]) for size in self._sizes},
            peak_memory_mib=rounds[0].memory,
            limit=limit([one.rates for one in rounds], [tokens / one.seconds for one in passes])
            if self._shapes
            else None,
            operators=operators,
            why_no_operators=why,
        )

    def _round(self, number: int, products: Products) -> _Round:
        head = f"round {number} of {self._rounds}"
        self._say(f"{head}: batches")
        batches = {size: self._batches(size) for size in self._sizes}
        self._say(f"{head}: one text")
        one_text = tuple(self._one_text())
        self._say(f"{head}: all texts in one call")
        all_texts = self._pass()
        memory = peak_mib()
        if self._shapes:
            self._say(f"{head}: how fast products can be")
        return _Round(batches, one_text, all_texts, memory, {shape: products.rates(shape) for shape in self._shapes})

    def _pass(self) -> Pass:
        before, cpu, start = self._model.stage_times(), time.process_time(), time.perf_counter()
        encode_quietly(self._model, self._texts)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        return Pass(seconds, cpu, self._model.stage_times() - before)

    def _batches(self, size: int) -> float:
        """Seconds of a call of so many texts: the median of some calls with different texts."""
        seconds: list[float] = []
        for first in self._positions(size, _SECONDS_OF_A_SIZE):
            batch = self._texts[first : first + size]
            start = time.perf_counter()
            encode_quietly(self._model, batch)
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)

    def _one_text(self) -> Iterator[tuple[float, float]]:
        """Seconds of calls of one text, in all and without ONNX Runtime's part."""
        for position in self._positions(1, _SECONDS_OF_ONE_TEXT):
            text = self._texts[position]
            before = self._core.stages()["run"]
            start = time.perf_counter()
            self._model.encode(text, show_progress_bar=False)
            seconds = time.perf_counter() - start
            yield seconds, seconds - (self._core.stages()["run"] - before)

    def _positions(self, size: int, seconds: float) -> Iterator[int]:
        """Where to begin, all over the texts, for a while."""
        places = len(self._texts) // size
        fewest, most = (calls if size == 1 else max(3, calls // size) for calls in _CALLS)
        end = time.perf_counter() + seconds
        for number in range(most):
            if number >= fewest and time.perf_counter() > end:
                return
            # 0.618…: every stretch of these numbers lies evenly over all places.
            yield int(number * 0.6180339887498949 % 1 * places) * size

    def _operators(self) -> tuple[tuple[Operator, ...] | None, str | None]:
        placed = self._model.placement()
        if placed and placed[0].provider != "cpu":
            return None, f"ONNX Runtime has a profile by operator of the CPU, and this is {placed[0].provider}"
        with NativeCall():
            times = self._core.operator_times(list(self._texts[:: max(1, len(self._texts) // _TEXTS_OF_A_PROFILE)]))
        whole = sum(seconds for _, seconds, _ in times)
        return tuple(Operator(name, seconds / whole, nodes) for name, seconds, nodes in times), None


def _of_size(size: int, seconds: Sequence[float]) -> Batches:
    return Batches(Figure.of(seconds), Figure.of([size / one for one in seconds]))
