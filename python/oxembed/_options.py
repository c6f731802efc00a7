"""The keywords of `encode` and its siblings: their types, and the checks that turn them into what the core takes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, SupportsFloat, SupportsIndex, TypedDict, cast, get_args

from oxembed._texts import check_unicode
from oxembed.exceptions import InvalidInputError

if TYPE_CHECKING:
    import os

    from oxembed.calibration import Calibration

Precision = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]
Truncation = Literal["truncate", "error"]
DEFAULT_CHUNK_SIZE = 4_096
_LARGEST = 2**63 - 1  # as far as the compiled module counts
MAX_INPUTS = 2_048
PRECISIONS: tuple[str, ...] = get_args(Precision)
CALIBRATED = ("int8", "uint8")


class VectorOptions(TypedDict, total=False):
    """Keywords that decide on float vectors; see `Embedder.encode`."""

    prompt_name: str | None
    prompt: str | None
    normalize_embeddings: bool | None
    truncate_dim: int | None
    truncation: Truncation
    show_progress_bar: bool | None
    batch_size: int | None
    convert_to_numpy: bool
    convert_to_tensor: bool
    device: object
    output_value: Literal["sentence_embedding"]


class EncodeOptions(VectorOptions, total=False):
    """Keywords that every encoding method takes, besides `precision`; see `Embedder.encode`."""

    calibration: str | os.PathLike[str] | Calibration | None


class Checked(NamedTuple):
    """The same, checked, without what is only there for sentence-transformers."""

    prompt_name: str | None = None
    prompt: str | None = None
    normalize_embeddings: bool | None = None
    truncate_dim: int | None = None
    precision: str = "float32"
    calibration: Calibration | None = None
    truncation: str = "truncate"
    show_progress_bar: bool | None = None


DEFAULTS = Checked()
# What each keyword is where nobody names it.
UNNAMED: dict[str, object] = {
    **DEFAULTS._asdict(),
    "batch_size": None,
    "convert_to_numpy": True,
    "convert_to_tensor": False,
    "device": None,
    "output_value": "sentence_embedding",
}
_UNKNOWN = object()


def check_options(method: str, options: dict[str, object]) -> Checked:
    """Check the keywords of one call.

    Raises:
        TypeError: An unknown keyword, or a value of the wrong type.
        InvalidInputError: A value that cannot be honoured; the message says what would be.
    """
    # Most calls name none of them, and all of the checks would be half of Python's part in a call of one text.
    options = {name: value for name, value in options.items() if value is not UNNAMED.get(name, _UNKNOWN)}
    if not options:
        return DEFAULTS
    checked: dict[str, object] = {}
    for name, value in options.items():
        check = _CHECKS.get(name)
        if check is None:
            raise TypeError(f"{method}() got an unexpected keyword argument {name!r}")
        found = check(name, value)
        if name in Checked._fields:
            checked[name] = found
    result = Checked(**checked)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    if result.calibration is not None and result.precision not in CALIBRATED:
        raise InvalidInputError(
            f"calibration= has no part in precision={result.precision!r}; it is for {' and '.join(CALIBRATED)}"
        )
    return result


def optional_str(name: str, value: object) -> str | None:
    """A string that is valid Unicode, or `None`."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str or None, not {type(value).__name__}")
    check_unicode(name, value)
    return value


def optional_bool(name: str, value: object) -> bool | None:
    """A bool (numpy's too) or `None`."""
    if value is None or isinstance(value, bool):
        return value
    if type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise TypeError(f"{name} must be True, False or None, not {type(value).__name__}")


def whole_number(name: str, value: object) -> int:
    """An integer (numpy's too) of 64 bits; `True` is not one."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
    number = operator.index(cast(SupportsIndex, value))
    if abs(number) > _LARGEST:
        # Not shown: Python writes no number of more than 4,300 digits.
        raise InvalidInputError(f"{name} is too large: it must be at most {_LARGEST}")
    return number


def real_number(name: str, value: object) -> float:
    """A number (numpy's too) as a float; `True` is not one, and neither is a text of digits."""
    if isinstance(value, bool | str | bytes) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    try:
        return float(cast(SupportsFloat, value))
    except OverflowError:
        raise InvalidInputError(f"{name} is too large for a floating point number") from None


def positive_int(name: str, value: object) -> int:
    """An integer (numpy's too) of at least 1; `True` is not one."""
    number = whole_number(name, value)
    if number < 1:
        raise InvalidInputError(f"{name} must be at least 1, got {number}")
    return number


def optional_positive_int(name: str, value: object) -> int | None:
    """A positive integer or `None`."""
    return None if value is None else positive_int(name, value)


def check_device(name: str, value: object) -> None:
    """`None` or the CPU; sentence-transformers' word for what is `provider=` here."""
    if value is not None and str(value) != "cpu":
        raise InvalidInputError(
            f"{name}={value!r} cannot be honoured: the hardware is chosen once, by provider= of Embedder(...). "
            f"Leave {name} out, or pass 'cpu'"
        )


def optional_calibration(name: str, value: object) -> Calibration | None:
    """A `Calibration`, the path of one's file, or `None`."""
    if value is None:
        return None
    from oxembed.calibration import Calibration

    if isinstance(value, Calibration):
        return value
    if isinstance(value, str) or hasattr(value, "__fspath__"):
        return Calibration.load(cast("str | os.PathLike[str]", value))
    raise TypeError(
        f"{name} must be a Calibration or the path of its file, not {type(value).__name__}; "
        "Calibration(ranges) and Calibration.from_embeddings(vectors) make one of arrays"
    )


def check_precision(name: str, value: object) -> object:
    """One of the precisions."""
    # Asked first, as an array is compared number by number.
    if not isinstance(value, str) or value not in PRECISIONS:
        raise InvalidInputError(f"{name}={value!r} is not known; use one of: {', '.join(PRECISIONS)}")
    return value


def _truncation(name: str, value: object) -> object:
    if not isinstance(value, str) or value not in ("truncate", "error"):
        raise InvalidInputError(f"{name}={value!r} is not known; use 'truncate' or 'error'")
    return value


def truth(name: str, value: object) -> bool:
    """What Python takes for true or false."""
    try:
        return bool(value)
    except ValueError:  # an array of several
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}") from None


def _must_be_numpy(name: str, value: object) -> None:
    if not truth(name, value):
        raise InvalidInputError(
            f"{name}={value!r} cannot be honoured: the result is always a numpy array. Use list(...) for a list of rows"
        )


def _no_tensor(name: str, value: object) -> None:
    if truth(name, value):
        raise InvalidInputError(
            f"{name}={value!r} cannot be honoured: the result is always a numpy array. "
            "torch.from_numpy(...) makes a tensor of it without copying"
        )


def _sentence_embedding(name: str, value: object) -> None:
    if not isinstance(value, str) or value != "sentence_embedding":
        raise InvalidInputError(f"{name}={value!r} cannot be honoured; only 'sentence_embedding' is available")


_CHECKS: dict[str, Callable[[str, object], object]] = {
    "prompt_name": optional_str,
    "prompt": optional_str,
    "normalize_embeddings": optional_bool,
    "truncate_dim": optional_positive_int,
    "precision": check_precision,
    "calibration": optional_calibration,
    "truncation": _truncation,
    "show_progress_bar": optional_bool,
    "batch_size": optional_positive_int,
    "convert_to_numpy": _must_be_numpy,
    "convert_to_tensor": _no_tensor,
    "device": check_device,
    "output_value": _sentence_embedding,
}
