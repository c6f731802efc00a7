"""Turns what a user calls a model into a folder: a path, the embedded model, or a Hugging Face id.

A model that is complete in the local Hugging Face cache is used without a single request; one that is not is
downloaded, if that is allowed. `oxembed download ID`, or `download` here, fetches the newest revision.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from oxembed._snapshots import Snapshot, repository_of, revisions, snapshot_of, what_is_there
from oxembed.exceptions import ModelNotFoundError

if TYPE_CHECKING:
    from oxembed._download import Plan

__all__ = [
    "EMBEDDED_MODEL",
    "CachedModel",
    "ResolvedModel",
    "cache_folders",
    "cached_models",
    "download",
    "embedded_folder",
    "resolve",
]

EMBEDDED_MODEL = "all-MiniLM-L6-v2"
_DEFAULT_ORGANIZATION = "sentence-transformers"
_EMBEDDED_NAMES = (EMBEDDED_MODEL, f"{_DEFAULT_ORGANIZATION}/{EMBEDDED_MODEL}")
_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_MODEL_ID = re.compile(rf"(?:{_NAME}/)?{_NAME}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]{0,250}")
_MODEL_FILES = ("modules.json", "config.json", "model.safetensors")
_YES = ("1", "ON", "YES", "TRUE")
_logger = logging.getLogger("oxembed")


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


class CachedModel(NamedTuple):
    """One commit of one model in the local Hugging Face cache.

    Attributes:
        name: The Hugging Face id.
        revisions: The branches and tags that mean this commit, as far as the cache knows.
        commit: Full commit hash.
        folder: Path of the files.
        size_bytes: Size of the files; a file that two commits share counts for both.
        problem: Why the files do not make a model that this package loads; `None` where they do.
    """

    name: str
    revisions: tuple[str, ...]
    commit: str
    folder: str
    size_bytes: int
    problem: str | None

    @property
    def is_complete(self) -> bool:
        """Whether this package can load it without a download."""
        return self.problem is None


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
        return [Path(cache_dir).expanduser().absolute()]
    environ = os.environ
    home = environ.get("HF_HOME") or str(Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    hub = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or str(Path(home) / "hub")
    first = environ.get("SENTENCE_TRANSFORMERS_HOME")
    named = [first, hub] if first else [hub]
    return [Path(os.path.expandvars(folder)).expanduser().absolute() for folder in named]


def cached_models(cache_dir: str | os.PathLike[str] | None = None) -> list[CachedModel]:
    """The models in the local Hugging Face cache, complete or not, sorted by name and commit.

    Models of every kind are listed: a cache belongs to all programs. `problem` says which of them this package can use.

    Example:
        >>> cached_models("no-such-cache")
        []
    """
    found: list[CachedModel] = []
    for cache in cache_folders(cache_dir):
        for repository in cache.glob("models--*"):
            names = revisions(repository)
            for folder in filter(Path.is_dir, (repository / "snapshots").glob("*")):
                snapshot = Snapshot(repository, folder.name)
                found.append(
                    CachedModel(
                        name=repository.name.removeprefix("models--").replace("--", "/", 1),
                        revisions=tuple(name for name, commit in names.items() if commit == folder.name),
                        commit=folder.name,
                        folder=str(folder),
                        size_bytes=snapshot.size(),
                        problem=snapshot.problem(),
                    )
                )
    return sorted(found)


def resolve(
    model: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: bool | str | None = None,
    onnx_file: str | None = None,
) -> ResolvedModel:
    """Find the folder of a model, as sentence-transformers does, and download it where there is none.

    An existing folder wins; then the embedded model by its names; then a Hugging Face id that is complete in the local
    cache, for which nobody is asked; then the hub. A name without "/" is taken for `sentence-transformers/<name>`
    first.

    Args:
        model: Path of a model folder, name of the embedded model, or Hugging Face id.
        revision: Branch, tag or full commit hash of a Hugging Face id; `main` unless given.
        cache_dir: Cache folder to use in place of the ones the environment names.
        local_files_only: Never use the network. `HF_HUB_OFFLINE=1` says the same.
        token: Hugging Face token; `True` for the saved one and `False` for none. Unless given, `HF_TOKEN` or the saved
            one is used, if there is one.
        onnx_file: ONNX file that is needed in place of the weights.

    Returns:
        The folder and the name to show.

    Raises:
        ModelNotFoundError: Nothing is there; the message lists what was tried and what would work.
        InvalidModelError: A downloaded file is not what the hub says it is, or the repository has no usable weights.
        TypeError: `model` is neither a string nor a path.

    Example:
        >>> resolve("all-MiniLM-L6-v2").name
        'all-MiniLM-L6-v2'
    """
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
    if not isinstance(model, str) or not _is_model_id(given):
        raise ModelNotFoundError(
            f"there is no folder {given!r} (looked for {Path(given).expanduser().absolute()}), "
            f"and this is not a Hugging Face id. {_what_works()}"
        )
    wanted = _checked(revision)
    looked: list[str] = []
    for cache in cache_folders(cache_dir):
        for model_id in _ids(given):
            repository = repository_of(cache, model_id)
            snapshot = snapshot_of(repository, wanted)
            if snapshot is not None and snapshot.problem(onnx_file) is None:
                return ResolvedModel(str(snapshot.folder), model_id)
            looked.append(f"{repository} ({what_is_there(repository, wanted, onnx_file)})")
    reason = "local_files_only=True" if local_files_only else _offline()
    if reason is not None:
        hint = f"{given} --revision {revision}" if revision is not None else given
        raise ModelNotFoundError(
            f"model {given!r} was not found. There is no such folder here, it is not the embedded model "
            f"({EMBEDDED_MODEL}), and it is not complete in the local Hugging Face cache; looked for: "
            f"{'; '.join(looked)}. Downloads are off by {reason}. With a network, run: oxembed download {hint}. "
            "Without one, pass the path of a model folder; a folder in the cache that you know to be complete will do"
        )
    return _fetch(given, wanted, cache_dir, token, onnx_file, _log)


def download(
    model_id: str,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: bool | str | None = None,
    onnx_file: str | None = None,
    announce: Callable[[Plan], None] | None = None,
) -> Path:
    """Download a model, or bring the local Hugging Face cache up to its newest revision.

    Only what the model needs is downloaded: its settings, its tokenizer and its weights in safetensors (an ONNX file
    where there are none, or where `onnx_file` asks for it), each compared with the hub's hash. An interrupted download
    leaves nothing that loads; the next one goes on from the files that are complete. Needs the package
    `huggingface_hub`, whose settings count, among them `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_ETAG_TIMEOUT`,
    `HF_HUB_DOWNLOAD_TIMEOUT` and `HF_HUB_DISABLE_PROGRESS_BARS`. A progress bar for each file is shown on a terminal.

    Args:
        model_id: Hugging Face id; without an organization, one of `sentence-transformers`.
        revision: Branch, tag or commit hash; `main` unless given.
        cache_dir: Cache folder to use in place of the one the environment names.
        token: Hugging Face token; `True` for the saved one and `False` for none. Unless given, `HF_TOKEN` or the saved
            one is used, if there is one.
        onnx_file: ONNX file to download in place of the weights, relative to the transformer's folder.
        announce: Called with what is about to be downloaded, if anything is.

    Returns:
        The model's folder in the cache.

    Raises:
        ModelNotFoundError: Not an id; the hub does not have it, does not give it or cannot be reached; downloads are
            off by `HF_HUB_OFFLINE`; the package is missing.
        InvalidModelError: A file is not what the hub says it is, or the repository has no usable weights.

    Example:
        >>> from oxembed.exceptions import ModelNotFoundError
        >>> try:
        ...     download("not an id")
        ... except ModelNotFoundError as error:
        ...     print(error)
        'not an id' is not a Hugging Face id, such as 'BAAI/bge-small-en-v1.5'
    """
    if not isinstance(model_id, str):
        raise TypeError(f"model_id must be a str, not {type(model_id).__name__}")
    if not _is_model_id(model_id):
        raise ModelNotFoundError(f"{model_id!r} is not a Hugging Face id, such as 'BAAI/bge-small-en-v1.5'")
    reason = _offline()
    if reason is not None:
        raise ModelNotFoundError(f"{model_id} is not downloaded: downloads are off by {reason}. Unset it to download")
    return Path(_fetch(model_id, _checked(revision), cache_dir, token, onnx_file, announce or _log).folder)


def _fetch(
    model: str,
    revision: str,
    cache_dir: str | os.PathLike[str] | None,
    token: bool | str | None,
    onnx_file: str | None,
    announce: Callable[[Plan], None],
) -> ResolvedModel:
    from oxembed import _download

    ids, caches = _ids(model), cache_folders(cache_dir)
    begun = (cache for cache in caches for one in ids if repository_of(cache, one).is_dir())
    request = _download.Request(ids, revision, next(begun, caches[0]), token, onnx_file)
    downloaded = _download.download(request, announce)
    return ResolvedModel(str(downloaded.folder), downloaded.model_id)


def _log(plan: Plan) -> None:
    _logger.info("downloading %s: %d files, %d bytes", plan.model_id, plan.files, plan.bytes)


def _ids(model: str) -> list[str]:
    return [model] if "/" in model else [f"{_DEFAULT_ORGANIZATION}/{model}", model]


def _is_model_id(name: str) -> bool:
    return _MODEL_ID.fullmatch(name) is not None and ".." not in name and "--" not in name


def _checked(revision: str | None) -> str:
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision or revision.endswith("/")):
        raise ModelNotFoundError(f"{revision!r} is not a revision: expected a branch, a tag or a full commit hash")
    return revision or "main"


def _offline() -> str | None:
    """The setting that forbids the network, if one does; by the rules of `huggingface_hub`."""
    name = "HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else "TRANSFORMERS_OFFLINE"
    value = os.environ.get(name, "")
    return f"{name}={value}" if value.upper() in _YES else None


def _existing_folder(given: str, *, only_models: bool) -> Path | None:
    try:
        path = Path(given).expanduser() if given.startswith("~") else Path(given)
    except RuntimeError as error:  # ~name of somebody who has no home here
        raise ModelNotFoundError(f"{given[:200]!r} cannot be looked up: {error} {_what_works()}") from error
    try:
        if path.is_file() and not only_models:
            raise ModelNotFoundError(f"{given!r} is a file; pass the model folder that contains it")
        if not path.is_dir() or (only_models and not any((path / name).is_file() for name in _MODEL_FILES)):
            return None
    except OSError as error:  # a name too long for the file system, a folder we may not enter
        reason = error.strerror or str(error)
        raise ModelNotFoundError(f"{given[:200]!r} cannot be looked up: {reason}. {_what_works()}") from error
    return path.absolute() if path.name not in ("", "..") else path.resolve()


def _what_works() -> str:
    return (
        "Pass the path of a model folder, a Hugging Face id such as 'BAAI/bge-small-en-v1.5', or nothing for the "
        f"embedded {EMBEDDED_MODEL}."
    )
