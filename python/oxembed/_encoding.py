"""How the encoding methods of `Embedder` do their work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack, cast

from oxembed import _options
from oxembed._core import CancellationToken
from oxembed._failures import told_of_failures
from oxembed._introspection import Introspection
from oxembed._lifecycle import NativeCall
from oxembed._precision import Conversion
from oxembed._progress import Progress, open_bar, wants_bar
from oxembed._texts import as_list, check_collection, check_strings, chunks
from oxembed.calibration import FILE_NAME, Calibration
from oxembed.exceptions import InvalidInputError
from oxembed.results import BatchEmbeddingRequest, BatchEmbeddingResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from oxembed._core import Usage
    from oxembed._options import Checked, VectorOptions

_MANY_DIMENSIONS = 1 << 30
TRUNCATION_WARNING = (
    "%s longer than %d tokens and cut; what was cut off has no part in the vectors. Split long texts, or pass "
    "truncation='error' to be told which one is too long"
)


class Encoding(Introspection):
    """Base of `Embedder`."""

    __slots__ = ()

    def _encode(
        self, texts: object, role: str | None, options: Checked, token: CancellationToken | None = None
    ) -> NDArray[Any]:
        """Encode one text into (dim,), or an iterable of n into (n, dim)."""
        one = isinstance(texts, str)
        items = [texts] if one else as_list(texts)
        convert = self._conversion(options)
        if wants_bar(options.show_progress_bar, len(items)):
            with Progress(len(items), asked=bool(options.show_progress_bar)) as progress:
                vectors, usage = self._run(items, role, options, progress, token)
        else:
            vectors, usage = self._run(items, role, options, None, token)
        if usage.truncated_inputs:
            self._warn_of_truncation(usage.truncated_inputs, len(items))
        result = convert(vectors)
        convert.warn()
        return cast("NDArray[Any]", result[0]) if one else result

    def _conversion(self, options: Checked) -> Conversion:
        """What turns float32 rows into what `options` ask for; every objection to that comes before any work."""
        if options.precision not in _options.CALIBRATED:
            return Conversion(options.precision)
        calibration = options.calibration or self._engine.calibration
        if calibration is None:
            raise InvalidInputError(
                f"precision={options.precision!r} needs calibrated ranges, and none are given: not by calibration= of "
                f"the call or of Embedder(...), and not by a {FILE_NAME} in the model folder. Make them of a thousand "
                "typical texts with model.calibrate(texts) or `oxembed calibrate`. They are never taken from the texts "
                "of the call, because the same text would then get other codes in another call"
            )
        dimension, normalized = self._kind_of_vectors(options)
        if calibration.normalized is not None and calibration.normalized != normalized:
            made, asked = ("with", "without") if calibration.normalized else ("without", "with")
            raise InvalidInputError(
                f"the calibration was made {made} normalize_embeddings=True, and these vectors are {asked} it, so that "
                "its ranges do not fit. Make one with the options of this call"
            )
        if normalized and calibration.dimension > dimension:
            raise InvalidInputError(
                f"a calibration of {calibration.dimension} dimensions cannot be cut to {dimension} where "
                "normalize_embeddings=True scales the cut vectors. Make one with the options of this call: "
                f"model.calibrate(texts, truncate_dim={dimension}, normalize_embeddings=True)"
            )
        return Conversion(options.precision, calibration.truncate(dimension))

    def _kind_of_vectors(self, options: Checked) -> tuple[int, bool]:
        """Length of the vectors, and whether `normalize_embeddings` changes what the model itself gives."""
        dimension = self._width(options)
        changes = options.normalize_embeddings is True
        if changes and self._engine.facts.ends_normalized:
            changes = dimension < self._width(_options.DEFAULTS._replace(truncate_dim=_MANY_DIMENSIONS))
        return dimension, changes

    def _width(self, options: Checked) -> int:
        vectors, _ = self._run([], None, options, None, None)
        return int(vectors.shape[1])

    def _run(
        self,
        items: Sequence[object],
        role: str | None,
        options: Checked,
        progress: Callable[[int], None] | None,
        token: CancellationToken | None,
    ) -> tuple[NDArray[np.float32], Usage]:
        core = self._engine.core
        with NativeCall(token) as cancellation, told_of_failures(core):
            return core.encode(
                items,
                prompt=options.prompt,
                prompt_name=options.prompt_name,
                role=role,
                normalize_embeddings=options.normalize_embeddings,
                truncate_dim=options.truncate_dim,
                truncation=options.truncation,
                progress=progress,
                cancellation=cancellation,
            )

    def _warn_of_truncation(self, truncated: int, total: int) -> None:
        import logging

        what = f"{truncated} of {total} texts were" if total != 1 else "the text was"
        logging.getLogger("oxembed").warning(TRUNCATION_WARNING, what, self.max_seq_length)

    def _encode_chunks(
        self, texts: Iterable[object], size: int, options: Checked, convert: Conversion
    ) -> Generator[NDArray[Any], None, None]:
        total = len(texts) if hasattr(texts, "__len__") else None  # type: ignore[arg-type]  # pyright: ignore
        bar = open_bar(total, required=True) if options.show_progress_bar else None
        done = truncated = 0
        try:
            for chunk in chunks(texts, size):
                vectors, usage = self._run_chunk(chunk, done, options)
                done += len(chunk)
                truncated += usage.truncated_inputs
                result = convert(vectors)
                if bar is not None:
                    bar.update(len(chunk))
                del chunk, vectors
                yield result
                del result
        finally:
            if bar is not None:
                bar.close()
            if truncated:
                self._warn_of_truncation(truncated, done)
            convert.warn()

    def _run_chunk(self, chunk: list[object], start: int, options: Checked) -> tuple[NDArray[np.float32], Usage]:
        """Run one chunk; an index in an error counts from the first text of the stream."""
        try:
            return self._run(chunk, None, options, None, None)
        except (TypeError, InvalidInputError) as error:
            if start == 0:
                raise
            check_strings(chunk, start)  # the same complaint, with the right index
            if isinstance(error, InvalidInputError):
                raise InvalidInputError(f"{error} (indices count from text {start} of the stream)") from error
            raise

    def calibrate(self, texts: Iterable[str], **options: Unpack[VectorOptions]) -> Calibration:
        """Measure the ranges that `precision="int8"` and `"uint8"` need, on typical texts.

        Args:
            texts: Texts like those that will be embedded, a thousand or more; taken chunk by chunk.
            **options: The keywords of `encode` but `precision` and `calibration`. `truncate_dim` and
                `normalize_embeddings` have to be those of the later calls.

        Returns:
            The calibration, to be passed as `calibration=` or saved to a file.

        Raises:
            InvalidInputError: Fewer than two texts, or as for `encode`.
            TypeError: As for `encode`.

        Example:
            >>> from oxembed import Embedder
            >>> model = Embedder()
            >>> calibration = model.calibrate(f"an invoice of {amount} euros" for amount in range(200))
            >>> model.encode(["an invoice of 3 euros"], precision="uint8", calibration=calibration).shape
            (1, 384)
        """
        for name in ("precision", "calibration"):
            if name in options:
                raise TypeError(f"calibrate() got an unexpected keyword argument {name!r}")
        checked = _options.check_options("calibrate", cast("dict[str, object]", options))
        if isinstance(texts, str):
            raise TypeError("calibrate takes an iterable of texts, a thousand or more; got one text")
        _, normalized = self._kind_of_vectors(checked)
        vectors = self._encode_chunks(
            check_collection(texts), _options.DEFAULT_CHUNK_SIZE, checked, self._conversion(checked)
        )
        return Calibration.from_chunks(vectors, normalized=normalized, model=self._engine.resolved.name)

    def embed_batch(
        self, request: BatchEmbeddingRequest, *, max_inputs: int = _options.MAX_INPUTS
    ) -> BatchEmbeddingResponse:
        """Answer a request of the strict service contract: every input is a real text, or the whole request is refused.

        Args:
            request: Model name, texts, and whether to normalize.
            max_inputs: Most texts of a request.

        Returns:
            The model's name, an array of shape (n, dim) and dtype float32, and the usage: tokens in all, truncated
            inputs, duration in milliseconds.

        Raises:
            InvalidInputError: The request names another model, is empty, has more than `max_inputs` texts, or holds an
                empty or blank text (names the index).
            TypeError: Not a request, or a text that is not a string.

        Example:
            >>> from oxembed import BatchEmbeddingRequest, Embedder
            >>> response = Embedder().embed_batch(BatchEmbeddingRequest("all-MiniLM-L6-v2", ["hello world"]))
            >>> response.embeddings.shape, response.usage.total_tokens
            ((1, 384), 4)
        """
        if not isinstance(request, BatchEmbeddingRequest):
            raise TypeError(f"embed_batch takes a BatchEmbeddingRequest, not {type(request).__name__}")
        limit = _options.positive_int("max_inputs", max_inputs)
        engine = self._engine
        if request.model not in (engine.resolved.name, engine.arguments.model):
            raise InvalidInputError(
                f"the request is for model {request.model!r}, and this embedder is {engine.resolved.name!r}; "
                "send it to the other one, or correct its model"
            )
        inputs = check_strings(list(as_list(request.inputs)))
        core = engine.core
        with NativeCall(), told_of_failures(core):
            vectors, usage = core.embed_batch(inputs, normalize=bool(request.normalize), max_inputs=limit)
        return BatchEmbeddingResponse(engine.resolved.name, vectors, usage)

    async def _encode_in_thread(self, texts: object, options: Checked) -> NDArray[Any]:
        import asyncio

        token = CancellationToken()
        try:
            return await asyncio.to_thread(self._encode, texts, None, options, token)
        finally:
            token.cancel()  # of no effect after the work is done; stops it when the task is cancelled


def encode_quietly(model: Encoding, texts: Sequence[str], **options: object) -> tuple[NDArray[np.float32], Usage]:
    """Float32 rows of texts with the usage, and nothing logged about texts that were cut."""
    checked = _options.check_options("encode", options)
    return model._run(texts, None, checked, None, None)  # pyright: ignore[reportPrivateUsage]
