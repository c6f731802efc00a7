"""Coverage of the Rust core and the Python package together, out of lcov files: a table, and is it enough?

    python tests/coverage_report.py RUST.lcov PYTHON.lcov
    python tests/coverage_report.py RUST.lcov PYTHON.lcov --minimum 90 --lowest 30 --json coverage.json

Exit status: 0 where each language and both together reach the minimum; 1 where one does not, or nothing was measured.

Only the product's own lines count, not the tests that stand in a module's file. What this machine cannot run whatever
is tested (instructions its processor lacks) is listed by itself, with the reason, and counts on neither side.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Tests that have a file or a folder of their own.
_TEST_FILE = re.compile(r"(^|/)tests/|(^|/)(\w+_)?tests\.rs$")
# Tests at the end of a module's file: rustfmt puts the closing brace of an outermost item into the first column.
_TEST_MODULE = re.compile(r"^#\[cfg\(test\)\]\n(?:#\[.*\]\n)*mod \w+ \{\n(?:.*\n)*?\}$", re.MULTILINE)

# A file for one set of instructions, and what Linux calls those.
_INSTRUCTIONS = {
    "src/int8/avx2.rs": ("avx2",),
    "src/int8/avx_vnni.rs": ("avx_vnni",),
    "src/int8/avx512.rs": ("avx512vnni", "avx512_vnni"),
    "src/int8/neon.rs": ("asimddp",),
}


@dataclass(frozen=True)
class Measured:
    """The lines of a file that can run, and those of them that did."""

    language: str
    path: str
    lines: frozenset[int]
    covered: frozenset[int]

    @property
    def share(self) -> float:
        """Covered lines in a hundred."""
        return percent(len(self.covered), len(self.lines))


def percent(part: int, whole: int) -> float:
    """`part` in a hundred of `whole`; all of nothing is 100."""
    return 100.0 * part / whole if whole else 100.0


def read_lcov(text: str, root: Path) -> dict[str, dict[int, int]]:
    """How often each line ran, by file; paths are relative to `root`, and what is elsewhere is left out."""
    files: dict[str, dict[int, int]] = {}
    counts: dict[int, int] = {}
    for row in text.splitlines():
        kind, _, rest = row.partition(":")
        if kind == "SF":
            path = (root / rest).resolve()
            inside = path.is_relative_to(root)
            counts = files.setdefault(path.relative_to(root).as_posix(), {}) if inside else {}
        elif kind == "DA":
            line, count = (int(number) for number in rest.split(",")[:2])
            counts[line] = max(counts.get(line, 0), count)
    return files


def lines_of_tests(source: str) -> set[int]:
    """The lines of modules that only tests have."""
    found: set[int] = set()
    for module in _TEST_MODULE.finditer(source):
        first = source.count("\n", 0, module.start()) + 1
        found.update(range(first, first + module[0].count("\n") + 1))
    return found


def measure(language: str, counts: Mapping[str, Mapping[int, int]], root: Path) -> list[Measured]:
    """The product's files, without the lines of tests."""
    measured = []
    for path, lines in sorted(counts.items()):
        if _TEST_FILE.search(path):
            continue
        tests = lines_of_tests((root / path).read_text(encoding="utf-8"))
        own = {line: count for line, count in lines.items() if line not in tests}
        covered = frozenset(line for line, count in own.items() if count > 0)
        measured.append(Measured(language, path, frozenset(own), covered))
    return measured


def processor_flags() -> frozenset[str] | None:
    """What Linux says that the processor can do; `None` where it does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return None
    return frozenset(re.findall(r"[\w]+", " ".join(re.findall(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE))))


def out_of_reach(flags: frozenset[str] | None) -> dict[str, str]:
    """The files that this machine cannot run, and why."""
    if flags is None:
        return {}
    return {
        path: f"instructions that this processor ({platform.machine()}) lacks: {names[0]}"
        for path, names in _INSTRUCTIONS.items()
        if flags.isdisjoint(names)
    }


def totals(files: Sequence[Measured]) -> dict[str, tuple[int, int]]:
    """Covered lines and lines of each language, and of both together."""
    sums: dict[str, tuple[int, int]] = {}
    for file in files:
        for name in (file.language, "together"):
            covered, lines = sums.get(name, (0, 0))
            sums[name] = (covered + len(file.covered), lines + len(file.lines))
    return sums


def report(files: Sequence[Measured], unreachable: Mapping[str, str], lowest: int) -> str:
    """The table: the files with the lowest share, what was left out, and the sums."""
    counted = [file for file in files if file.path not in unreachable]
    rows = ["   share    lines  missing  file"]
    for file in sorted(counted, key=lambda file: (file.share, file.path))[:lowest]:
        missing = len(file.lines) - len(file.covered)
        rows.append(f"  {file.share:5.1f}%  {len(file.lines):7}  {missing:7}  {file.path}")
    rows += [f"  left out: {path}: {reason}" for path, reason in unreachable.items()]
    for name, (covered, lines) in totals(counted).items():
        rows.append(f"{name}: {percent(covered, lines):.2f}% of {lines} lines")
    return "\n".join(rows)


def as_json(files: Sequence[Measured], unreachable: Mapping[str, str]) -> str:
    """The same, with every file and its missing lines."""
    counted = [file for file in files if file.path not in unreachable]
    sums = {
        name: {"covered": covered, "lines": lines, "percent": round(percent(covered, lines), 2)}
        for name, (covered, lines) in totals(counted).items()
    }
    details = {file.path: {"lines": len(file.lines), "missing": sorted(file.lines - file.covered)} for file in files}
    return json.dumps({"totals": sums, "left_out": dict(unreachable), "files": details}, indent=1)


def main() -> int:
    """Report what the two files on the command line hold; return the exit status."""
    parser = argparse.ArgumentParser(description="Coverage of the Rust core and the Python package together.")
    parser.add_argument("rust", type=Path, help="what `cargo llvm-cov report --lcov` wrote")
    parser.add_argument("python", type=Path, help="what `coverage lcov` wrote")
    parser.add_argument("--minimum", type=float, default=90.0, help="least percent of lines, of each and of both")
    parser.add_argument("--lowest", type=int, default=20, help="how many of the least covered files are shown")
    parser.add_argument("--json", type=Path, help="a file for the details")
    arguments = parser.parse_args()
    files = []
    for language, source in (("Rust", arguments.rust), ("Python", arguments.python)):
        counts = read_lcov(source.read_text(encoding="utf-8"), ROOT)
        if not counts:
            print(f"error: {source} has no file of this project: nothing was measured", file=sys.stderr)
            return 1
        files += measure(language, counts, ROOT)
    unreachable = out_of_reach(processor_flags())
    print(report(files, unreachable, arguments.lowest))
    if arguments.json:
        arguments.json.write_text(as_json(files, unreachable), encoding="utf-8")
    sums = totals([file for file in files if file.path not in unreachable])
    short = [name for name, (covered, lines) in sums.items() if percent(covered, lines) < arguments.minimum]
    if short:
        print(f"error: below {arguments.minimum:g}%: {', '.join(short)}", file=sys.stderr)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
