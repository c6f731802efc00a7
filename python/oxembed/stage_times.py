"""What the time of an embedder goes into; see `Embedder.stage_times`.

Example:
    >>> from oxembed import Embedder
    >>> model = Embedder()
    >>> before = model.stage_times()
    >>> vectors = model.encode(["a cat", "a dog in the rain"])
    >>> spent = model.stage_times() - before
    >>> spent.texts, spent.tokens, spent.run > spent.copy
    (2, 11, True)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

__all__ = ["StageTimes"]


@dataclass(frozen=True, slots=True)
class StageTimes:
    """What the time of an embedder went into, and what it did in it.

    Times are in seconds, and those of threads: two workers that run for a second each are two seconds of `run`. They
    are of the threads that drive the work; a session with several threads of its own counts once. What is in no stage
    (a core without work, Python, a provider that compiles) is not here.

    Attributes:
        calls: Calls that gave their vectors.
        texts: Texts of these calls, equal ones each counted.
        truncated_texts: Those of them that were cut to `max_seq_length`.
        batches: Batches that were computed.
        tokens: Tokens of the texts in them, special tokens included. Equal texts of a call are computed, and counted,
            once.
        padded_tokens: The same with the padding.
        tokenize: Making tokens of texts.
        plan: Finding equal texts and cutting a call into batches.
        copy: Making the arrays that a batch is fed as.
        run: ONNX Runtime's.
        pool: Pooling, dense layers and normalization, and placing rows in the call's array.
        wait: What calls waited for a worker: time in which none of a call's batches was being worked on.
    """

    calls: int
    texts: int
    truncated_texts: int
    batches: int
    tokens: int
    padded_tokens: int
    tokenize: float
    plan: float
    copy: float
    run: float
    pool: float
    wait: float

    def __sub__(self, earlier: StageTimes) -> StageTimes:
        """What came between two moments of one embedder.

        Example:
            >>> from oxembed import Embedder
            >>> now = Embedder().stage_times()
            >>> (now - now).texts
            0
        """
        if not isinstance(earlier, StageTimes):
            return NotImplemented
        return StageTimes(*(getattr(self, one.name) - getattr(earlier, one.name) for one in fields(self)))

    def as_dict(self) -> dict[str, int | float]:
        """The same as a plain dict, ready for `json.dumps` or a service's metrics.

        Example:
            >>> from oxembed import Embedder
            >>> sorted(name for name, value in Embedder().stage_times().as_dict().items() if isinstance(value, float))
            ['copy', 'plan', 'pool', 'run', 'tokenize', 'wait']
        """
        return asdict(self)
