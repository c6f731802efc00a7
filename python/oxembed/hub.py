"""Turns what a user calls a model into a folder: a path, the embedded model, or the local Hugging Face cache."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from oxembed.exceptions import ModelNotFoundError

__all__ = ["EMBEDDED_MODEL", "ResolvedModel", "cache_folders", "cached_models", "embedded_folder", "resolve"]

EMBEDDED_MODEL = "all-MiniLM-L6-v2"
_DEFAULT_ORGANIZATION = "sentence-transformers"
_EMBEDDED_NAMES = (EMBEDDED_MODEL, f"{_DEFAULT_ORGANIZATION}/{EMBEDDED_MODEL}")
_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_MODEL_ID = re.compile(rf"(?:{_NAME}/)?{_NAME}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]{0,250}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MODEL_FILES = ("modules.json", "config.json", "model.safetensors")


class ResolvedModel(NamedTuple):
    """A model's folder, and the name to show for it.

    Attributes:
        folder: Path of the folder.
        name: The Hugging Face id, the embedded model's name, or the folder's own name.
        is_path: Whether the user named a folder.
    """

    folder: str
    name: str
    is_path: bool = False


def embedded_folder() -> Path | None:
    """Folder of the model that comes with the package, or `None` if this installation lacks it.

    Example:
        >>> embedded_folder().name
        'all-MiniLM-L6-v2'
    """
    folder = Path(__file__).parent / "models" / EMBEDDED_MODEL
    return folder if (folder / "config.json").is_file() else None


def cache_folders(cache_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """The Hugging Face cache folders to look in, in order, whether or not they exist.

    The rules are those of `huggingface_hub`: `cache_dir` alone if it is given; else `HF_HUB_CACHE`, else
    `HUGGINGFACE_HUB_CACHE`, else `HF_HOME/hub`, else `XDG_CACHE_HOME/huggingface/hub`, else
    `~/.cache/huggingface/hub`. `SENTENCE_TRANSFORMERS_HOME`, where set, is looked in first.

    Example:
        >>> [folder.name for folder in cache_folders("my-cache")]
        ['my-cache']
    """
    if cache_dir is not None:
        return [Path(cache_dir).expanduser()]
    environ = os.environ
    home = environ.get("HF_HOME") or str(Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    hub = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or str(Path(home) / "hub")
    first = environ.get("SENTENCE_TRANSFORMERS_HOME")
    return [Path(os.path.expandvars(folder)).expanduser() for folder in ([first] if first else []) + [hub]]


def cached_models(cache_dir: str | os.PathLike[str] | None = None) -> list[str]:
    """Ids of the models in the local Hugging Face cache that have a configuration, sorted.

    Example:
        >>> cached_models("no-such-cache")
        []
    """
    found: set[str] = set()
    for cache in cache_folders(cache_dir):
        try:
            folders = [folder for folder in cache.glob("models--*") if any(folder.glob("snapshots/*/config.json"))]
        except OSError:
            continue
        found.update(folder.name.removeprefix("models--").replace("--", "/", 1) for folder in folders)
    return sorted(found)


def resolve(
    model: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: bool | str | None = None,
) -> ResolvedModel:
    """Find the folder of a model, as sentence-transformers does, without importing `huggingface_hub`.

    An existing folder wins; then the embedded model by its names; then a Hugging Face id in the local cache. A name
    without "/" is also tried as `sentence-transformers/<name>`.

    Args:
        model: Path of a model folder, name of the embedded model, or Hugging Face id.
        revision: Branch, tag or full commit hash of a Hugging Face id; `main` unless given.
        cache_dir: Cache folder to use in place of the ones the environment names.
        local_files_only: Accepted for later versions; this one never downloads.
        token: Accepted for later versions; not used.

    Returns:
        The folder and the name to show.

    Raises:
        ModelNotFoundError: Nothing is there; the message lists the places that were searched and what would work.
        TypeError: `model` is neither a string nor a path.

    Example:
        >>> resolve("all-MiniLM-L6-v2").name
        'all-MiniLM-L6-v2'
    """
    del local_files_only, token  # nothing is downloaded
    if not isinstance(model, str | os.PathLike):
        raise TypeError(f"model must be a str or a path, not {type(model).__name__}")
    given = os.fspath(model)
    if not isinstance(given, str):
        raise TypeError("model must be a str or a path of str, not of bytes")
    if not given.strip() or "\0" in given:
        problem = "it is empty" if not given.strip() else "it contains a NUL character"
        raise ModelNotFoundError(f"{given!r} is not the name of a model: {problem}. {_what_works()}")
    embedded = embedded_folder() if given in _EMBEDDED_NAMES and revision is None else None
    path = _existing_folder(given, only_models=embedded is not None)
    if path is not None:
        return ResolvedModel(str(path), path.name, is_path=True)
    if embedded is not None and isinstance(model, str):
        return ResolvedModel(str(embedded), EMBEDDED_MODEL)
    if not isinstance(model, str) or not _MODEL_ID.fullmatch(given) or ".." in given or "--" in given:
        raise ModelNotFoundError(
            f"there is no folder {given!r} (looked for {Path(given).expanduser().absolute()}), "
            f"and this is not a Hugging Face id. {_what_works()}"
        )
    return _from_cache(given, revision, cache_dir)


def _existing_folder(given: str, *, only_models: bool) -> Path | None:
    path = Path(given).expanduser() if given.startswith("~") else Path(given)
    try:
        if path.is_file() and not only_models:
            raise ModelNotFoundError(f"{given!r} is a file; pass the model folder that contains it")
        if not path.is_dir() or (only_models and not any((path / name).is_file() for name in _MODEL_FILES)):
            return None
    except OSError as error:  # a name too long for the file system, a folder we may not enter
        reason = error.strerror or str(error)
        raise ModelNotFoundError(f"{given[:200]!r} cannot be looked up: {reason}. {_what_works()}") from error
    return path.absolute() if path.name not in ("", "..") else path.resolve()


def _from_cache(model: str, revision: str | None, cache_dir: str | os.PathLike[str] | None) -> ResolvedModel:
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision or revision.endswith("/")):
        raise ModelNotFoundError(f"{revision!r} is not a revision: expected a branch, a tag or a full commit hash")
    wanted = revision or "main"
    ids = [model] if "/" in model else [f"{_DEFAULT_ORGANIZATION}/{model}", model]
    looked: list[str] = []
    for cache in cache_folders(cache_dir):
        for model_id in ids:
            repository = cache / f"models--{model_id.replace('/', '--')}"
            folder = _snapshot(repository, wanted)
            if folder is not None:
                return ResolvedModel(str(folder), model_id)
            looked.append(f"{repository} ({_what_is_there(repository, wanted)})")
    hint = ids[0] if revision is None else f"{ids[0]} --revision {revision}"
    raise ModelNotFoundError(
        f"model {model!r} was not found. There is no such folder here, it is not the embedded model "
        f"({EMBEDDED_MODEL}), and it is not in the local Hugging Face cache; looked for: {'; '.join(looked)}. "
        f"This version does not download. Pass the path of a model folder, or run: hf download {hint}"
    )


def _snapshot(repository: Path, revision: str) -> Path | None:
    """The snapshot folder of a revision, if the cache holds it."""
    commit = revision
    if not _COMMIT.fullmatch(revision):
        try:
            commit = (repository / "refs" / revision).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
        if not _COMMIT.fullmatch(commit):
            return None
    folder = repository / "snapshots" / commit
    return folder if folder.is_dir() else None


def _what_is_there(repository: Path, revision: str) -> str:
    if not repository.is_dir():
        return "no such folder"
    if not _COMMIT.fullmatch(revision) and not (repository / "refs" / revision).is_file():
        refs = sorted(path.name for path in (repository / "refs").glob("*"))
        return f"it has no revision {revision!r}; it has {', '.join(refs) or 'none'}"
    return f"its snapshot of revision {revision!r} is missing: an unfinished download?"


def _what_works() -> str:
    return (
        "Pass the path of a model folder, the id of a model in the local Hugging Face cache (such as "
        f"'BAAI/bge-small-en-v1.5', put there by `hf download ID`), or nothing for the embedded {EMBEDDED_MODEL}."
    )
