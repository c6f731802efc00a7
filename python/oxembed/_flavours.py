"""Which builds of ONNX Runtime are installed, and which of them is really there.

All of them put their files into the same folder, `onnxruntime`: the one installed last wins, and pip does not notice.
Removing one of two takes files of both away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from oxembed import _build_facts

_PACKAGE = "onnxruntime"


@dataclass(frozen=True, slots=True)
class Flavour:
    """An installed package that puts files into the folder `onnxruntime`.

    Attributes:
        name: The package's name, such as `"onnxruntime-gpu"`.
        version: Its version.
        folder: The folder that its files are in.
        files: How many files it says it has there.
        missing: How many of them are not there.
        replaced: How many have another size, as another package has written over them.
        in_place: Whether the folder holds this package, by what the folder itself says.
    """

    name: str
    version: str
    folder: str
    files: int
    missing: int
    replaced: int
    in_place: bool


def installed(path: list[str] | None = None) -> list[Flavour]:
    """The flavours that are installed on `path`, which is `sys.path` unless given.

    Example:
        >>> [flavour.name.startswith("onnxruntime") for flavour in installed()]
        [True]
    """
    found: dict[tuple[str, str], Flavour] = {}
    for distribution in distributions() if path is None else distributions(path=path):
        flavour = _flavour(distribution)
        if flavour is not None:
            found.setdefault((flavour.name, flavour.folder), flavour)
    return sorted(found.values(), key=lambda one: (one.folder, one.name))


def remedy(flavours: Iterable[Flavour]) -> str | None:
    """The commands that leave one flavour where several lie in one folder, or mend a broken one; `None` if all is well.

    Example:
        >>> remedy([]) is None
        True
    """
    flavours = list(flavours)
    shared = [one for one in flavours if sum(one.folder == other.folder for other in flavours) > 1]
    if shared:
        names = sorted({one.name for one in shared})
        # The plain one is the one that comes along as somebody's dependency.
        wanted = [name for name in names if name != _PACKAGE] or names
        return f"pip uninstall -y {' '.join(names)} && pip install {wanted[0]}"
    broken = [one for one in flavours if one.missing or one.replaced or not one.in_place]
    return f"pip install --force-reinstall --no-deps {broken[0].name}=={broken[0].version}" if broken else None


def _flavour(distribution: Distribution) -> Flavour | None:
    """A distribution as a flavour, if it has files of ONNX Runtime's package; its name does not say so for sure."""
    name = str(distribution.metadata["Name"])
    if not _normal(name).startswith(("onnxruntime", "ort-")):
        return None
    files = [file for file in distribution.files or [] if file.parts[:1] == (_PACKAGE,) and file.suffix != ".pyc"]
    if not any(file.parts[1:2] == ("capi",) for file in files):
        return None
    folder = Path(str(distribution.locate_file(_PACKAGE)))
    sizes = [(file.size, _size(Path(str(distribution.locate_file(file))))) for file in files]
    return Flavour(
        name=name,
        version=distribution.version,
        folder=str(folder),
        files=len(files),
        missing=sum(size is None for _, size in sizes),
        replaced=sum(None not in (said, size) and said != size for said, size in sizes),
        in_place=_says(folder) in (None, (_normal(name), distribution.version)),
    )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _says(folder: Path) -> tuple[str, str] | None:
    """Name and version of the package whose files the folder holds, as one of them says."""
    facts = _build_facts.read(folder / "capi")
    name, version = facts.get("package_name"), facts.get("__version__")
    return None if name is None or version is None else (_normal(name), version)


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")
