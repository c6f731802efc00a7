"""The supply chain: locks that fit, advisories that are never taken as absent, unsafe code that is counted."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import script_module
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "locks").glob("*.txt"))
PINNED = re.compile(
    r"^([a-z0-9-]+)==(\S+?)(?: ; .+?)? \\((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+)\n", re.MULTILINE
)


def tool(name: str) -> ModuleType:
    """A script of tools/, which is no package."""
    return script_module(ROOT / "tools" / f"{name}.py")


@pytest.fixture(scope="module")
def lock() -> Any:
    return tool("lock")


@pytest.fixture(scope="module")
def audit() -> Any:
    return tool("audit")


@pytest.fixture(scope="module")
def unsafe_code() -> Any:
    return tool("unsafe_code")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The files that a lock is checked by, to change them."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "locks", tmp_path / "locks")
    return tmp_path


def test_the_locks_fit(lock: Any) -> None:
    assert lock.problems(ROOT) == []


@pytest.mark.parametrize(
    ("old", "new", "stale"),
    [
        ('"pytest>=8.4"', '"pytest>=8.5"', {"dev"}),
        ('"tqdm>=4.66"', '"tqdm>=4.66", "another"', {"package"}),
        ('requires-python = ">=3.11"', 'requires-python = ">=3.12"', {path.stem for path in LOCKS}),
        ('build = ["maturin>=1.12.1,<2"]', 'build = ["maturin>=1.13,<2"]', {"build", "dev"}),
    ],
)
def test_a_lock_of_other_requirements_is_stale(lock: Any, project: Path, old: str, new: str, stale: set[str]) -> None:
    file = project / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    problems = lock.problems(project)
    assert {re.findall(r"locks/([\w-]+)\.txt", problem)[0] for problem in problems} == stale


def test_absent_and_needless_locks_are_told(lock: Any, project: Path) -> None:
    (project / "locks" / "dev.txt").rename(project / "locks" / "other.txt")
    assert lock.problems(project) == ["locks/dev.txt is absent", "locks/other.txt is for nothing"]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_lock_is_exact_and_names_no_index(path: Path) -> None:
    header, _, rest = path.read_text(encoding="utf-8").partition("\n")
    assert header.startswith("# Written by `make lock`")
    assert PINNED.sub("", rest) == ""
    assert "://" not in rest


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_lock_has_what_is_asked_for(lock: Any, path: Path) -> None:
    """By the rules of the package `packaging`, for whatever pyproject.toml says."""
    versions: dict[str, set[str]] = {}
    for name, version, _ in PINNED.findall(path.read_text(encoding="utf-8")):
        versions.setdefault(name, set()).add(version)
    for text in lock.requirements(lock.read_project(ROOT), lock.LOCKS[path.stem]):
        asked = Requirement(text)
        found = versions[re.sub(r"[-_.]+", "-", asked.name).lower()]
        assert all(asked.specifier.contains(version) for version in found), text


def test_a_package_has_one_version_in_all_locks() -> None:
    """But for different Pythons."""
    found: dict[tuple[str, str], set[str]] = {}
    for path in LOCKS:
        for line in re.findall(r"^[a-z0-9-]+==.+$", path.read_text(encoding="utf-8"), re.MULTILINE):
            name, _, rest = line.removesuffix(" \\").partition("==")
            version, _, marker = rest.partition(" ; ")
            found.setdefault((name, path.stem), set()).add(version)
            found.setdefault((name, marker), set())
    names = {name for name, _ in found}
    for name in names:
        each = [versions for (other, _), versions in found.items() if other == name and versions]
        assert all(versions == each[0] for versions in each), name


CLEAN = {"dependencies": [{"name": "one", "version": "1", "vulns": []}]}
HOLE = {"name": "two", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "three", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("status", "printed", "expected"),
    [
        (0, json.dumps(CLEAN), 0),
        (1, json.dumps({"dependencies": [HOLE]}), 1),
        (1, json.dumps({"dependencies": [HOLE, UNKNOWN]}), 1),
        # pip-audit itself ends with 0 here.
        (0, json.dumps({"dependencies": [*CLEAN["dependencies"], UNKNOWN]}), 3),
        (0, json.dumps({"dependencies": []}), 3),
        (1, json.dumps(CLEAN), 3),
        (1, "", 3),
        (2, "usage: pip-audit", 3),
    ],
)
def test_what_was_not_asked_is_not_clean(audit: Any, status: int, printed: str, expected: int) -> None:
    judged, said = audit.judge_packages(status, printed, "the connection was refused")
    assert judged == expected
    assert ("NOT CHECKED" in said) == (expected == 3)


@pytest.mark.parametrize(
    ("status", "printed", "expected"),
    [
        (0, "advisories ok", 0),
        (1, "error[vulnerability]: a hole", 1),
        (1, "[ERROR] failed to fetch advisory database https://example.org with cli", 3),
        (1, "[ERROR] failed to get 'FETCH_HEAD' metadata", 3),
        (1, "anything else", 1),
    ],
)
def test_a_database_that_is_not_there_is_not_clean(audit: Any, status: int, printed: str, expected: int) -> None:
    assert audit.judge_crates(status, printed)[0] == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("fn f() { unsafe { g() } unsafe{h()} }", (2, 0, 0)),
        ('unsafe fn f() {} pub unsafe extern "C" fn g() {} unsafe extern fn h() {}', (0, 3, 0)),
        ("unsafe impl Send for X {} pub unsafe trait T {}", (0, 0, 2)),
        ('type F = unsafe fn(u8); let f: unsafe extern "C" fn() = g;', (0, 0, 0)),
        ("// unsafe { }\n/* unsafe { /* unsafe fn f() */ } */", (0, 0, 0)),
        ('let s = "unsafe { \\" unsafe {"; let r = r#"unsafe { " unsafe {"#;', (0, 0, 0)),
        ("let quote = '\"'; unsafe { f('\\'', '\\u{1F600}') } // \"", (1, 0, 0)),
        ("fn f<'a>(x: &'a str) { unsafe { g(x) } }", (1, 0, 0)),
        ("macro_rules! m { () => { unsafe fn $name() { unsafe { f() } } } }", (1, 1, 0)),
    ],
)
def test_unsafe_code_is_counted(unsafe_code: Any, source: str, expected: tuple[int, int, int]) -> None:
    assert unsafe_code.count(source) == unsafe_code.Count(*expected)


def test_the_page_of_unsafe_code_is_right(unsafe_code: Any) -> None:
    assert unsafe_code.problems(unsafe_code.PAGE.read_text(encoding="utf-8"), unsafe_code.sources(ROOT)) == []


def test_a_page_that_is_wrong_is_told(unsafe_code: Any) -> None:
    page = "| `src/a.rs` | 1 | 0 | 0 | why |\n| `src/gone.rs` | 1 | 0 | 0 | why |\n| all | 2 | 0 | 0 | |\n"
    counted = {"src/a.rs": unsafe_code.Count(2), "src/new.rs": unsafe_code.Count(1)}
    problems = unsafe_code.problems(page, counted)
    told = [name in problem for name, problem in zip(("new", "gone", "a.rs", "all files"), problems, strict=True)]
    assert told == [True] * 4
