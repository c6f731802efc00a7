"""Count the unsafe code of oxembed's sources, file by file, or say whether docs/unsafe.md has it right.

    python tools/unsafe_code.py             print the counts
    python tools/unsafe_code.py --check     does the table of docs/unsafe.md have each file and its counts?

Counted are blocks (`unsafe { … }`), functions (`unsafe fn`), and implementations and traits (`unsafe impl`, `unsafe
trait`). A macro is counted as it is written, once. Clippy holds each block to a SAFETY comment. Exit status: 0, or 1
with what is wrong.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import astuple, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "unsafe.md"

# What is not code: comments (those of blocks may hold others), texts, plain and raw, and single characters.
NOT_CODE = re.compile(
    r"""//[^\n]*"""
    r"""|/\*(?:[^*/]|\*(?!/)|/(?!\*)|/\*(?:[^*]|\*(?!/))*\*/)*\*/"""
    r"""|b?r(?P<fence>\#*)".*?"(?P=fence)"""
    r"""|b?"(?:[^"\\]|\\.)*\""""
    r"""|b?'(?:[^'\\\n]|\\(?:.[^'\n]*))'""",
    re.DOTALL,
)
BLOCK = re.compile(r"\bunsafe\s*\{")
# A type of functions (`unsafe fn(…)`) is not a function; one with a name is.
FUNCTION = re.compile(r"""\bunsafe\s+(?:extern\s+(?:""\s*)?)?fn\s+[\w$]""")
PROMISE = re.compile(r"\bunsafe\s+(?:impl|trait)\b")
ROW = re.compile(r"^\| `(src/[\w/]+\.rs)` \| (\d+) \| (\d+) \| (\d+) \| (.+) \|$", re.MULTILINE)
TOTAL = re.compile(r"^\| all \| (\d+) \| (\d+) \| (\d+) \|", re.MULTILINE)


@dataclass(frozen=True)
class Count:
    """How much unsafe code there is."""

    blocks: int = 0
    functions: int = 0
    promises: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


def count(source: str) -> Count:
    """Count the unsafe code of a file.

    Example:
        >>> count('unsafe fn f() { unsafe { g("unsafe {") } } // unsafe {}')
        Count(blocks=1, functions=1, promises=0)
    """
    code = NOT_CODE.sub('""', source)
    return Count(len(BLOCK.findall(code)), len(FUNCTION.findall(code)), len(PROMISE.findall(code)))


def sources(root: Path) -> dict[str, Count]:
    """The files below src/ that have unsafe code."""
    found = {
        path.relative_to(root).as_posix(): count(path.read_text(encoding="utf-8"))
        for path in sorted((root / "src").rglob("*.rs"))
    }
    return {name: counted for name, counted in found.items() if counted != Count()}


def problems(page: str, counted: dict[str, Count]) -> list[str]:
    """What the page has wrong."""
    rows = {name: Count(*map(int, numbers)) for name, *numbers, _reason in ROW.findall(page)}
    found = [f"docs/unsafe.md lacks {name}: {counted[name]}" for name in sorted(counted.keys() - rows.keys())]
    found += [f"docs/unsafe.md has {name}, which has no unsafe code" for name in sorted(rows.keys() - counted.keys())]
    found += [
        f"docs/unsafe.md says {rows[name]} of {name}, which has {counted[name]}: read it again, and say why it holds"
        for name in sorted(rows.keys() & counted.keys())
        if rows[name] != counted[name]
    ]
    total = sum(counted.values(), Count())
    said = [Count(*map(int, numbers)) for numbers in TOTAL.findall(page)]
    if said != [total]:
        found.append(f"docs/unsafe.md says {said} of all files, which have {total}")
    return found


def main() -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description="Count the unsafe code of oxembed's sources.")
    parser.add_argument("--check", action="store_true", help="does docs/unsafe.md have it right?")
    arguments = parser.parse_args()
    counted = sources(ROOT)
    if not arguments.check:
        for name, found in [*counted.items(), ("all", sum(counted.values(), Count()))]:
            print(f"{name:<40} {found.blocks:>4} blocks {found.functions:>4} functions {found.promises:>4} promises")
        return 0
    wrong = problems(PAGE.read_text(encoding="utf-8"), counted)
    for problem in wrong:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
