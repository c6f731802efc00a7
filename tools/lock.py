"""Write the lock files of the Python packages that development needs, or say whether they still fit pyproject.toml.

    python tools/lock.py             write locks/*.txt anew, with the newest versions; needs `uv` and the package index
    python tools/lock.py --check     do they fit? needs neither

A lock file has one exact version of every package that one purpose needs, with the hashes of all its files, for every
Python and system at once; pip is told to take nothing else (`--require-hashes`). It names no index: what has the hash
is the file, wherever it came from. Exit status: 0, or 1 with what is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

# The file locks/NAME.txt, and the dependency groups it is for; with no group, the dependencies of the package itself.
# What gets an environment of its own (the peers of benchmarks, the tests of an installed wheel) is not here.
LOCKS: dict[str, tuple[str, ...]] = {
    "pip": ("pip",),
    "package": (),
    "build": ("build",),
    "dev": ("dev",),
    "workflows": ("workflows",),
    "portable": ("portable",),
    "supply-chain": ("supply-chain",),
}
HEADER = "# Written by `make lock` for what pyproject.toml asks for: {digest}\n"


class LockError(Exception):
    """A lock file cannot be written, or does not fit."""


def requirements(project: dict[str, Any], groups: tuple[str, ...]) -> list[str]:
    """What pyproject.toml asks for in these groups and all they include; with no group, what the package depends on."""
    if not groups:
        return sorted(project["project"]["dependencies"])
    found: set[str] = set()
    for group in groups:
        for entry in project["dependency-groups"][group]:
            if isinstance(entry, str):
                found.add(entry)
            else:
                found.update(requirements(project, (entry["include-group"],)))
    return sorted(found)


def digest(project: dict[str, Any], name: str) -> str:
    """Of all that decides what is in a lock file."""
    asked = [requirements(project, LOCKS[name]), project["project"]["requires-python"]]
    return "sha256:" + hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def read_project(root: Path) -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def problems(root: Path) -> list[str]:
    """What is wrong with the lock files below `root`."""
    project = read_project(root)
    folder = root / "locks"
    found = []
    for name in LOCKS:
        file = folder / f"{name}.txt"
        if not file.is_file():
            found.append(f"locks/{name}.txt is absent")
        elif not file.read_text(encoding="utf-8").startswith(HEADER.format(digest=digest(project, name))):
            found.append(f"locks/{name}.txt was made for other requirements than those in pyproject.toml")
    found += [f"locks/{file.name} is for nothing" for file in sorted(folder.glob("*")) if file.stem not in LOCKS]
    return found


def resolve(asked: list[str], python: str, constraints: Path | None, folder: Path) -> str:
    """Exact versions of all that is needed, with hashes, as a requirements file."""
    source, output = folder / "asked.in", folder / "resolved.txt"
    source.write_text("\n".join(asked) + "\n", encoding="utf-8")
    output.unlink(missing_ok=True)
    uv = Path(sysconfig.get_path("scripts"), "uv.exe" if os.name == "nt" else "uv")
    command = [str(uv), "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header", "--no-annotate"]
    command += ["--python-version", python, "--output-file", str(output), str(source)]
    if constraints:
        command += ["--constraint", str(constraints)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        raise LockError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return output.read_text(encoding="utf-8")


def write(root: Path) -> None:
    """Write all lock files; a package has the same version in each."""
    project = read_project(root)
    oldest = project["project"]["requires-python"].removeprefix(">=")
    asked = {name: requirements(project, groups) for name, groups in LOCKS.items()}
    (root / "locks").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        together = folder / "together.txt"
        together.write_text(resolve(sorted(set().union(*asked.values())), oldest, None, folder), encoding="utf-8")
        resolved = {lock: resolve(lines, oldest, together, folder) for lock, lines in asked.items()}
    for lock, text in resolved.items():
        header = HEADER.format(digest=digest(project, lock))
        (root / "locks" / f"{lock}.txt").write_text(header + text, encoding="utf-8", newline="\n")


def main() -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description="Write the lock files of the Python packages, or check them.")
    parser.add_argument("--check", action="store_true", help="only say whether they fit pyproject.toml")
    arguments = parser.parse_args()
    try:
        if not arguments.check:
            write(ROOT)
    except LockError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    wrong = problems(ROOT)
    for problem in wrong:
        print(f"error: {problem}; run `make lock`", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
