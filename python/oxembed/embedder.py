"""The `Embedder`: texts in, vectors out."""

from __future__ import annotations

import inspect
import os
from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Unpack, cast, final, overload

from oxembed import _options, hub
from oxembed._encoding import Encoding
from oxembed._engine import Arguments, Engine
from oxembed._options import DEFAULT_CHUNK_SIZE, EncodeOptions, Precision, Truncation, check_options
from oxembed._provider import Provider, check_provider
from oxembed._texts import MISSING, check_collection, check_unicode, choose

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from oxembed.calibration import Calibration

__all__ = ["Embedder"]


@final
class Embedder(Encoding):
    """A model, loaded and ready to turn texts into vectors.

    Vectors agree with those of `sentence_transformers.SentenceTransformer` for the same model folder, within 1e-5,
    whatever else is in the call. One embedder can be used by any number of threads at once, cannot be changed after it
    is made, can be pickled (by its arguments; `token` is left out), and works after `fork` (the child loads it again).

    Args:
        model: Path of a model folder, a Hugging Face id (from the local cache, else downloaded), or the embedded
            model's name.
        provider: Execution provider: `"auto"` for the fastest that is right here, a name such as `"cpu"` or `"coreml"`,
            one with options of `oxembed.providers`, or a list of these as an order of preference.
        threads: Threads to use; as many as this process may run on unless given.
        max_seq_length: Most tokens of a text that count; the model's own limit unless given.
        truncate_dim: Keep only so many leading dimensions of each vector, as sentence-transformers does.
        dtype: Number format of the arithmetic: `"float32"`; `"int8"`, which takes the linear layers from
            int8.safetensors beside the weights (`oxembed quantize` makes it); `"auto"`, int8 where that file passed its
            check and the processor is fast at it, else float32; and what a provider computes in besides.
        onnx_file: ONNX file inside the folder to run, in place of `model.safetensors`.
        calibration: Ranges for the precisions `"int8"` and `"uint8"`: a `Calibration` or the path of its file. Unless
            given, `calibration.json` of the model folder, if there is one.
        revision: Branch, tag or full commit hash of a Hugging Face id.
        cache_dir: Hugging Face cache folder to use in place of the one the environment names.
        local_files_only: Never use the network, not even for a model that is not in the cache.
        token: Hugging Face token for a download; `True` for the saved one, `False` for none.
        device: sentence-transformers' word; `None` or `"cpu"`. The hardware is chosen by `provider`.

    Raises:
        ModelNotFoundError: No such folder, not in the cache, and not to be had from the hub; the message says why.
        InvalidModelError: The folder is broken or not understood, or a download is not what the hub says it is.
        ProviderUnavailableError: The provider cannot do the work here.
        ServiceUnavailableError: ONNX Runtime is absent, too old or broken.
        InvalidInputError: An argument that cannot be honoured.
        TypeError: An argument of the wrong type.

    Example:
        >>> from oxembed import Embedder
        >>> model = Embedder()
        >>> vectors = model.encode(["A cat sat on the mat.", "The stock market fell."])
        >>> vectors.shape, vectors.dtype
        ((2, 384), dtype('float32'))
    """

    __slots__ = ()

    def __init__(
        self,
        model: str | os.PathLike[str] = hub.EMBEDDED_MODEL,
        *,
        provider: str | Provider | Sequence[str | Provider] = "auto",
        threads: int | None = None,
        max_seq_length: int | None = None,
        truncate_dim: int | None = None,
        dtype: str = "float32",
        onnx_file: str | None = None,
        calibration: str | os.PathLike[str] | Calibration | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: bool | str | None = None,
        device: str | None = None,
    ) -> None:
        """Find the model and load it; see the class."""
        _options.check_device("device", device)
        if not isinstance(dtype, str):
            raise TypeError(f"dtype must be a str such as 'float32', not {type(dtype).__name__}")
        check_unicode("dtype", dtype)
        arguments = Arguments(
            model="",
            provider=check_provider(provider),
            threads=_options.optional_positive_int("threads", threads),
            max_seq_length=_options.optional_positive_int("max_seq_length", max_seq_length),
            truncate_dim=_options.optional_positive_int("truncate_dim", truncate_dim),
            dtype=dtype,
            onnx_file=_options.optional_str("onnx_file", onnx_file),
            calibration=_options.optional_calibration("calibration", calibration),
            revision=_options.optional_str("revision", revision),
            cache_dir=None if cache_dir is None else os.fspath(cache_dir),
            local_files_only=_options.truth("local_files_only", local_files_only),
            token=token,
        )
        resolved = hub.resolve(
            model,
            revision=arguments.revision,
            cache_dir=arguments.cache_dir,
            local_files_only=arguments.local_files_only,
            token=token,
            onnx_file=arguments.onnx_file,
        )
        name = resolved.folder if resolved.is_path else os.fspath(model)
        object.__setattr__(self, "_engine", Engine(arguments._replace(model=name), resolved))

    @overload
    def encode(
        self, texts: str | Iterable[str], *, precision: Literal["float32"] = ..., **options: Unpack[EncodeOptions]
    ) -> NDArray[np.float32]: ...
    @overload
    def encode(
        self, texts: str | Iterable[str], *, precision: Literal["float16"], **options: Unpack[EncodeOptions]
    ) -> NDArray[np.float16]: ...
    @overload
    def encode(
        self, texts: str | Iterable[str], *, precision: Literal["int8", "binary"], **options: Unpack[EncodeOptions]
    ) -> NDArray[np.int8]: ...
    @overload
    def encode(
        self, texts: str | Iterable[str], *, precision: Literal["uint8", "ubinary"], **options: Unpack[EncodeOptions]
    ) -> NDArray[np.uint8]: ...
    @overload
    def encode(
        self, texts: str | Iterable[str], *, precision: Precision, **options: Unpack[EncodeOptions]
    ) -> NDArray[Any]: ...
    @overload
    def encode(
        self, *, sentences: str | Iterable[str], precision: Precision = ..., **options: Unpack[EncodeOptions]
    ) -> NDArray[Any]: ...
    def encode(
        self,
        texts: str | Iterable[str] = MISSING,
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        normalize_embeddings: bool | None = None,
        truncate_dim: int | None = None,
        precision: Precision = "float32",
        calibration: str | os.PathLike[str] | Calibration | None = None,
        truncation: Truncation = "truncate",
        show_progress_bar: bool | None = None,
        sentences: str | Iterable[str] = MISSING,
        batch_size: int | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: object = None,
        output_value: Literal["sentence_embedding"] = "sentence_embedding",
    ) -> NDArray[Any]:
        """Turn texts into vectors.

        Agrees with `SentenceTransformer.encode`. The vector of a text depends on that text alone, not on the others in
        the call nor on their order. Ctrl-C stops a long call within a second.

        Args:
            texts: One text, or any ordered iterable of n texts: list, tuple, generator, numpy array of strings, pandas
                Series. A dict or a set is refused. An empty text is a text like another.
            prompt_name: Name of one of the model's `prompts` to put before each text. The model's
                `default_prompt_name` unless given.
            prompt: Text to put before each text; wins over `prompt_name`.
            normalize_embeddings: `True` scales each vector to length 1; `None` and `False` leave them as the model
                gives them.
            truncate_dim: Keep only so many leading dimensions, in place of the constructor's. Vectors are cut, then
                normalized if `normalize_embeddings=True`, then converted to `precision`. A model that normalizes by
                itself does that before the cut, so that cut vectors are shorter than 1 unless that is asked for.
            precision: `"float32"`, `"float16"`, one byte a dimension: `"uint8"`, or `"int8"`, which is the same minus
                128; or one bit a dimension: `"ubinary"` packs eight signs into a uint8, `"binary"` is the same minus
                128 as int8. All laid out as by sentence-transformers.
            calibration: For `"int8"` and `"uint8"`: the ranges in which codes are laid out, as a `Calibration` or the
                path of its file, in place of the constructor's. See `calibrate`.
            truncation: What happens to a text of more than `max_seq_length` tokens: `"truncate"` cuts it (and logs a
                warning on the logger `oxembed`, once a call), `"error"` raises.
            show_progress_bar: Whether to show a progress bar on stderr; `None` shows one for a long call on a terminal.
            sentences: sentence-transformers' word for `texts`.
            batch_size: Accepted as a hint; batches are made by length, to what the hardware does best.
            convert_to_numpy: Only `True`.
            convert_to_tensor: Only `False`.
            device: Only `None` or `"cpu"`; the hardware is chosen by `provider` of the constructor.
            output_value: Only `"sentence_embedding"`.

        Returns:
            Array of shape (dim,) for one text and (n, dim) for n texts, in their order; (0, dim) for no texts.
            C-contiguous and writable. dtype float32, float16, int8 (int8, binary) or uint8 (uint8, ubinary); for the
            binary ones the last axis is dim / 8 bytes.

        Raises:
            TypeError: `texts` is not made of strings; names the index. An unknown keyword.
            InvalidInputError: A lone surrogate (names the index), a text too long with `truncation="error"`, or an
                option that cannot be honoured.
            InferenceError: ONNX Runtime failed.

        Example:
            >>> from oxembed import Embedder
            >>> model = Embedder()
            >>> model.encode("one text").shape, model.encode(["one", "two"]).shape
            ((384,), (2, 384))
            >>> model.encode(["one", "two"], precision="ubinary").shape
            (2, 48)
        """
        options: dict[str, object] = {
            "prompt_name": prompt_name,
            "prompt": prompt,
            "normalize_embeddings": normalize_embeddings,
            "truncate_dim": truncate_dim,
            "precision": precision,
            "calibration": calibration,
            "truncation": truncation,
            "show_progress_bar": show_progress_bar,
            "batch_size": batch_size,
            "convert_to_numpy": convert_to_numpy,
            "convert_to_tensor": convert_to_tensor,
            "device": device,
            "output_value": output_value,
        }
        return self._encode(choose("encode", texts, sentences), None, check_options("encode", options))

    @overload
    def encode_query(
        self, texts: str | Iterable[str], *, precision: Literal["float32"] = ..., **options: Unpack[EncodeOptions]
    ) -> NDArray[np.float32]: ...
    @overload
    def encode_query(
        self, texts: str | Iterable[str], *, precision: Precision, **options: Unpack[EncodeOptions]
    ) -> NDArray[Any]: ...
    @overload
    def encode_query(
        self, *, sentences: str | Iterable[str], precision: Precision = ..., **options: Unpack[EncodeOptions]
    ) -> NDArray[Any]: ...
    def encode_query(self, texts: str | Iterable[str] = MISSING, **options: Any) -> NDArray[Any]:
        """Turn search queries into vectors: `encode` with the model's prompt for queries.

        Agrees with `SentenceTransformer.encode_query`: the prompt named `"query"`, if the model has one and neither
        `prompt` nor `prompt_name` is given.

        Args:
            texts: As for `encode`.
            **options: The keywords of `encode`.

        Returns:
            Array of shape (dim,) or (n, dim), as of `encode`.

        Raises:
            TypeError: As for `encode`.
            InvalidInputError: As for `encode`.

        Example:
            >>> from oxembed import Embedder
            >>> Embedder().encode_query("how do cats purr?").shape
            (384,)
        """
        return self._encode_as("encode_query", "query", texts, options)

    @overload
    def encode_document(
        self, texts: str | Iterable[str], *, precision: Literal["float32"] = ..., **options: Unpack[EncodeOptions]
    ) -> NDArray[np.float32]: ...
    @overload
    def encode_document(
        self, texts: str | Iterable[str], *, precision: Precision, **options: Unpack[EncodeOptions]
    ) -> NDArray[Any]: ...
    @overload
    def encode_document(
        self, *, sentences: str | Iterable[str], precision: Precision = ..., **options: Unpack[EncodeOptions]
    ) -> NDArray[Any]: ...
    def encode_document(self, texts: str | Iterable[str] = MISSING, **options: Any) -> NDArray[Any]:
        """Turn documents into vectors to be searched: `encode` with the model's prompt for documents.

        Agrees with `SentenceTransformer.encode_document`: the prompt named `"document"`, if the model has one and
        neither `prompt` nor `prompt_name` is given. A model with a prompt `"passage"` or `"corpus"` instead gets none
        there (sentence-transformers 5 and 6 never come to them, whatever their documentation says), and so none here:
        that is logged when the model is loaded, and `prompt_name="passage"` uses it.

        Args:
            texts: As for `encode`.
            **options: The keywords of `encode`.

        Returns:
            Array of shape (dim,) or (n, dim), as of `encode`.

        Raises:
            TypeError: As for `encode`.
            InvalidInputError: As for `encode`.

        Example:
            >>> from oxembed import Embedder
            >>> Embedder().encode_document(["Cats purr.", "Dogs bark."]).shape
            (2, 384)
        """
        return self._encode_as("encode_document", "document", texts, options)

    @overload
    def encode_iter(
        self,
        iterable: Iterable[str],
        *,
        chunk_size: int = ...,
        precision: Literal["float32"] = ...,
        **options: Unpack[EncodeOptions],
    ) -> Generator[NDArray[np.float32], None, None]: ...
    @overload
    def encode_iter(
        self,
        iterable: Iterable[str],
        *,
        chunk_size: int = ...,
        precision: Precision,
        **options: Unpack[EncodeOptions],
    ) -> Generator[NDArray[Any], None, None]: ...
    def encode_iter(
        self, iterable: Iterable[str], *, chunk_size: int = DEFAULT_CHUNK_SIZE, **options: Any
    ) -> Generator[NDArray[Any], None, None]:
        """Turn a stream of texts into vectors, chunk by chunk, in memory that does not grow.

        Options are checked at once; texts are taken from `iterable` one chunk at a time, when its vectors are asked
        for, and never ahead of that.

        Args:
            iterable: Texts; may be endless.
            chunk_size: Texts in a chunk. Larger chunks batch better, smaller ones answer sooner.
            **options: The keywords of `encode`. A progress bar is shown only for `show_progress_bar=True`.

        Returns:
            Generator of arrays of shape (k, dim), in the order of the texts; k is `chunk_size` but for the last.

        Raises:
            TypeError: Something else than strings; names its index, counted from the first text of all.
            InvalidInputError: As for `encode`; arrays already yielded are good.

        Example:
            >>> from oxembed import Embedder
            >>> texts = (f"text number {number}" for number in range(10))
            >>> [chunk.shape for chunk in Embedder().encode_iter(texts, chunk_size=4)]
            [(4, 384), (4, 384), (2, 384)]
        """
        checked = check_options("encode_iter", options)
        size = _options.positive_int("chunk_size", chunk_size)
        if isinstance(iterable, str):
            raise TypeError("encode_iter takes an iterable of texts; for one text, call encode(text)")
        return self._encode_chunks(check_collection(iterable), size, checked, self._conversion(checked))

    @overload
    async def aencode(
        self, texts: str | Iterable[str], *, precision: Literal["float32"] = ..., **options: Unpack[EncodeOptions]
    ) -> NDArray[np.float32]: ...
    @overload
    async def aencode(
        self, texts: str | Iterable[str], *, precision: Precision, **options: Unpack[EncodeOptions]
    ) -> NDArray[Any]: ...
    @overload
    async def aencode(
        self, *, sentences: str | Iterable[str], precision: Precision = ..., **options: Unpack[EncodeOptions]
    ) -> NDArray[Any]: ...
    async def aencode(self, texts: str | Iterable[str] = MISSING, **options: Any) -> NDArray[Any]:
        """Do what `encode` does, in a thread, without blocking the event loop.

        When the task is cancelled, the work stops at the next batch, and `CancelledError` goes on to the caller.

        Args:
            texts: As for `encode`. A list is copied at once; another iterable is consumed in the thread.
            **options: The keywords of `encode`.

        Returns:
            Array of shape (dim,) or (n, dim), as of `encode`.

        Raises:
            TypeError: As for `encode`.
            InvalidInputError: As for `encode`.

        Example:
            >>> import asyncio
            >>> from oxembed import Embedder
            >>> asyncio.run(Embedder().aencode(["one", "two"])).shape
            (2, 384)
        """
        chosen = choose("aencode", texts, options.pop("sentences", MISSING))
        checked = check_options("aencode", options)
        return await self._encode_in_thread(
            tuple(cast("list[object]", chosen)) if isinstance(chosen, list) else chosen, checked
        )

    def _encode_as(self, method: str, role: str, texts: object, options: dict[str, Any]) -> NDArray[Any]:
        chosen = choose(method, texts, options.pop("sentences", MISSING))
        return self._encode(chosen, role, check_options(method, options))

    def __repr__(self) -> str:
        engine = self._engine
        return (
            f"Embedder({engine.arguments.model!r}, provider={engine.arguments.provider!r}, dimension={self.dimension})"
        )

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an Embedder cannot be changed; pass {name}= to Embedder(...) or to encode(...)")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"an Embedder cannot be changed; {name} cannot be deleted")

    def __copy__(self) -> Embedder:
        return self

    def __deepcopy__(self, memo: object) -> Embedder:
        return self

    def __reduce__(self) -> tuple[object, tuple[dict[str, Any]]]:
        return _rebuild, (self._engine.arguments._replace(token=None)._asdict(),)


def _show_keywords() -> None:
    """Give the siblings of `encode` its keywords in their signatures, for `help()` and notebooks."""
    keywords = list(inspect.signature(Embedder.encode).parameters.values())[2:]
    for method in (Embedder.encode_query, Embedder.encode_document, Embedder.encode_iter, Embedder.aencode):
        own = [one for one in inspect.signature(method).parameters.values() if one.kind is not one.VAR_KEYWORD]
        more = [one for one in keywords if one.name != "sentences" or method is not Embedder.encode_iter]
        method.__signature__ = inspect.Signature([*own, *more])  # type: ignore[union-attr]


_show_keywords()


def _rebuild(arguments: dict[str, Any]) -> Embedder:
    return Embedder(arguments.pop("model"), **arguments)
