"""Fewer bits: a model's weights as 8-bit integers, and number formats for vectors that are there already."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from oxembed import _core, _options, hub, runtime
from oxembed._lifecycle import NativeCall
from oxembed._options import Precision, check_precision
from oxembed._precision import convert
from oxembed._progress import Bar, open_bar
from oxembed._texts import as_list, check_strings
from oxembed.calibration import Calibration
from oxembed.exceptions import InferenceError, InvalidInputError
from oxembed.quantization_report import QuantizationReport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

__all__ = ["quantize", "quantize_embeddings"]

_FILE_NAME = "int8.safetensors"
_KIND = "text"
# What the stages of the compiled module are called for people, and what they count.
_STAGES = {
    "layers": ("quantizing", " steps"),
    "check": ("comparing with float32", " texts"),
    "speed": ("measuring the speed", " rounds"),
}


def quantize(
    model: str | os.PathLike[str],
    *,
    calibration: str | os.PathLike[str] | Iterable[str | tuple[str, str]] | None = None,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    threads: int | None = None,
    show_progress_bar: bool | None = None,
) -> QuantizationReport:
    """Turn a model's linear layers into 8-bit integers, check the result, and write it as `int8.safetensors`.

    `Embedder(model, dtype="int8")` runs that file, which lies beside the weights and needs them still: it keeps the
    layers alone, not the embedding table. Its vectors are near to those of float32, by the measure of the report, and
    a text has the same bits alone and in any batch. Same model, same texts: same bytes, on any number of threads.

    What is written was checked on texts that took no part in its making. Where the mean of their cosines to float32 is
    below 0.9995 or the least of them below 0.998, nothing is written, and the report says how near it came.

    Args:
        model: As for `Embedder`: path of a model folder, a Hugging Face id, or the embedded model's name, which needs
            `output`.
        calibration: Texts to learn from, 32 at least and better some hundred, like those to come: the path of a file
            with one text a line, or of a `.jsonl` file of objects with `text` and, where wanted, `kind`; or an iterable
            of texts, or of (kind, text). Unless given, texts of many kinds that come with the package, which is best
            where nothing is known of the texts to come.
        output: An existing folder to write to in place of the one with the weights; it gets nothing but
            `int8.safetensors`. To use that, copy it beside `model.safetensors` of the model.
        force: Write the file whatever the check says. It keeps what was measured: `model_info().quality` says it, and
            `dtype="auto"` passes the file over.
        threads: Threads to use; as many as this process may run on unless given.
        show_progress_bar: Whether to show progress on stderr; `None` shows it on a terminal.

    Returns:
        What was done and measured; `str(report)` is a table. `report.path` is `None` where nothing was written.

    Raises:
        ModelNotFoundError: As of `Embedder`.
        InvalidModelError: As of `Embedder`; a model whose layers cannot be quantized, such as an ONNX file; the message
            says why.
        InvalidInputError: Calibration texts that cannot be read, or a folder that cannot be written to.
        ServiceUnavailableError: ONNX Runtime is absent, too old or broken.
        InferenceError: ONNX Runtime failed.
        TypeError: An argument of the wrong type; names the index of a text.
        KeyboardInterrupt: Ctrl-C; nothing is written.

    Example:
        >>> quantize("all-MiniLM-L6-v2")
        Traceback (most recent call last):
        ...
        oxembed.exceptions.InvalidInputError: the folder of the embedded model belongs to the installed package...
    """
    asked = _options.optional_bool("show_progress_bar", show_progress_bar)
    threads = _options.optional_positive_int("threads", threads)
    resolved = hub.resolve(model)
    if output is None and not resolved.is_path and resolved.folder == str(hub.embedded_folder()):
        raise InvalidInputError(
            "the folder of the embedded model belongs to the installed package, which has its int8 file already; give "
            f"output=, another folder, and copy {_FILE_NAME} from there to the weights that it is for"
        )
    texts = None if calibration is None else _pairs(calibration)
    shown = asked if asked is not None else sys.stderr is not None and sys.stderr.isatty()
    with NativeCall() as token, _Stages(token, shown=shown, required=bool(asked)) as progress:
        runtime.load_runtime()
        values = _core.quantize(
            resolved.folder,
            calibration=texts,
            output=None if output is None else str(Path(output).expanduser()),
            force=bool(force),
            threads=threads,
            progress=progress,
        )
    return QuantizationReport.from_core(json.loads(values))


def _pairs(calibration: str | os.PathLike[str] | Iterable[str | tuple[str, str]]) -> list[tuple[str, str]]:
    """(kind, text) of every text."""
    if isinstance(calibration, str | os.PathLike):
        with NativeCall():
            return _core.read_calibration(str(Path(calibration).expanduser()))
    pairs: list[tuple[str, str]] = []
    for index, item in enumerate(as_list(calibration)):
        kind, text = cast("tuple[object, ...]", item) if _is_pair(item) else (_KIND, item)
        if not isinstance(kind, str):
            raise TypeError(f"text {index} must be a str, or (kind, text), not {item!r:.60}")
        pairs.append((kind, check_strings([text], index)[0]))
    return pairs


def _is_pair(item: object) -> bool:
    return isinstance(item, tuple) and len(cast("tuple[object, ...]", item)) == 2


class _Stages:
    """Told of the progress: draws a bar a stage, where bars are wanted, and gives up when the process ends."""

    def __init__(self, token: _core.CancellationToken, *, shown: bool, required: bool) -> None:
        self._token = token
        self._shown = shown
        self._required = required
        self._stage: str | None = None
        self._bar: Bar | None = None
        self._done = 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._token.cancelled:
            raise InferenceError("quantizing was stopped, because the process ends; nothing is written")
        if not self._shown:
            return
        if stage != self._stage:
            self._open(stage, total)
        if self._bar is not None:
            self._bar.update(done - self._done)
        self._done = done

    def _open(self, stage: str, total: int) -> None:
        self._close()
        name, unit = _STAGES.get(stage, (stage, ""))
        self._bar = open_bar(total, unit=unit, required=self._required, desc=name, leave=False)
        self._stage, self._done = stage, 0

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> _Stages:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()


def quantize_embeddings(
    embeddings: ArrayLike,
    precision: Precision,
    ranges: ArrayLike | None = None,
    calibration_embeddings: ArrayLike | None = None,
    *,
    calibration: Calibration | None = None,
) -> NDArray[Any]:
    """Convert float vectors to another precision: what `encode(precision=...)` does, for vectors from elsewhere.

    Agrees with `sentence_transformers.quantize_embeddings`, with one difference: `"int8"` and `"uint8"` never take
    their ranges from `embeddings` themselves, because the same vector would then get other codes in other company.

    Args:
        embeddings: Array of shape (n, dim) or (dim,), floating point.
        precision: `"float32"`, `"float16"`, `"int8"`, `"uint8"`, `"binary"` or `"ubinary"`.
        ranges: For `"int8"` and `"uint8"`: minima and maxima of each dimension, shape (2, dim).
        calibration_embeddings: In place of `ranges`: vectors to measure, shape (m, dim).
        calibration: In place of both: a `Calibration`.

    Returns:
        Array of shape (n, dim) or (dim,); for the binary ones, the last axis is dim / 8 bytes, rounded up.

    Raises:
        InvalidInputError: No ranges where they are needed, ranges given twice or where they have no meaning, shapes
            that do not fit, a value that is not finite, or an unknown precision.
        TypeError: Not an array of floating point numbers.

    Example:
        >>> quantize_embeddings([[0.5, -1.0]], "uint8", ranges=[[-1, -1], [1, 1]]).tolist()
        [[191, 0]]
    """
    check_precision("precision", precision)
    array = np.asarray(embeddings)
    if array.dtype.kind != "f":
        raise TypeError(f"embeddings must be an array of floating point numbers, not of {array.dtype}")
    if array.ndim not in (1, 2):
        raise InvalidInputError(f"embeddings have shape (n, dim) or (dim,), not {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidInputError("embeddings have a value that is not finite (NaN or infinity)")
    given = [value for value in (ranges, calibration_embeddings, calibration) if value is not None]
    if precision not in ("int8", "uint8"):
        if given:
            raise InvalidInputError(f"precision={precision!r} has no ranges; they are for 'int8' and 'uint8'")
        return convert(array, precision)
    if len(given) != 1:
        raise InvalidInputError(
            f"precision={precision!r} needs exactly one of ranges, calibration_embeddings and calibration, got "
            f"{len(given)}; ranges are never taken from the vectors that are converted"
        )
    if ranges is not None:
        calibration = Calibration(ranges)
    elif calibration_embeddings is not None:
        calibration = Calibration.from_embeddings(calibration_embeddings)
    return convert(array, precision, calibration)
