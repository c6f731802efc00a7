"""Install the wheel into an empty environment and use it as a stranger would: elsewhere, and with no network.

    python tests/wheel/check_wheel.py dist            the one wheel in a folder
    python tests/wheel/check_wheel.py FILE.whl
    python tests/wheel/check_wheel.py FILE.tar.gz     the wheel that pip makes of a source archive

pip may use the network to fetch the wheel's dependencies; what runs afterwards may not. With --system-packages the
environment is not empty but sees the packages of the operating system, for one whose onnxruntime is its own. With
--schema the bill of materials is held to the schema of CycloneDX as well, by this Python's cyclonedx-python-lib.
Exit status: 0, or 1 with what is wrong.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import zipfile
from pathlib import Path

from bill_of_materials import check_bill
from environment import WheelError, find_distribution, make_environment, outside, run

MODEL = "oxembed/models/all-MiniLM-L6-v2/"
NEEDED = (
    "oxembed/__init__.py",
    "oxembed/py.typed",
    "oxembed/_core.pyi",
    "oxembed/registry.toml",
    MODEL + "model.safetensors",
    MODEL + "LICENSE",
    MODEL + "calibration.json",
    MODEL + "int8.safetensors",
)
# One wheel serves every Python from 3.11 on; free-threaded Pythons before 3.15 have no stable ABI, so one each.
STABLE = re.compile(r"-cp311-abi3-")
FREE_THREADED = re.compile(r"-(cp3\d+)-\1t-")
# What somebody might expect behind an embedding library, and must not get.
HEAVY = ("torch", "transformers", "sentence-transformers", "scipy")

USE = """
import sys
import sysconfig
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
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    assert not sys._is_gil_enabled(), "importing and using oxembed has turned the GIL on"
assert model.encode("one", precision="int8").dtype == np.int8
fast = oxembed.Embedder(dtype="int8")
assert fast.model_info().dtype == "int8" and fast.model_info().quality["passed"]
assert (np.sum(fast.encode(["one", "a second text"]) * model.encode(["one", "a second text"]), axis=1) > 0.998).all()

from oxembed import registry

assert registry.find("all-MiniLM-L6-v2").dimension == 384
"""

LINES = "The cat sleeps in the sun.\nA backhoe dug up the fibre.\nBread needs flour and water.\n"
QUERY = "a digging machine cuts the network cable"
BEST = "A backhoe dug up the fibre."


def check_contents(wheel: Path) -> None:
    """Check what is inside: the model and the typing files, each once, and nothing of the repository."""
    if not STABLE.search(wheel.name) and not FREE_THREADED.search(wheel.name):
        raise WheelError(f"{wheel.name} is neither an abi3 nor a free-threaded wheel: it would serve one Python only")
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


def without_network(home: Path) -> dict[str, str]:
    """An environment in which everything that asks the network or the user's settings for something fails."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "SYSTEMROOT", "TEMP", "TMP", "LANG")}
    closed = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"), closed)
    return {**kept, **proxies, "HF_HUB_OFFLINE": "1", "HOME": str(home), "USERPROFILE": str(home)}


def built(distribution: Path, folder: Path) -> Path:
    """The wheel itself, or the one that pip makes of a source archive and nothing else of the repository."""
    if distribution.suffix == ".whl":
        return distribution
    run([sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(folder), str(distribution)], folder, outside())
    return find_distribution(str(folder))


def check_use(wheel: Path, folder: Path, *, system_packages: bool) -> None:
    """Install the wheel below `folder` and use it."""
    ordinary = outside()
    scripts = make_environment(folder / "environment", system_packages=system_packages)
    python = str(scripts / "python")
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
    """Check the distribution named on the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Install a wheel elsewhere and use it with no network.")
    parser.add_argument("distribution", help="a wheel, a folder with one wheel, or a source archive")
    parser.add_argument("--system-packages", action="store_true", help="see the packages of the operating system")
    parser.add_argument("--schema", action="store_true", help="hold the bill of materials to its schema")
    arguments = parser.parse_args()
    try:
        distribution = find_distribution(arguments.distribution)
        with tempfile.TemporaryDirectory(prefix="oxembed wheel ", ignore_cleanup_errors=True) as name:
            folder = Path(name).resolve()
            wheel = built(distribution, folder)
            size = wheel.stat().st_size / 1e6
            check_contents(wheel)
            check_bill(wheel, schema=arguments.schema)
            check_use(wheel, folder, system_packages=arguments.system_packages)
    except WheelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{distribution.name}: a wheel of {size:.1f} MB, works in an empty environment with no network")
    return 0


if __name__ == "__main__":
    sys.exit(main())
