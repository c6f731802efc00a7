"""Are there advisories for the crates of the lock files, and for the Python packages of locks/?

    python tools/audit.py --crate . --crate tests/provider_plugin

cargo-deny asks RustSec's database, a git repository that it fetches or that it finds where it left it; pip-audit asks
PyPI. Where one of them cannot be had, that is said, and is not a pass. Exit status: 0 for no advisory, 1 for some,
and 3 where something could not be checked and the rest has none.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CLEAN, FOUND, NOT_CHECKED = 0, 1, 3
# What cargo-deny writes where it has no database, or one that it does not trust any more.
NO_DATABASE = ("failed to fetch advisory database", "FETCH_HEAD", "failed to load advisory database", "is stale")


def program(name: str) -> str:
    """The program that a Python package has brought."""
    return str(Path(sysconfig.get_path("scripts"), f"{name}.exe" if os.name == "nt" else name))


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)


def judge_crates(status: int, printed: str) -> tuple[int, str]:
    """What cargo-deny's exit status and output come to."""
    if status == 0:
        return CLEAN, "no advisory"
    if any(sign in printed for sign in NO_DATABASE):
        return NOT_CHECKED, f"NOT CHECKED: RustSec's database could not be had\n{printed}"
    return FOUND, printed


def judge_packages(status: int, printed: str, problem: str) -> tuple[int, str]:
    """What pip-audit's exit status and JSON come to. It passes where PyPI knows no package; here that is no pass."""
    try:
        packages = json.loads(printed)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return NOT_CHECKED, f"NOT CHECKED: PyPI's database could not be asked (status {status})\n{problem}"
    found = [
        f"{package['name']} {package['version']}: {hole['id']}, mended in {hole['fix_versions'] or 'no version'}"
        for package in packages
        for hole in package.get("vulns", [])
    ]
    skipped = [f"{package['name']}: {package['skip_reason']}" for package in packages if "skip_reason" in package]
    if found:
        return FOUND, "\n".join(found + skipped)
    if skipped or not packages or status != 0:
        listed = "\n".join(skipped[:3]) or problem
        return NOT_CHECKED, f"NOT CHECKED: PyPI answered for {len(packages) - len(skipped)} packages only\n{listed}"
    return CLEAN, f"no advisory for {len(packages)} packages"


def check_crate(folder: str) -> tuple[int, str]:
    """Ask about one lock file of Rust."""
    command = [program("cargo-deny"), "--config", "deny.toml", "--manifest-path", f"{folder}/Cargo.toml"]
    command += ["--log-level", "error"]
    check = ["check", "-A", "advisory-not-detected", "advisories"]
    done = run([*command, *check])
    status, said = judge_crates(done.returncode, done.stdout + done.stderr)
    if status != NOT_CHECKED:
        return status, said
    # Where it was fetched before, what it said then; cargo-deny refuses one that is older than 90 days.
    done = run([*command, "--offline", *check])
    before, said_before = judge_crates(done.returncode, done.stdout + done.stderr)
    return (status, said) if before == NOT_CHECKED else (before, f"by the database as last fetched: {said_before}")


def check_packages(lock: Path) -> tuple[int, str]:
    """Ask about one lock file of Python."""
    options = ["--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    done = run([program("pip-audit"), "--requirement", str(lock), *options])
    return judge_packages(done.returncode, done.stdout, done.stderr)


def main() -> int:
    """Ask about everything that is locked; return the exit status."""
    parser = argparse.ArgumentParser(description="Are there advisories for what the lock files have?")
    parser.add_argument("--crate", action="append", default=[], help="a folder with a Cargo.lock")
    arguments = parser.parse_args()
    results = [(f"{Path(folder, 'Cargo.lock')}", check_crate(folder)) for folder in arguments.crate]
    results += [(f"locks/{lock.name}", check_packages(lock)) for lock in sorted((ROOT / "locks").glob("*.txt"))]
    for name, (_, said) in results:
        print(f"{name}: {said}", flush=True)
    statuses = {status for _, (status, _) in results}
    return FOUND if FOUND in statuses else NOT_CHECKED if NOT_CHECKED in statuses else CLEAN


if __name__ == "__main__":
    sys.exit(main())
