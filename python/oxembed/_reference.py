"""Reference vectors: a file of what another program made of some texts."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from oxembed.exceptions import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EMBEDDINGS = "embeddings"
_PROMPT = "prompt_"
_TEXTS = "texts"
_LAYOUT = (
    "A reference is an .npz file with the array 'embeddings' of shape (n, dimension) and any arrays 'prompt_<name>' of "
    "the first texts with that prompt; the n texts are a JSON list beside it, in <its name>_texts.json or texts.json"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """Texts, and vectors of them by key of the file.

    Attributes:
        name: The file.
        texts: The texts.
        vectors: Arrays of shape (k, dim), of the first k texts.
        prompts: The prompt's name for each key; `None` for the model's default.
    """

    name: str
    texts: tuple[str, ...]
    vectors: Mapping[str, NDArray[np.floating[Any]]]
    prompts: Mapping[str, str | None]

    @classmethod
    def read(cls, path: str | os.PathLike[str], texts: str | os.PathLike[str] | None = None) -> Reference:
        """Read a file and its texts; nothing is unpickled.

        Raises:
            InvalidInputError: A file that cannot be read, or is not laid out as a reference.
        """
        file = Path(path)
        arrays = _arrays(file)
        found = _texts(file, None if texts is None else Path(texts), arrays.pop(_TEXTS, None))
        prompts: dict[str, str | None] = {}
        for key, array in arrays.items():
            if key != _EMBEDDINGS and not (key.startswith(_PROMPT) and len(key) > len(_PROMPT)):
                raise InvalidInputError(f"reference {file} has an array {key!r}, which means nothing. {_LAYOUT}")
            prompts[key] = None if key == _EMBEDDINGS else key.removeprefix(_PROMPT)
            _check(file, key, array, len(found))
        if not arrays:
            raise InvalidInputError(f"reference {file} has no vectors. {_LAYOUT}")
        return cls(str(file), found, arrays, prompts)


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with file.open("rb") as stream:
            if not zipfile.is_zipfile(stream):
                raise InvalidInputError(f"reference {file} is not an .npz file. {_LAYOUT}")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
    except OSError as error:
        raise InvalidInputError(f"reference {file} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInputError(f"reference {file} cannot be read: {error}") from error


def _texts(file: Path, given: Path | None, inside: NDArray[Any] | None) -> tuple[str, ...]:
    if given is None and inside is not None:
        if inside.dtype.kind != "U" or inside.ndim != 1:
            raise InvalidInputError(f"reference {file}: 'texts' is not an array of n strings, but {inside.dtype}")
        return tuple(inside.tolist())
    beside = [given] if given is not None else [file.with_name(f"{file.stem}_texts.json"), file.with_name("texts.json")]
    for path in beside:
        try:
            values: object = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InvalidInputError(f"texts {path} cannot be read: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"texts {path} are not JSON: {error}") from error
        if not isinstance(values, list) or not all(isinstance(text, str) for text in cast("list[object]", values)):
            raise InvalidInputError(f"texts {path} are not a JSON list of strings")
        return tuple(cast("list[str]", values))
    looked = " and ".join(str(path) for path in beside)
    raise InvalidInputError(f"reference {file} has no texts: looked for {looked}. {_LAYOUT}")


def _check(file: Path, key: str, array: NDArray[Any], texts: int) -> None:
    if array.dtype.kind != "f" or array.ndim != 2 or not array.size:
        raise InvalidInputError(f"reference {file}: {key!r} has shape {array.shape} and dtype {array.dtype}. {_LAYOUT}")
    if len(array) > texts or (key == _EMBEDDINGS and len(array) != texts):
        raise InvalidInputError(f"reference {file}: {key!r} has {len(array)} rows, and there are {texts} texts")
    if not np.isfinite(array).all():
        raise InvalidInputError(f"reference {file}: {key!r} has a value that is not finite (NaN or infinity)")
