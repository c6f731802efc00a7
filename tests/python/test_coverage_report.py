"""The report of `make coverage`: does it count the product's lines, both languages, and fail where they are too few?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import script_module

SCRIPT = Path(__file__).resolve().parents[1] / "coverage_report.py"

SOURCE = """\
pub fn half(number: u32) -> u32 {
    number / 2
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::half;

    #[test]
    fn halves() {
        assert_eq!(half(4), 2);
    }
}

pub fn last() {}
"""
RUST_LCOV = """\
SF:{root}/src/half.rs
DA:1,1
DA:2,1
DA:11,1
DA:12,1
DA:16,0
end_of_record
SF:{root}/src/half.rs
DA:16,0
DA:2,0
end_of_record
SF:{root}/src/half/tests.rs
DA:1,1
end_of_record
SF:/elsewhere/registry/other.rs
DA:1,0
end_of_record
"""
PYTHON_LCOV = "SF:python/oxembed/one.py\nDA:1,1,hash\nDA:2,0,hash\nDA:3,5,hash\nend_of_record\n"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, for a project of one Rust and one Python file."""
    module = script_module(SCRIPT)
    root = tmp_path.resolve()
    monkeypatch.setattr(module, "ROOT", root)
    (root / "src" / "half").mkdir(parents=True)
    (root / "python" / "oxembed").mkdir(parents=True)
    (root / "src" / "half.rs").write_text(SOURCE, encoding="utf-8")
    (root / "src" / "half" / "tests.rs").write_text("\n", encoding="utf-8")
    (root / "python" / "oxembed" / "one.py").write_text("a = 1\nb = 2\nc = 3\n", encoding="utf-8")
    (root / "rust.lcov").write_text(RUST_LCOV.format(root=root), encoding="utf-8")
    (root / "python.lcov").write_text(PYTHON_LCOV, encoding="utf-8")
    return module


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    root: Path = script.ROOT
    files = [str(root / "rust.lcov"), str(root / "python.lcov")]
    monkeypatch.setattr(sys, "argv", ["coverage_report.py", *files, *arguments])
    status: int = script.main()
    return status


def test_both_languages_are_counted_without_tests_and_other_crates(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # By hand: Rust has lines 1, 2 and 16, of which 16 did not run; Python 1, 2, 3, of which 2 did not. 4 of 6 in all.
    report = script.ROOT / "coverage.json"
    assert run(script, monkeypatch, "--minimum", "66", "--json", str(report)) == 0
    shown = capsys.readouterr().out
    assert "Rust: 66.67% of 3 lines" in shown
    assert "together: 66.67% of 6 lines" in shown
    written = json.loads(report.read_text(encoding="utf-8"))
    assert written["totals"]["Python"] == {"covered": 2, "lines": 3, "percent": 66.67}
    assert written["files"] == {
        "src/half.rs": {"lines": 3, "missing": [16]},
        "python/oxembed/one.py": {"lines": 3, "missing": [2]},
    }


def test_each_language_and_both_have_to_reach_the_minimum(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(script, monkeypatch, "--minimum", "67") == 1
    assert "below 67%: Rust, together, Python" in capsys.readouterr().err
    (script.ROOT / "python.lcov").write_text(PYTHON_LCOV.replace("DA:2,0", "DA:2,1"), encoding="utf-8")
    assert run(script, monkeypatch, "--minimum", "67") == 1  # 5 of 6, but 2 of 3 in Rust
    assert "below 67%: Rust\n" in capsys.readouterr().err


def test_nothing_measured_is_an_error(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (script.ROOT / "python.lcov").write_text("", encoding="utf-8")
    assert run(script, monkeypatch, "--minimum", "0") == 1
    assert "nothing was measured" in capsys.readouterr().err


def test_instructions_that_the_processor_lacks_are_said(script: ModuleType) -> None:
    unreachable = script.out_of_reach(frozenset({"fpu", "avx2"}))
    assert set(unreachable) == {"src/int8/avx_vnni.rs", "src/int8/avx512.rs", "src/int8/neon.rs"}
    assert script.out_of_reach(None) == {}
    measured = [script.Measured("Rust", "src/int8/neon.rs", frozenset({1}), frozenset())]
    table = script.report(measured, unreachable, lowest=5)
    assert "left out: src/int8/neon.rs: instructions that this processor" in table
    assert "Rust: " not in table


def test_the_files_of_instructions_are_there(script: ModuleType) -> None:
    root = SCRIPT.parents[1]
    assert all((root / path).is_file() for path in script._INSTRUCTIONS)
