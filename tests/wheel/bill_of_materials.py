"""Is the bill of materials in a wheel there, whole and true? What it says is compared with the wheel's own bytes."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from environment import WheelError

ROOT = Path(__file__).resolve().parents[2]
PLACE = re.compile(r"oxembed-[^/]+\.dist-info/sboms/oxembed\.cdx\.json")
# The compiler writes the places of panics into the module, and with them the crates that are linked.
LINKED = re.compile(
    rb"(?:registry[/\\]src|vendor)[/\\][^/\\\x00]+[/\\]([A-Za-z0-9_-]+?)-(\d+\.\d+\.\d+[A-Za-z0-9.+-]*)[/\\]"
)
# A folder of the machine that wrote the bill: absolute paths, their addresses, and drive letters.
MACHINE = re.compile(r"file:|path\+|[\"#(= ](?:/(?:root|home|tmp|work|Users|usr|var|opt|github)/|[A-Za-z]:\\\\)")
MODEL = "oxembed/models/all-MiniLM-L6-v2/"
FEWEST = 20


def read_bill(archive: zipfile.ZipFile) -> str:
    """The text of the one bill in the wheel."""
    found = [name for name in archive.namelist() if ".dist-info/sboms/" in name]
    if len(found) != 1 or not PLACE.fullmatch(found[0]):
        raise WheelError(f"the wheel's bills of materials are {found}, expected one oxembed.cdx.json")
    return archive.read(found[0]).decode("utf-8")


def check_crates(crates: dict[tuple[str, str], Any], module: bytes) -> None:
    """Compare the crates of the bill with Cargo.lock and with what the compiled module was linked from."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    locked = {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock}
    linked = {(name.decode(), version.decode()) for name, version in LINKED.findall(module)}
    if len(linked) < FEWEST:
        raise WheelError(f"the compiled module names only {sorted(linked)}: what is linked is unknown")
    required = {key for key, component in crates.items() if component["scope"] == "required"}
    problems = [f"lacks {name} {version}, which is linked" for name, version in sorted(linked - required)]
    for key, component in crates.items():
        hashes = [entry["content"] for entry in component["hashes"]]
        if locked.get(key) not in hashes:
            problems.append(f"has {' '.join(key)} with {hashes}, and Cargo.lock has {locked.get(key)}")
    if problems:
        raise WheelError(f"the bill of materials {'; '.join(problems)}")


def check_model(components: list[dict[str, Any]], archive: zipfile.ZipFile) -> None:
    """Compare the files of the embedded model with those in the wheel."""
    models = [component for component in components if component["type"] == "machine-learning-model"]
    if len(models) != 1 or not models[0]["licenses"] or not models[0]["pedigree"]["ancestors"]:
        raise WheelError("the bill of materials does not have one model with its licence and where it is from")
    said = {file["name"]: file["hashes"][0]["content"] for file in models[0]["components"]}
    there = {
        name.removeprefix(MODEL): hashlib.sha256(archive.read(name)).hexdigest()
        for name in archive.namelist()
        if name.startswith(MODEL)
    }
    if said != there:
        raise WheelError(
            f"the model's files in the bill of materials are not the wheel's: {said.items() ^ there.items()}"
        )


def check_schema(text: str) -> None:
    """Hold the bill to the schema of the format that it says it has."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    wrong = JsonStrictValidator(SchemaVersion.from_version(json.loads(text)["specVersion"])).validate_str(text)
    if wrong:
        raise WheelError(f"the bill of materials is not valid CycloneDX: {wrong}")


def check_bill(wheel: Path, *, schema: bool) -> None:
    """Check the bill of materials of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        text = read_bill(archive)
        found = MACHINE.search(text)
        if found:
            raise WheelError(f"the bill of materials names a folder of a machine: {text[found.start() :][:80]!r}")
        bill = json.loads(text)
        own = bill["metadata"]["component"]
        if wheel.name.split("-")[:2] != [own["name"], own["version"]]:
            raise WheelError(f"the bill of materials is of {own['name']} {own['version']}")
        components = bill["components"]
        crates = {
            (component["name"], component["version"]): component
            for component in components
            if component.get("purl", "").startswith("pkg:cargo/")
        }
        modules = [name for name in archive.namelist() if "_core." in name and name.endswith((".so", ".pyd"))]
        check_crates(crates, archive.read(modules[0]))
        check_model(components, archive)
    if schema:
        check_schema(text)
