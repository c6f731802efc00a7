"""What counts as texts, and errors that name the one at fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from oxembed.exceptions import InvalidInputError


class _Missing:
    """The default of an argument that one of two names must give."""

    def __repr__(self) -> str:
        return "<not given>"


MISSING: Any = _Missing()


def check_collection(texts: object) -> Iterable[object]:
    """Accept any ordered iterable; refuse what iterates over something else than a sequence of texts.

    Raises:
        TypeError: Bytes, a dict (keys or values?), a set (no order), a table or array of other than one dimension, or
            nothing iterable at all.
    """
    if isinstance(texts, list | tuple):
        return cast("Iterable[object]", texts)
    kind = type(texts).__name__
    if isinstance(texts, bytes | bytearray | memoryview):
        raise TypeError(f"texts must be str or an iterable of str, not {kind}; decode it first: texts.decode('utf-8')")
    if isinstance(texts, Mapping):
        raise TypeError(f"texts must be str or an iterable of str, not a {kind}; pass list(texts.values())")
    if isinstance(texts, set | frozenset):
        raise TypeError(f"texts must be in order, and a {kind} has none; pass sorted(texts), and keep that list")
    dimensions = getattr(texts, "ndim", 1)
    if dimensions != 1:
        raise TypeError(f"texts must have one dimension, not {dimensions} as this {kind} has; pass one column of it")
    if not isinstance(texts, Iterable):
        raise TypeError(f"texts must be str or an iterable of str, not {kind}")
    return cast("Iterable[object]", texts)


def as_list(texts: object) -> list[object] | tuple[object, ...]:
    """The texts as a list or tuple; the caller's own one where it is one already."""
    collection = check_collection(texts)
    if isinstance(collection, list | tuple):
        return collection
    if type(collection).__module__ == "numpy":
        return cast("list[object]", collection.tolist())  # type: ignore[attr-defined]  # pyright: ignore
    return list(collection)


def strings(texts: object) -> list[str]:
    """The texts (a lone string as a list of one), each of them checked.

    Raises:
        TypeError: Something else than strings; names its index.
        InvalidInputError: A lone surrogate; names its index.
    """
    items: list[object] = [texts] if isinstance(texts, str) else list(as_list(texts))
    return check_strings(items)


def check_strings(items: list[object], start: int = 0) -> list[str]:
    """Check strings whose first one has index `start`."""
    for index, item in enumerate(items, start):
        if not isinstance(item, str):
            raise TypeError(f"text {index} is of type {type(item).__name__}, not str")
        check_unicode(f"text {index}", item)
    return cast("list[str]", items)


def check_unicode(name: str, value: str) -> None:
    """Refuse what cannot be written as UTF-8.

    Raises:
        InvalidInputError: A lone surrogate; says what has it, by `name`, and where.
    """
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError as error:
        code = ord(value[error.start])
        raise InvalidInputError(
            f"{name} has a lone surrogate (U+{code:04X} at character {error.start}), so it is not "
            'valid Unicode; replace it, for example with text.encode("utf-8", "replace").decode()'
        ) from None


def chunks(texts: Iterable[object], size: int) -> Iterator[list[object]]:
    """Lists of `size` items, the last one shorter; never takes an item before it is needed."""
    chunk: list[object] = []
    for item in texts:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def choose(method: str, texts: object, sentences: object) -> object:
    """`texts`, or what was passed as `sentences`."""
    if sentences is MISSING:
        if texts is MISSING:
            raise TypeError(f"{method}() missing 1 required argument: 'texts'")
        return texts
    if texts is not MISSING:
        raise TypeError(f"{method}() got both 'texts' and 'sentences', which mean the same")
    return sentences
