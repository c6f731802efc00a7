"""The CI workflows, which run elsewhere: do they call what is here, pin what they use, and is nothing left out?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
GATE = "all-green"

# What a step may run beside make: it prepares the machine, or is what CI is everywhere.
PREPARING = (
    "rustup update stable",
    "rustup toolchain install nightly --profile minimal",
    "sudo apt-get update && sudo apt-get install --yes ",
    "bash .ci/run",
)
# There is no make on every Windows: there, the commands that the Makefile has.
ON_WINDOWS = (
    "git config --global core.symlinks true",
    "python -m pip install ",
    "python -m maturin build ",
    "python tests/",
)

Job = dict[str, Any]


def jobs(workflow: Path) -> dict[str, Job]:
    loaded: dict[str, dict[str, Job]] = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    return loaded["jobs"]


def all_jobs() -> Iterator[tuple[str, Job]]:
    for workflow in WORKFLOWS:
        for name, job in jobs(workflow).items():
            yield f"{workflow.name}: {name}", job


def commands() -> list[tuple[str, str, bool]]:
    """The job, the line, and whether it is run on Windows; without the gate, which runs nothing of the repository."""
    return [
        (where, line, "windows" in where)
        for where, job in all_jobs()
        for step in job.get("steps", [])
        for line in step.get("run", "").splitlines()
        if not where.endswith(GATE)
    ]


def expanded(text: str, job: Job) -> set[str]:
    """A text with each row of the job's matrix filled in."""
    found = set()
    for row in job.get("strategy", {}).get("matrix", {}).get("include", [{}]):
        filled = text
        for name, value in row.items():
            filled = filled.replace(f"${{{{ matrix.{name} }}}}", value)
        found.add(filled)
    return found


def artifacts(action: str) -> set[str]:
    """Names of the artifacts that the steps of wheels.yml with this action name."""
    return {
        name
        for job in jobs(ROOT / ".github" / "workflows" / "wheels.yml").values()
        for step in job.get("steps", [])
        if step.get("uses", "").startswith(action)
        for name in expanded(step["with"]["name"], job)
    }


def test_there_are_workflows() -> None:
    assert {path.name for path in WORKFLOWS} >= {"ci.yml", "wheels.yml", "release.yml"}
    assert len(commands()) > 10
    assert "test" in TARGETS


@pytest.mark.parametrize(("where", "line", "windows"), commands())
def test_every_step_calls_what_is_here(where: str, line: str, windows: bool) -> None:
    if line.startswith("make "):
        words = [word for word in line.split()[1:] if "=" not in word]
        assert words, f"{where}: `{line}` names no target"
        assert set(words) <= TARGETS, f"{where}: the Makefile has no {set(words) - TARGETS}"
    else:
        allowed = PREPARING + (ON_WINDOWS if windows else ())
        assert line.startswith(allowed), (
            f"{where}: `{line}` is no make target, so nobody can run it before it is pushed"
        )
    for path in re.findall(r"\S+/\S+\.(?:py|sh)", line):
        assert (ROOT / path).is_file(), f"{where}: there is no {path}"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_hash(workflow: Path) -> None:
    used = re.findall(r"^\s*(?:- )?uses: (.+)$", workflow.read_text(encoding="utf-8"), re.MULTILINE)
    for reference in used:
        if reference.startswith("$/"):
            assert (ROOT / reference.removeprefix("$/")).is_file(), reference
        else:
            assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", reference), reference


def test_an_action_has_one_version() -> None:
    versions: dict[str, set[str]] = {}
    for workflow in WORKFLOWS:
        for action, rest in re.findall(r"uses: ([\w./-]+)@(.+)", workflow.read_text(encoding="utf-8")):
            versions.setdefault(action, set()).add(rest)
    assert len(versions) > 3
    assert {action: found for action, found in versions.items() if len(found) > 1} == {}


def test_the_gate_needs_every_other_job() -> None:
    found = jobs(ROOT / ".github" / "workflows" / "ci.yml")
    gate = found.pop(GATE)
    assert set(gate["needs"]) == set(found)
    assert gate["if"] == "always()"  # a job that was skipped would count as passed


def test_every_wheel_is_tested() -> None:
    built = artifacts("actions/upload-artifact")
    assert {"sdist", "wheel-macos-arm64", "wheel-musl-x86_64"} <= built
    assert artifacts("actions/download-artifact") == built - {"sdist"}  # which is tested where it is made


def test_only_the_tested_release_is_published() -> None:
    found = jobs(ROOT / ".github" / "workflows" / "release.yml")
    assert set(found["publish"]["needs"]) == {"version", "ci"}
    assert found["ci"]["uses"] == "$/.github/workflows/ci.yml"
    writers = {where for where, job in all_jobs() if "write" in str(job["permissions"])}
    assert writers == {"release.yml: publish"}


def test_what_is_published_is_signed() -> None:
    steps = jobs(ROOT / ".github" / "workflows" / "release.yml")["publish"]["steps"]
    publishing = [step for step in steps if "gh-action-pypi-publish" in step.get("uses", "")]
    assert [step["with"] for step in publishing] == [{"attestations": True}]
    assert "password" not in str(steps)


def test_python_packages_come_with_their_hashes() -> None:
    installing = [line for _, line, _ in commands() if "pip install" in line]
    assert installing
    assert [line for line in installing if "--require-hashes --requirement locks/" not in line] == []
