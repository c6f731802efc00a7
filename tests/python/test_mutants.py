"""`make mutants` compiles some modules as a crate of their own: are all that they need among them?"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from conftest import script_module

ROOT = Path(__file__).resolve().parents[2]
# What the crate's own `lib.rs` gives its root.
ROOT_ITEMS = {"EmbeddingError", "Result", "Source"}


@pytest.fixture(scope="module")
def mutants() -> ModuleType:
    return script_module(ROOT / "tests" / "mutants.py")


def test_the_modules_need_no_others(mutants: ModuleType) -> None:
    known = ROOT_ITEMS | {*mutants.MODULES} | {path.partition("::")[0] for path in mutants.TYPES}
    for module in mutants.MODULES:
        files = [*(ROOT / "src" / module).rglob("*.rs"), ROOT / "src" / f"{module}.rs"]
        sources = [file.read_text(encoding="utf-8") for file in files if file.is_file()]
        assert sources, f"there is no module {module}"
        code = re.sub(r"//.*", "", "\n".join(sources))
        needed = {*re.findall(r"\bcrate::(\w+)", code)}
        assert needed <= known, f"{module} needs {sorted(needed - known)}: add it to MODULES in tests/mutants.py"


def test_the_types_are_found(mutants: ModuleType) -> None:
    for places in mutants.TYPES.values():
        for file, start in places:
            assert mutants.item(file, start).rstrip().endswith("}")


def test_the_manifest_names_no_source_that_is_not_there(mutants: ModuleType) -> None:
    own, whole = tomllib.loads(mutants.manifest()), tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
    assert not {"bin", "example", "test", "bench"} & own.keys()
    assert own["dependencies"] == whole["dependencies"]
    assert own["features"] == whole["features"]
    assert own["workspace"] == {}
