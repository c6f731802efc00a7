"""What an `Embedder` tells about texts, vectors and itself; the encoding methods are in `embedder`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np

from oxembed import similarity as _similarity
from oxembed._failures import told_of_failures
from oxembed._lifecycle import NativeCall
from oxembed._options import optional_positive_int, positive_int
from oxembed._texts import strings
from oxembed.placement import Placement
from oxembed.results import HealthStatus, ModelInfo
from oxembed.stage_times import StageTimes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from oxembed._engine import Engine


class Introspection:
    """Base of `Embedder`."""

    __slots__ = ("__weakref__", "_engine")
    _engine: Engine

    @property
    def dimension(self) -> int:
        """Length of a vector, after the constructor's `truncate_dim`."""
        return self._engine.facts.dimension

    @property
    def max_seq_length(self) -> int:
        """Most tokens of a text that count, special tokens included."""
        return self._engine.facts.max_seq_length

    @property
    def prompts(self) -> dict[str, str]:
        """Prompt texts of the model by name; a copy."""
        return dict(self._engine.facts.prompts)

    @property
    def default_prompt_name(self) -> str | None:
        """Name of the prompt that `encode` uses when none is asked for."""
        return self._engine.facts.default_prompt_name

    @property
    def similarity_fn_name(self) -> str:
        """The model's similarity function: `"cosine"`, `"dot"`, `"euclidean"` or `"manhattan"`."""
        return self._engine.facts.similarity_fn_name

    def get_sentence_embedding_dimension(self) -> int:
        """The same as `dimension`, as sentence-transformers spells it."""
        return self._engine.facts.dimension

    def get_max_seq_length(self) -> int:
        """The same as `max_seq_length`, as sentence-transformers spells it."""
        return self._engine.facts.max_seq_length

    def tokenize(self, texts: str | Iterable[str]) -> dict[str, NDArray[np.int64]]:
        """Token ids of texts as the model sees them: with special tokens, cut to `max_seq_length`, padded.

        Agrees with `SentenceTransformer.tokenize`, and with `transformers`' tokenizer of the model, up to
        `token_type_ids`, which are not returned.

        Args:
            texts: One text, or an iterable of n texts. No prompt is added.

        Returns:
            `{"input_ids": ..., "attention_mask": ...}`, each of shape (n, length of the longest) and dtype int64; n is
            1 for one text. The mask is 1 on tokens and 0 on padding.

        Raises:
            TypeError: Something else than strings; names its index.
            InvalidInputError: A lone surrogate; names its index.

        Example:
            >>> from oxembed import Embedder
            >>> features = Embedder().tokenize(["hello", "hello world"])
            >>> features["input_ids"].tolist()
            [[101, 7592, 102, 0], [101, 7592, 2088, 102]]
            >>> features["attention_mask"].tolist()
            [[1, 1, 1, 0], [1, 1, 1, 1]]
        """
        items = strings(texts)
        with NativeCall():
            rows = self._engine.core.tokenize(items)
        width = max(map(len, rows), default=0)
        input_ids = np.full((len(rows), width), self._engine.facts.pad_token_id, dtype=np.int64)
        attention_mask = np.zeros((len(rows), width), dtype=np.int64)
        left = self._engine.facts.padding_side == "left"
        for index, row in enumerate(rows):
            place = slice(width - len(row), width) if left else slice(0, len(row))
            input_ids[index, place] = row
            attention_mask[index, place] = 1
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    @overload
    def count_tokens(self, texts: str) -> int: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def count_tokens(self, texts: Iterable[str]) -> list[int]: ...
    def count_tokens(self, texts: str | Iterable[str]) -> int | list[int]:
        """Number of tokens of texts, special tokens included and nothing cut, so that it can exceed `max_seq_length`.

        Args:
            texts: One text, or an iterable of texts. No prompt is added.

        Returns:
            One number for one text, a list of n for n texts.

        Raises:
            TypeError: Something else than strings; names its index.
            InvalidInputError: A lone surrogate; names its index.

        Example:
            >>> from oxembed import Embedder
            >>> Embedder().count_tokens("hello world"), Embedder().count_tokens(["", "hello"])
            (4, [2, 3])
        """
        items = strings(texts)
        with NativeCall():
            counts = self._engine.core.count_tokens(items)
        return counts[0] if isinstance(texts, str) else counts

    def similarity(self, a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
        """Similarity of every vector in `a` to every vector in `b`, by the model's own function; larger is more alike.

        Agrees with `SentenceTransformer.similarity`: the cosine with a zero vector is 0, distances are negated.

        Args:
            a: Array of shape (n, dim), or (dim,) for one vector; any number type.
            b: Array of shape (m, dim), or (dim,).

        Returns:
            Array of shape (n, m), float32.

        Raises:
            InvalidInputError: Shapes that do not fit, or int8 and uint8 codes (see `oxembed.similarity`).
            TypeError: Something that is not an array of numbers.

        Example:
            >>> from oxembed import Embedder
            >>> model = Embedder()
            >>> vectors = model.encode(["a cat", "a kitten", "a tax form"])
            >>> scores = model.similarity(vectors[0], vectors)
            >>> scores.shape, scores[0].argsort()[::-1].tolist()
            ((1, 3), [0, 1, 2])
        """
        return _similarity.similarity(a, b, self.similarity_fn_name)

    def similarity_pairwise(self, a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
        """Similarity of each vector in `a` to the one in `b` at the same place, by the model's own function.

        Agrees with `SentenceTransformer.similarity_pairwise`.

        Args:
            a: Array of shape (n, dim), or (dim,) for one vector; any number type.
            b: Array of the same shape.

        Returns:
            Array of shape (n,), float32.

        Raises:
            InvalidInputError: Shapes that differ, or int8 and uint8 codes (see `oxembed.similarity`).
            TypeError: Something that is not an array of numbers.

        Example:
            >>> from oxembed import Embedder
            >>> model = Embedder()
            >>> vectors = model.encode(["a cat", "a kitten"])
            >>> model.similarity_pairwise(vectors, vectors).round(5).tolist()
            [1.0, 1.0]
        """
        return _similarity.pairwise(a, b, self.similarity_fn_name)

    def model_info(self) -> ModelInfo:
        """What was loaded and how it runs, including what the model folder left open and was assumed.

        Example:
            >>> from oxembed import Embedder
            >>> Embedder().model_info().pooling
            ('mean',)
        """
        with NativeCall():
            values = self._engine.core.model_info()
        return ModelInfo.from_core({**values, "name": self._engine.resolved.name})

    def health_check(self) -> HealthStatus:
        """Embed a short text and look at the vector; meant for the health endpoint of a service.

        Returns:
            The outcome, with its latency in milliseconds; a failed check is an answer, not an exception.

        Example:
            >>> from oxembed import Embedder
            >>> Embedder().health_check().healthy
            True
        """
        core = self._engine.core
        with NativeCall(), told_of_failures(core):
            values: dict[str, Any] = core.health_check()
        return HealthStatus(bool(values["healthy"]), str(values["message"]), float(values["latency_ms"]))

    def placement(self) -> Placement:
        """Which execution provider runs how many nodes of the graph, for each live session, as ONNX Runtime tells it.

        Returns:
            The sessions in a sequence that prints as a table, with the providers that were asked for and are not used,
            and those that failed in use.

        Example:
            >>> from oxembed import Embedder
            >>> {name for place in Embedder(provider="cpu").placement() for name in place.providers}
            {'CPUExecutionProvider'}
        """
        with NativeCall():
            return Placement.from_core(self._engine.core.placement())

    def stage_times(self) -> StageTimes:
        """What the time went into since the model was loaded, and what was done in it: always counted, cheap to ask.

        A service that reads it every minute and takes the difference sees where its time goes: much `wait` means that
        callers stand in line, `padded_tokens` far above `tokens` that texts of very different lengths are computed
        together. Counting begins anew in a forked child and in an unpickled copy, which load the model for themselves.

        Returns:
            Times in seconds, added up over threads, and counts.

        Example:
            >>> from oxembed import Embedder
            >>> model = Embedder()
            >>> vectors = model.encode(["one", "two", "two"])
            >>> times = model.stage_times()
            >>> times.calls, times.texts, times.tokens   # "two" is computed once
            (1, 3, 6)
        """
        with NativeCall():
            return StageTimes(**cast("dict[str, Any]", self._engine.core.stages()))

    def warm_up(self, max_length: int | None = None, batch_sizes: Iterable[int] | None = None) -> int:
        """Compile now what the provider would compile in the first calls; the CPU has nothing to compile.

        Args:
            max_length: The most tokens of a text that are to be expected, special tokens included; `max_seq_length`
                unless given.
            batch_sizes: Numbers of texts that are computed together; those that the provider uses unless given.

        Returns:
            Number of sessions that are ready, each for one shape; at most `max_sessions` of the provider, those for
            short texts first.

        Raises:
            InvalidInputError: A number below 1.
            ProviderUnavailableError: The provider refuses the graph in one of these shapes, and there is no other.

        Example:
            >>> from oxembed import Embedder
            >>> Embedder(provider="cpu").warm_up(max_length=64)
            1
        """
        most = optional_positive_int("max_length", max_length)
        sizes = None if batch_sizes is None else [positive_int("batch_sizes", size) for size in batch_sizes]
        with NativeCall():
            return self._engine.core.warm_up(max_length=most, batch_sizes=sizes)
