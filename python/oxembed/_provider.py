"""What the classes of `providers` have in common: how one becomes what the compiled module takes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, fields
from types import NoneType
from typing import Any, ClassVar, TypeAlias, cast, final, get_args, get_origin, get_type_hints

from oxembed._options import optional_bool, real_number, whole_number
from oxembed._texts import check_unicode
from oxembed.exceptions import InvalidInputError

OptionValue: TypeAlias = str | int | float | bool
# Name, settings by our names, options by ONNX Runtime's names.
Request: TypeAlias = tuple[str, dict[str, str], dict[str, str]]


class Provider:
    """An execution provider with its options: what `provider=` of `Embedder` takes beside names.

    Not made itself; the classes of `oxembed.providers` are. They cannot be changed, compare by their values, and can be
    hashed and pickled.
    """

    __slots__ = ()

    def _request(self) -> Request:
        """The provider for the compiled module."""
        raise NotImplementedError


class TypedProvider(Provider):
    """A provider whose settings are the fields of a dataclass; what has its default value is left to the core."""

    __slots__ = ()
    _provider: ClassVar[str]

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():
            value = _checked(f"{name} of {type(self).__name__}", hint, getattr(self, name))
            object.__setattr__(self, name, value)

    def _request(self) -> Request:
        changed = _changed(self)
        options = cast("Mapping[str, str]", changed.pop("options", {}))
        return self._provider, {name: _in_words(value) for name, value in changed.items()}, dict(options)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in _changed(self).items())
        return f"{type(self).__name__}({shown})"


@final
class Options(Mapping[str, str]):
    """Options by name: a mapping that cannot be changed, and can be hashed and pickled."""

    __slots__ = ("_items",)

    def __init__(self, options: Mapping[str, OptionValue]) -> None:
        # As onnxruntime's own Python package hands them on.
        self._items = {key: str(value) for key, value in sorted(options.items())}

    def __getitem__(self, key: str) -> str:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(tuple(self._items.items()))

    def __reduce__(self) -> tuple[type[Options], tuple[dict[str, str]]]:
        return Options, (self._items,)

    def __repr__(self) -> str:
        return repr(self._items)


@final
@dataclass(frozen=True, slots=True)
class NamedProvider(Provider):
    """A provider by name, with settings in words that the core checks: what a command line says."""

    name: str
    settings: Options
    options: Options

    def _request(self) -> Request:
        return self.name, dict(self.settings), dict(self.options)


NO_OPTIONS = Options({})
_known_hints: dict[type[TypedProvider], dict[str, Any]] = {}


def check_provider(value: object) -> str | Provider | tuple[str | Provider, ...]:
    """A provider or the name of one, or an order of preference."""
    if isinstance(value, str | Provider):
        return _named(value)
    if not isinstance(value, Sequence):
        raise TypeError(
            f"provider must be a name, a provider of oxembed.providers, or a list of these, not {type(value).__name__}"
        )
    items = tuple(cast("Sequence[object]", value))
    if not items:
        raise InvalidInputError("provider is an empty list; pass 'auto', 'cpu', or names in order of preference")
    for item in items:
        if not isinstance(item, str | Provider):
            found = f"the class {item.__name__}, without ()" if isinstance(item, type) else type(item).__name__
            raise TypeError(f"provider must list names and providers of oxembed.providers, found {found}")
        _named(item)
    return cast("tuple[str | Provider, ...]", items)


def _named(provider: str | Provider) -> str | Provider:
    """The same; a name has to be valid Unicode."""
    if isinstance(provider, str):
        check_unicode("provider", provider)
    return provider


def request(provider: str | Provider) -> Request:
    """A provider, or the name of one, for the compiled module."""
    # The classes' own method: private, as nobody else has a use for it.
    return (provider, {}, {}) if isinstance(provider, str) else provider._request()  # pyright: ignore[reportPrivateUsage]


def _in_words(value: object) -> str:
    """A checked value as the core reads it: `true` and `false` for flags."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _hints(kind: type[TypedProvider]) -> dict[str, Any]:
    """The types of a class's fields, worked out once."""
    known = _known_hints.get(kind)
    if known is None:
        hints = get_type_hints(kind)
        known = _known_hints[kind] = {item.name: hints[item.name] for item in _fields(kind)}
    return known


def _fields(kind: type[TypedProvider]) -> tuple[Field[Any], ...]:
    """The fields of one of the dataclasses that are derived from `TypedProvider`, which itself is none."""
    return fields(kind)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def _changed(provider: TypedProvider) -> dict[str, object]:
    """The fields of a provider that have another value than their default."""
    values = {item.name: (getattr(provider, item.name), item.default) for item in _fields(type(provider))}
    return {name: value for name, (value, default) in values.items() if value != default}


def _checked(name: str, hint: Any, value: object) -> object:
    """A value of the type that is declared; whether it is one of the possible ones is checked by the core."""
    kinds = set(get_args(hint)) if NoneType in get_args(hint) else {hint}
    if value is None and NoneType in kinds:
        return None
    if Mapping in {get_origin(kind) for kind in kinds}:
        return _options(name, value)
    if os.PathLike in {get_origin(kind) for kind in kinds} and isinstance(value, os.PathLike):
        return _text(name, os.fspath(cast("os.PathLike[str]", value)))
    if bool in kinds:
        return _flag(name, value)
    if int in kinds:
        return whole_number(name, value)
    return real_number(name, value) if float in kinds else _text(name, value)


def _writable(name: str, number: int) -> None:
    """Options are handed on in words, and Python writes no number of more than 4,300 digits."""
    try:
        str(number)
    except ValueError:
        raise InvalidInputError(f"{name} is too large a number") from None


def _flag(name: str, value: object) -> bool:
    found = optional_bool(name, value)
    if found is None:
        raise TypeError(f"{name} must be True or False, not None")
    return found


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    check_unicode(name, value)
    return value


def _options(name: str, value: object) -> Options:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict of ONNX Runtime's own options, not {type(value).__name__}")
    options = cast("Mapping[object, object]", value)
    for key, item in options.items():
        if not isinstance(key, str) or not isinstance(item, str | int | float | bool):
            raise TypeError(f"{name} must map str to str, int, float or bool; found {key!r}: {type(item).__name__}")
        check_unicode(f"a key of {name}", key)
        if isinstance(item, str):
            check_unicode(f"{key!r} of {name}", item)
        elif isinstance(item, int):
            _writable(f"{key!r} of {name}", item)
    return Options(cast("Mapping[str, OptionValue]", options))
