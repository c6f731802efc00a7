"""The Rust benches are a crate of their own: do they measure what is shipped?"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def versions(lock_file: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for package in read(lock_file)["package"]:
        found.setdefault(package["name"], set()).add(package["version"])
    return found


def test_what_the_benches_share_with_oxembed_has_its_versions() -> None:
    ours, theirs = versions(ROOT / "Cargo.lock"), versions(ROOT / "benches" / "Cargo.lock")
    shared = ours.keys() & theirs.keys()
    assert len(shared) > 50
    # More versions of one name are for what only the benches depend on.
    other = {name: sorted(ours[name]) for name in shared if not theirs[name] & ours[name]}
    assert other == {}, "in benches: cargo update NAME --precise VERSION"


def test_the_benches_depend_on_all_that_oxembed_is_made_of() -> None:
    ours, theirs = read(ROOT / "Cargo.toml"), versions(ROOT / "benches" / "Cargo.lock")
    needed = {
        name
        for name, wanted in ours["dependencies"].items()
        if not isinstance(wanted, dict) or not wanted.get("optional")
    }
    locked = versions(ROOT / "Cargo.lock")
    assert len(needed) > 10
    assert {name: locked[name] for name in needed if not locked[name] <= theirs.get(name, set())} == {}


@pytest.mark.parametrize("profile", ["release", "dev"])
def test_the_benches_are_built_as_oxembed_is(profile: str) -> None:
    ours, theirs = read(ROOT / "Cargo.toml"), read(ROOT / "benches" / "Cargo.toml")
    assert theirs["profile"][profile] == ours["profile"][profile]
    assert theirs["package"]["rust-version"] == ours["package"]["rust-version"]
