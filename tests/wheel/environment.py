"""Empty environments to install a wheel into: what the scripts of this folder share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Names of this project's sources or of another environment would hide what is wrong with the wheel.
_SOURCES = ("PYTHONPATH", "VIRTUAL_ENV")


class WheelError(Exception):
    """The wheel is not what it must be."""


def outside() -> dict[str, str]:
    """The environment variables of this process without those that name sources or another environment."""
    return {name: value for name, value in os.environ.items() if name not in _SOURCES}


def find_distribution(argument: str) -> Path:
    """The wheel or source archive that is meant: the file itself, or the one wheel in a folder."""
    path = Path(argument).resolve()
    files = sorted(path.glob("oxembed-*.whl")) if path.is_dir() else [path]
    if len(files) != 1 or not files[0].is_file():
        raise WheelError(f"{path}: {len(files)} wheels, expected one")
    return files[0]


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        raise WheelError(f"{' '.join(command)}\nexit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def make_environment(folder: Path, *, system_packages: bool = False) -> Path:
    """Make an empty environment in `folder`, or one that sees the system's packages; return its folder of programs."""
    options = ["--system-site-packages"] if system_packages else []
    run([sys.executable, "-m", "venv", *options, str(folder)], folder.parent, outside())
    return folder / ("Scripts" if os.name == "nt" else "bin")
