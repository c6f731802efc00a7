"""Run the Python tests against the installed wheel, in an empty environment that does not see the sources.

    python tests/wheel/run_tests.py dist                                 the one wheel in a folder
    python tests/wheel/run_tests.py FILE.whl --oldest                    with the oldest dependencies it names
    python tests/wheel/run_tests.py dist -- -k readme                    what follows is for pytest
    python tests/wheel/run_tests.py dist --program FILE.py -- --help     another program in place of pytest

Exit status: pytest's or the program's, so 5 where no test ran; 1 where the wheel cannot be installed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

from environment import WheelError, find_distribution, make_environment, outside, run

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "pyproject.toml"

# The tests are read from the checkout and started in it; what they import must not come from there.
WHERE = """
import sys
from pathlib import Path

import oxembed

where = Path(oxembed.__file__).resolve()
sys.exit(None if Path(sys.prefix).resolve() in where.parents else f"imported from {where}, not from the environment")
"""


def oldest_dependencies() -> list[str]:
    """The project's dependencies at the oldest version it accepts: `onnxruntime>=1.24` is `onnxruntime==1.24.*`."""
    dependencies = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    bounds = [re.fullmatch(r"([\w-]+)>=(\d+\.\d+)", dependency) for dependency in dependencies]
    if None in bounds:
        raise WheelError(
            f"{PROJECT}: a dependency is not NAME>=MAJOR.MINOR, so its oldest version is unknown: {dependencies}"
        )
    return [f"{bound[1]}=={bound[2]}.*" for bound in bounds if bound is not None]


def install(wheel: Path, folder: Path, *, oldest: bool) -> Path:
    """Install the wheel and what the tests need below `folder`; return the environment's Python."""
    python = make_environment(folder / "environment") / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--upgrade", "pip>=25.1"], folder, outside())  # the first that knows dependency groups
    wanted = oldest_dependencies() if oldest else []
    binaries = ["--only-binary", ":all:"]
    run([*pip, *binaries, str(wheel), *wanted, "--group", f"{PROJECT}:test"], folder, outside())
    run([str(python), "-c", WHERE], ROOT, outside())
    return python


def main() -> int:
    """Test the wheel named on the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description="Run the Python tests against an installed wheel.",
        epilog="What follows -- is for pytest, or the program.",
    )
    parser.add_argument("wheel", help="a wheel, or a folder with one wheel")
    parser.add_argument("--oldest", action="store_true", help="with the oldest dependencies that the wheel accepts")
    parser.add_argument("--program", help="a Python program to run in place of pytest")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    arguments, others = parser.parse_args(words[:end]), words[end + 1 :]
    with tempfile.TemporaryDirectory(prefix="oxembed tests ", ignore_cleanup_errors=True) as name:
        try:
            wheel = find_distribution(arguments.wheel)
            python = install(wheel, Path(name).resolve(), oldest=arguments.oldest)
        except WheelError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        program = [arguments.program] if arguments.program else ["-m", "pytest", "-p", "no:cacheprovider"]
        command = [str(python), *program, *others]
        # A library of the tests that needs the GIL would turn it on, with a warning that fails what imported it.
        # `check_wheel.py` is where oxembed by itself is seen to leave it off.
        no_gil = {"PYTHON_GIL": "0"} if sysconfig.get_config_var("Py_GIL_DISABLED") else {}
        return subprocess.run(command, cwd=ROOT, env={**outside(), **no_gil}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
