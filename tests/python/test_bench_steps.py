"""`make bench` goes on where it was, and a step that fails does not take the others with it."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

COMMIT = "0123456789ab"
BENCHES = Path(__file__).resolve().parents[2] / "benches" / "python"


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The driver, with two steps of its own in an empty folder."""
    monkeypatch.syspath_prepend(str(BENCHES))
    module = importlib.import_module("steps")
    record = importlib.import_module("record")
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(record, "ROOT", tmp_path)
    monkeypatch.setattr(record, "commit", lambda: COMMIT)
    monkeypatch.setattr(record, "STARTED_FROM", COMMIT)
    script = tmp_path / "step.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(BENCHES)!r}); import record, pathlib\n"
        f"record.STARTED_FROM = {COMMIT!r}; record.commit = lambda: {COMMIT!r}\n"
        "log = pathlib.Path('ran'); log.write_text((log.read_text() if log.exists() else '') + sys.argv[1] + '\\n')\n"
        "if sys.argv[1] == 'broken' and not pathlib.Path('mended').exists(): sys.exit('no such luck')\n"
        "record.write(pathlib.Path(sys.argv[1] + '.json'), sys.argv[1], 'step', 1.0, {})\n"
    )
    made = [module.Step(name, f"python {script} {name}", "a test", takes_onnx=False) for name in ("broken", "right")]
    monkeypatch.setattr(module, "STEPS", tuple(made))
    monkeypatch.setattr(sys, "argv", ["steps.py"])
    return module


def ran(folder: Path) -> list[str]:
    return (folder / "ran").read_text().splitlines()


def test_what_failed_runs_again_and_what_is_done_does_not(
    steps: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert steps.main() == 1
    assert "no such luck" in capsys.readouterr().out
    assert ran(tmp_path) == ["broken", "right"]
    (tmp_path / "mended").touch()
    assert steps.main() == 0
    assert ran(tmp_path) == ["broken", "right", "broken"]
    assert steps.main() == 0
    assert ran(tmp_path) == ["broken", "right", "broken"]


@pytest.mark.parametrize("commit", ["another", f"{COMMIT}+changes", "unknown"])
def test_results_of_other_sources_do_not_count(steps: ModuleType, tmp_path: Path, commit: str) -> None:
    (tmp_path / "mended").touch()
    assert steps.main() == 0
    for name in ("broken", "right"):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "commit": commit}))
    assert steps.main() == 0
    assert ran(tmp_path) == ["broken", "right"] * 2


@pytest.mark.usefixtures("steps")
def test_results_name_the_commit_that_the_step_was_started_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = importlib.import_module("record")
    for now, expected in ((COMMIT, COMMIT), ("another", f"{COMMIT}+changes"), (f"{COMMIT}+changes",) * 2):
        monkeypatch.setattr(record, "commit", lambda now=now: now)
        record.write(tmp_path / "results.json", "step", "python step.py", 1.0, {})
        assert record.read(tmp_path / "results.json").commit == expected


def test_a_step_that_does_not_exist(
    steps: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["steps.py", "--only", "right,wrong"])
    with pytest.raises(SystemExit) as stopped:
        steps.main()
    assert stopped.value.code == 2
    assert "there is no step wrong; there are broken, right" in capsys.readouterr().err
