"""Downloading a model into the local Hugging Face cache; the only module that imports `huggingface_hub`.

What makes a download safe to interrupt: files are asked for by commit, so that a branch means its old commit until the
new one is complete; a marker stands from before the first file until after the last check; `tokenizer.json`, which
everything needs, arrives last. What makes it safe to trust: every file is compared with the hash that the hub has.
"""

from __future__ import annotations

import errno
import hashlib
import inspect
import logging
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from oxembed._download_errors import explain
from oxembed._model_files import needed_files, read_settings, stays_inside
from oxembed._snapshots import Snapshot, delete_with_blob, is_commit, repository_of, snapshot_of, write_revision
from oxembed.exceptions import InvalidModelError, ModelNotFoundError, OxembedError

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

_CHUNK_BYTES = 1 << 20
_BAR_BYTES = 100_000
# Errors of the cache's file system, not of the network.
_STORAGE = {errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EPERM, errno.EROFS}
_logger = logging.getLogger("oxembed")


class Request(NamedTuple):
    """What to download, and into which cache."""

    model_ids: Sequence[str]
    revision: str
    cache: Path
    token: bool | str | None
    onnx_file: str | None


class Plan(NamedTuple):
    """What is about to be downloaded."""

    model_id: str
    commit: str
    files: int
    bytes: int
    cache: Path


class Downloaded(NamedTuple):
    """A complete model in the cache."""

    model_id: str
    folder: Path


def download(request: Request, announce: Callable[[Plan], None]) -> Downloaded:
    """Bring what the cache lacks of a model, and check it.

    Args:
        request: What to download. Of its ids, the first that exists is taken.
        announce: Called once what is missing is known, if anything is.

    Raises:
        ModelNotFoundError: The hub does not have it, does not give it, or cannot be reached; or the cache cannot be
            written.
        InvalidModelError: A file is not what the hub says it is, or the repository has no weights that can be used.
    """
    hub = _import()
    endpoint = _endpoint(hub)
    unknown: list[OxembedError] = []
    for model_id in request.model_ids:
        if is_commit(request.revision):  # which cannot change: if all of it is here, nobody has to be asked
            cached = snapshot_of(repository_of(request.cache, model_id), request.revision)
            if cached is not None and cached.problem(request.onnx_file) is None:
                return Downloaded(model_id, cached.folder)
        try:
            return _Transfer(hub, endpoint, model_id, request).run(announce)
        except _Unknown as error:
            unknown.append(error.reason)
    others = [f"{model_id!r} is not there either" for model_id in request.model_ids[1:]]
    raise ModelNotFoundError(". ".join([str(unknown[0]), *others]))


def _import() -> Any:
    try:
        hub = import_module("huggingface_hub")
        for part in ("constants", "errors", "utils"):
            import_module(f"huggingface_hub.{part}")
    except ImportError as error:
        is_missing = error.name == "huggingface_hub"
        raise ModelNotFoundError(
            f"downloading needs the package huggingface_hub, which {'is not installed' if is_missing else 'is broken'}"
            f"{'' if is_missing else f' ({error})'}. Run: pip install "
            f'{"" if is_missing else "--upgrade "}"oxembed[hub]" (or: pip install huggingface_hub)'
        ) from None
    return hub


def _endpoint(hub: Any) -> str:
    """Address of the hub, as the environment has it now; the library reads it once."""
    endpoint = (os.environ.get("HF_ENDPOINT") or str(hub.constants.ENDPOINT)).rstrip("/")
    if not endpoint.startswith(("https://", "http://")):
        raise ModelNotFoundError(f"HF_ENDPOINT={endpoint!r} is no address of a hub, such as 'https://huggingface.co'")
    return endpoint


def _takes_bar(download: Callable[..., str]) -> bool:
    return "tqdm_class" in inspect.signature(download).parameters  # not before version 1


def _hidden(hub: Any) -> type[Any]:
    """A progress bar of the library that is never drawn."""
    base: type[Any] = hub.utils.tqdm

    def start(self: Any, *arguments: Any, **settings: Any) -> None:
        base.__init__(self, *arguments, **{**settings, "disable": True})

    return type("HiddenBar", (base,), {"__init__": start})


