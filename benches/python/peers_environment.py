"""The environments of `peers.py`: a virtual environment a peer, below one folder, made once and kept.

An environment is made again where its requirements changed, and otherwise used as it is, so that an installation which
was interrupted goes on where it stopped. Packages come from where pip is configured to take them. On Linux PyPI's torch
brings NVIDIA's libraries, 5 GB; `PIP_EXTRA_INDEX_URL` with PyTorch's index of CPU builds spares them. The environments
that need torch share one copy: a layer below them.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[2] / "python"
MADE = "made.json"
FAILED = "failed.txt"


class PeerError(Exception):
    """Why a peer has no figures, in one line."""


@dataclass(frozen=True)
class Environment:
    """Packages from a registry, over those of other environments; or a Rust program.

    Lower bounds are the versions that the programs here were written for; upper bounds keep the next major version,
    which may be another interface, from breaking them. Between the two the reader gets what `pip install` gives today.
    """

    name: str
    requirements: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    with_package: bool = False
    macs_only: bool = False
    # What follows `cargo`; the program it makes is `binary`, relative to the environment's folder.
    cargo: tuple[str, ...] = ()
    binary: str = ""


def last_line(text: str, otherwise: str) -> str:
    """The last line with something in it; what pip says last are often hints, so its last error where it has one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or [otherwise])[-1]


def size(folder: Path) -> int:
    """Bytes of the files below `folder`, without what Python compiles as it goes and without pip itself."""
    total = 0
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name not in ("__pycache__", "pip") and not name.startswith("pip-")]
        total += sum((Path(parent) / file).stat().st_size for file in files if not file.endswith(".log"))
    return total


def made(environment: Environment) -> dict[str, Any]:
    """What an environment is made of; where it differs, the environment is made anew."""
    return {
        "requirements": list(environment.requirements),
        "layers": list(environment.layers),
        "cargo": list(environment.cargo),
        "python": sys.version,
    }


class Environments:
    """The environments below `folder`, made when they are first asked for."""

    def __init__(self, folder: Path, known: Mapping[str, Environment], *, may_install: bool) -> None:
        self.folder = folder
        self.known = known
        self.may_install = may_install
        self.failed: dict[str, PeerError] = {}
        self.here: set[str] = set()

    def python(self, name: str) -> Path:
        """The interpreter of an environment; raises PeerError where it cannot be had."""
        if name in self.failed:
            raise self.failed[name]
        try:
            self._ensure(self.known[name])
        except PeerError as error:
            self.failed[name] = error
            raise
        return self._python(name)

    def binary(self, name: str) -> Path:
        """The Rust program of an environment; raises PeerError where it cannot be had."""
        self.python(name)
        return (self.folder / name / self.known[name].binary).with_suffix(".exe" if os.name == "nt" else "")

    def bytes_of(self, name: str) -> int | None:
        """What an environment takes on disk, its layers included, the interpreter not; None of one not made here."""
        if name in self.here:
            return None
        environment = self.known[name]
        if environment.cargo:
            return self.binary(name).stat().st_size
        own = size(self._packages(name)) + sum(size(self._packages(layer)) for layer in environment.layers)
        return own + (size(PACKAGE / "oxembed") if environment.with_package else 0)

    def _python(self, name: str) -> Path:
        if name in self.here:
            return Path(sys.executable)
        folder = self.folder / name
        return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"

    def _packages(self, name: str) -> Path:
        base = str(self.folder / name)
        return Path(sysconfig.get_path("purelib", "venv", {"base": base, "platbase": base}))

    def _ensure(self, environment: Environment) -> None:
        if environment.macs_only and (platform.system(), platform.machine()) != ("Darwin", "arm64"):
            raise PeerError(f"for Macs with Apple silicon; this is {platform.system()} on {platform.machine()}")
        for layer in environment.layers:
            self.python(layer)
        if not self._is_made(environment):
            if environment.with_package and not self.may_install:
                # The Python that this runs with has what the package needs.
                self.here.add(environment.name)
            else:
                self._make(environment)
        elif environment.cargo[:1] == ("build",) and self.may_install:
            # cargo itself knows what has changed in sources of this repository.
            self._build(environment)

    def _is_made(self, environment: Environment) -> bool:
        stamp = self.folder / environment.name / MADE
        return stamp.exists() and json.loads(stamp.read_text(encoding="utf-8")) == made(environment)

    def _make(self, environment: Environment) -> None:
        folder = self.folder / environment.name
        failed = folder / FAILED
        if not self.may_install:
            before = (
                failed.read_text(encoding="utf-8") if failed.exists() else "not installed: --skip-install was given"
            )
            raise PeerError(before)
        sys.stderr.write(f"installing {environment.name} ...\n")
        if folder.exists() and not environment.cargo:
            shutil.rmtree(folder)
        venv.create(folder, with_pip=True)
        below = [self._packages(layer) for layer in environment.layers]
        (self._packages(environment.name) / "layers.pth").write_text("".join(f"{path}\n" for path in below))
        try:
            self._install(environment)
            self._build(environment)
        except PeerError as error:
            failed.write_text(str(error), encoding="utf-8")
            raise
        (folder / MADE).write_text(json.dumps(made(environment)), encoding="utf-8")

    def _install(self, environment: Environment) -> None:
        if environment.requirements:
            # The wheels of torch alone would double what lies on the disk.
            command = [str(self._python(environment.name)), "-m", "pip", "install", "--quiet", "--no-cache-dir"]
            self._do(environment, [*command, *environment.requirements])

    def _build(self, environment: Environment) -> None:
        if environment.cargo:
            folder = self.folder / environment.name
            self._do(environment, ["cargo", *(part.format(folder=folder) for part in environment.cargo)])

    def _do(self, environment: Environment, command: list[str]) -> None:
        temporary = self.folder / "temporary"
        temporary.mkdir(parents=True, exist_ok=True)
        variables = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))}
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
        except OSError as error:
            raise PeerError(f"not installed: there is no {command[0]}: {error.strerror}") from error
        if done.returncode != 0:
            (self.folder / environment.name / "install.log").write_text(done.stdout + done.stderr, encoding="utf-8")
            raise PeerError(f"not installed: {last_line(done.stderr, f'{command[0]} said nothing')}")
