"""Install the wheel into an empty environment and use it as a stranger would: elsewhere, and with no network.

    python tests/wheel/check_wheel.py dist            the one wheel in a folder
    python tests/wheel/check_wheel.py FILE.whl

pip may use the network to fetch the wheel's dependencies; what runs afterwards may not.
Exit status: 0, or 1 with what is wrong.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

MODEL = "oxembed/models/all-MiniLM-L6-v2/"
NEEDED = (
    "oxembed/__init__.py",
    "oxembed/py.typed",
    "oxembed/_core.pyi",
    "oxembed/registry.toml",
    MODEL + "model.safetensors",
    MODEL + "LICENSE",
    MODEL + "calibration.json",
)
# What somebody might expect behind an embedding library, and must not get.
HEAVY = ("torch", "transformers", "sentence-transformers", "scipy")

USE = """
import sys
from pathlib import Path

import numpy as np

import oxembed

where = Path(oxembed.__file__).resolve()
assert Path(sys.prefix).resolve() in where.parents, f"imported from {where}, not from the environment"
model = oxembed.Embedder()
vectors = model.encode(["How do I sort a list?", "Ordering the elements of an array", "A recipe for bread"])
assert vectors.shape == (3, 384) and vectors.dtype == np.float32, (vectors.shape, vectors.dtype)
assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
near, far = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
assert near > far + 0.2, (near, far)
assert model.encode("one").shape == (384,)
assert model.encode("one", precision="int8").dtype == np.int8

from oxembed import registry

assert registry.find("all-MiniLM-L6-v2").dimension == 384
"""

LINES = "The cat sleeps in the sun.\nA backhoe dug up the fibre.\nBread needs flour and water.\n"
QUERY = "a digging machine cuts the network cable"
BEST = "A backhoe dug up the fibre."


class WheelError(Exception):
    """The wheel is not what it must be."""


def find_wheel(argument: str) -> Path:
    """The wheel file that is meant."""
    path = Path(argument).resolve()
    wheels = sorted(path.glob("oxembed-*.whl")) if path.is_dir() else [path]
    if len(wheels) != 1 or not wheels[0].is_file():
        raise WheelError(f"{path}: {len(wheels)} wheels, expected one")
    return wheels[0]


def check_contents(wheel: Path) -> None:
    """Check what is inside: the model and the typing files, each once, and nothing of the repository."""
    if "-abi3-" not in wheel.name:
        raise WheelError(f"{wheel.name} is not an abi3 wheel: it would serve one version of Python")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    problems = [f"lacks {name}" for name in NEEDED if names.count(name) != 1]
    problems += [f"has two {name}" for name in set(names) if names.count(name) > 1]
    problems += [f"has {name}" for name in names if not name.startswith(("oxembed/", "oxembed-", "oxembed.libs/"))]
    problems += [f"has {name}" for name in names if "__pycache__" in name]
    if sum("_core." in name and name.endswith((".so", ".pyd")) for name in names) != 1:
        problems.append("does not have one compiled module")
    if problems:
        raise WheelError(f"{wheel.name} {'; '.join(problems)}")


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


def without_network(home: Path) -> dict[str, str]:
    """An environment in which everything that asks the network or the user's settings for something fails."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "SYSTEMROOT", "TEMP", "TMP", "LANG")}
    closed = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"), closed)
    return {**kept, **proxies, "HF_HUB_OFFLINE": "1", "HOME": str(home), "USERPROFILE": str(home)}


def check_use(wheel: Path, folder: Path) -> None:
    """Install the wheel below `folder` and use it."""
    scripts = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
    python = str(scripts / "python")
    ordinary = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    run([sys.executable, "-m", "venv", "environment"], folder, ordinary)
    run([python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", str(wheel)], folder, ordinary)
    installed = run([python, "-m", "pip", "list", "--format", "freeze"], folder, ordinary).lower().splitlines()
    heavy = [line for line in installed if line.partition("==")[0] in HEAVY]
    if heavy:
        raise WheelError(f"the wheel pulls in {', '.join(heavy)}")
    run([python, "-m", "pip", "check"], folder, ordinary)

    elsewhere = folder / "somewhere else"
    elsewhere.mkdir()
    (elsewhere / "lines.txt").write_text(LINES, encoding="utf-8")
    offline = without_network(elsewhere)
    run([python, "-c", USE], elsewhere, offline)
    command = [str(scripts / "oxembed"), "search", QUERY, "--input", "lines.txt", "--top", "1"]
    found = run(command, elsewhere, offline)
    if BEST not in found:
        raise WheelError(f"{' '.join(command)} found {found!r}, expected {BEST!r}")


def main() -> int:
    """Check the wheel named on the command line; return the exit status."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        wheel = find_wheel(sys.argv[1])
        check_contents(wheel)
        with tempfile.TemporaryDirectory(prefix="oxembed wheel ", ignore_cleanup_errors=True) as folder:
            check_use(wheel, Path(folder).resolve())
    except WheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, works in an empty environment with no network")
    return 0


if __name__ == "__main__":
    sys.exit(main())