class _Unknown(Exception):
    """There is no such repository, as far as the hub tells us; another id may be meant."""

    def __init__(self, reason: OxembedError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Transfer:
    """The download of one repository at one commit."""

    def __init__(self, hub: Any, endpoint: str, model_id: str, request: Request) -> None:
        self._hub = hub
        self._endpoint = endpoint
        self._model_id = model_id
        self._request = request
        info = self._ask()
        self._files = {file.rfilename: file for file in info.siblings or () if stays_inside(file.rfilename)}
        self._snapshot = Snapshot(repository_of(request.cache, model_id), str(info.sha))
        self._marker = self._snapshot.marker(request.onnx_file)
        self._is_suspect = False
        self._new: set[str] = set()

    def _ask(self) -> ModelInfo:
        """What the hub says about the repository: commit, names, sizes and hashes."""
        request = self._request
        api = self._hub.HfApi(endpoint=self._endpoint, token=request.token, library_name="oxembed")
        patience = self._hub.constants.HF_HUB_ETAG_TIMEOUT
        try:
            info: ModelInfo = api.model_info(
                self._model_id, revision=request.revision, files_metadata=True, timeout=patience
            )
        except Exception as error:  # each version of the library has another HTTP client, with other classes
            _logger.debug("asking %s about %s failed", self._endpoint, self._model_id, exc_info=True)
            reason = self._explain(error)
            errors = self._hub.errors
            if isinstance(error, errors.RepositoryNotFoundError) and not isinstance(error, errors.GatedRepoError):
                raise _Unknown(reason) from None
            raise reason from None
        if not is_commit(str(info.sha)):
            raise self._explain(ValueError(f"it gives no commit for {self._model_id}"))
        return info

    def run(self, announce: Callable[[Plan], None]) -> Downloaded:
        """Do it, as the only one who does: another process with the same wish waits, and finds it done."""
        request, snapshot = self._request, self._snapshot
        lock = request.cache / ".locks" / snapshot.repository.name / "oxembed.lock"
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            with self._hub.utils.WeakFileLock(lock):
                self._complete(announce)
                if not is_commit(request.revision):
                    write_revision(snapshot.repository, request.revision, snapshot.commit)
        except OSError as error:
            if isinstance(error, OxembedError):
                raise
            raise ModelNotFoundError(
                f"{self._model_id} cannot be stored in the cache {request.cache}: {error.strerror or error}. Free "
                "space there, or name another folder by cache_dir= or HF_HUB_CACHE"
            ) from error
        return Downloaded(self._model_id, snapshot.folder)

    def _complete(self, announce: Callable[[Plan], None]) -> None:
        self._is_suspect = self._marker.exists()
        snapshot = self._snapshot
        try:
            needed = needed_files(self._files, lambda name: read_settings(self._fetch(name)), self._request.onnx_file)
        except InvalidModelError as error:
            raise InvalidModelError(f"{self._model_id} at {snapshot.commit[:7]} cannot be used: {error}") from None
        missing = [name for name in needed.files if name in self._new or not (snapshot.folder / name).is_file()]
        if missing:
            size = sum(self._files[name].size or 0 for name in missing)
            announce(Plan(self._model_id, snapshot.commit, len(missing), size, self._request.cache))
        for name in needed.files:
            self._fetch(name)
        for absence in map(snapshot.absence, needed.absent):
            absence.parent.mkdir(parents=True, exist_ok=True)
            absence.touch()
        self._marker.unlink(missing_ok=True)

    def _fetch(self, name: str) -> Path:
        """A file of the snapshot: downloaded if it is not there, and checked unless it was there before we began."""
        path = self._snapshot.folder / name
        if path.is_file() and not self._is_suspect:
            return path
        self._marker.parent.mkdir(parents=True, exist_ok=True)
        self._marker.touch()
        if not path.is_file():
            self._new.add(name)
        try:
            self._hub.hf_hub_download(
                self._model_id,
                name,
                revision=self._snapshot.commit,
                cache_dir=self._request.cache,
                endpoint=self._endpoint,
                token=self._request.token,
                library_name="oxembed",
                **self._bar(name),
            )
        except Exception as error:  # as above; the transfer library hf_xet has classes of its own, too
            if isinstance(error, OSError) and error.errno in _STORAGE:
                raise
            _logger.debug("downloading %s of %s failed", name, self._model_id, exc_info=True)
            raise self._explain(error, name) from None
        self._check(path, self._files[name])
        return path

    def _bar(self, name: str) -> dict[str, Any]:
        """No progress bar for a file that is there before anybody has read its name, where the library has a say."""
        size = self._files[name].size
        is_small = size is not None and size < _BAR_BYTES
        return {"tqdm_class": _hidden(self._hub)} if is_small and _takes_bar(self._hub.hf_hub_download) else {}

    def _check(self, path: Path, file: RepoSibling) -> None:
        """Compare a file with the hub's hash: the sha256 of a large file, git's own hash of a small one."""
        if file.lfs is not None:
            expected, digest = str(file.lfs.sha256), hashlib.sha256()
        elif file.blob_id is not None:
            expected, digest = (
                file.blob_id,
                hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False),
            )
        else:
            _logger.warning("%s gives no hash for %s of %s", self._endpoint, file.rfilename, self._model_id)
            return
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
        if digest.hexdigest() != expected:
            delete_with_blob(path)
            raise InvalidModelError(
                f"{file.rfilename} of {self._model_id} is not the file that {self._endpoint} describes: its "
                f"{digest.name} should be {expected}, but is {digest.hexdigest()}. The copy was deleted; run the same "
                "again, and if it fails again, do not trust what lies between here and the hub (mirror, proxy)"
            )

    def _explain(self, error: Exception, name: str | None = None) -> OxembedError:
        return explain(self._hub, error, self._endpoint, self._model_id, self._request.revision, name)
