"""The local Hugging Face cache: which models it holds, and whether all of a model is there.

The layout is that of `huggingface_hub`, whose documentation describes it: `models--ORG--NAME/refs/REVISION` holds a
commit, `snapshots/COMMIT/` the files of it, mostly links to `blobs/`, and `.no_exist/COMMIT/` empty files with names
that were asked for and are not in the repository. Nothing there says that a snapshot is complete, so it is read.

Beside that, `.oxembed-unfinished/` holds one empty file for each download of ours that has begun and not ended.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import quote

from oxembed._model_files import needed_files, read_settings
from oxembed.exceptions import InvalidModelError

_UNFINISHED = ".oxembed-unfinished"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_commit(revision: str) -> bool:
    """Whether a revision is a full commit hash, which never comes to mean something else."""
    return _COMMIT.fullmatch(revision) is not None


class Snapshot(NamedTuple):
    """The files of one commit of one repository, as far as they are in the cache.

    Attributes:
        repository: The repository's folder in the cache.
        commit: Full commit hash.
    """

    repository: Path
    commit: str

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self.repository / "snapshots" / self.commit

    def marker(self, onnx_file: str | None) -> Path:
        """The file that is there while a download is unfinished."""
        name = self.commit if onnx_file is None else f"{self.commit}-{quote(onnx_file, safe='')}"
        return self.repository / _UNFINISHED / name

    def problem(self, onnx_file: str | None = None) -> str | None:
        """Why this snapshot cannot be used as it is; `None` where it can."""
        if not self.folder.is_dir():
            return "its folder is missing: an unfinished download?"
        if self.marker(onnx_file).exists():
            return "a download was interrupted"
        here, listing = self._files(), self._listing()
        try:
            needed = needed_files(here if listing is None else listing, self._read, onnx_file)
        except FileNotFoundError as error:
            return f"it lacks {Path(error.filename).name}"
        except (InvalidModelError, OSError) as error:
            return str(error).partition(". ")[0]  # what follows is advice about the repository, not the cache
        if missing := [name for name in needed.files if name not in here]:
            return f"it lacks {', '.join(missing)}"
        # Programs that want token embeddings leave out modules.json, without which the pooling would be another.
        if listing is None and (unclear := [name for name in needed.absent if not self.absence(name).exists()]):
            return f"it lacks {', '.join(unclear)}, and nothing in the cache says whether the model has that"
        return None

    def size(self) -> int:
        """Bytes of the files."""
        return sum((self.folder / name).stat().st_size for name in self._files())

    def _files(self) -> set[str]:
        """Names of the files that are there; a link to a missing blob is not."""
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}

    def _read(self, name: str) -> bytes:
        return read_settings(self.folder / name)

    def _listing(self) -> set[str] | None:
        """All names in the repository, where `huggingface_hub` has kept them (its version 1 and later)."""
        try:
            tree: object = json.loads((self.repository / "trees" / f"{self.commit}.json").read_bytes())
        except (OSError, ValueError):
            return None
        files = cast("dict[str, object]", tree).get("files") if isinstance(tree, dict) else None
        return set(cast("dict[str, object]", files)) if isinstance(files, dict) else None

    def absence(self, name: str) -> Path:
        """The empty file that says that the repository has no file of that name."""
        return self.repository / ".no_exist" / self.commit / name


def repository_of(cache: Path, model_id: str) -> Path:
    """The folder of a repository in a cache."""
    return cache / f"models--{model_id.replace('/', '--')}"


def snapshot_of(repository: Path, revision: str) -> Snapshot | None:
    """What a branch, a tag or a commit means in the cache, if it holds the name."""
    if is_commit(revision):
        return Snapshot(repository, revision) if (repository / "snapshots" / revision).is_dir() else None
    try:
        commit = (repository / "refs" / revision).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return Snapshot(repository, commit) if is_commit(commit) else None


def what_is_there(repository: Path, revision: str, onnx_file: str | None) -> str:
    """Why a revision cannot be taken from the cache, in words."""
    if not repository.is_dir():
        return "no such folder"
    snapshot = snapshot_of(repository, revision)
    if snapshot is not None:
        return snapshot.problem(onnx_file) or "complete"
    if is_commit(revision):
        return f"it has no snapshot {revision}"
    if (repository / "refs" / revision).is_file():
        return f"its revision {revision!r} is unreadable: an unfinished download?"
    if any((repository / _UNFINISHED).glob("*")):
        return "a download was interrupted"
    return f"it has no revision {revision!r}; it has {', '.join(revisions(repository)) or 'none'}"


def revisions(repository: Path) -> dict[str, str]:
    """The branches and tags that the cache knows, each with its commit."""
    refs = repository / "refs"
    found: dict[str, str] = {}
    for path in sorted(refs.rglob("*")):
        name = path.relative_to(refs).as_posix()
        is_revision = path.is_file() and path.suffix != ".tmp"
        snapshot = snapshot_of(repository, name) if is_revision else None
        if snapshot is not None:
            found[name] = snapshot.commit
    return found


def write_revision(repository: Path, revision: str, commit: str) -> None:
    """Let a branch or tag mean a commit from now on; readers see the old one or the new one."""
    path = repository / "refs" / revision
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}.tmp")
    temporary.write_text(commit, encoding="ascii")
    temporary.replace(path)


def delete_with_blob(path: Path) -> None:
    """Delete a file of a snapshot, and what it links to."""
    while path.is_symlink():
        target = path.parent / path.readlink()
        path.unlink()
        path = target
    path.unlink(missing_ok=True)
