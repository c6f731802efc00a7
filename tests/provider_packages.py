"""Installs published execution providers into a folder of their own, for `make provider-test`.

python tests/provider_packages.py plug-ins FOLDER            the plug-ins of OpenVINO and WebGPU
python tests/provider_packages.py openvino-flavour FOLDER    the build of ONNX Runtime that has OpenVINO compiled in

Not into the environment of the other tests, where `provider="auto"` would find them. A package that has no wheel for
this machine is told of in FOLDER/absent.json, which the tests give as the reason why they are skipped; anything else
that keeps one from being installed is an error.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ABSENT = "absent.json"


class Package(NamedTuple):
    """A package, and where it has wheels.

    Attributes:
        requirement: What pip is asked for.
        machines: Systems and processors, as `platform` names them.
        newest_python: The last Python that it has wheels for; `None` where one is for all.
    """

    requirement: str
    machines: frozenset[tuple[str, str]]
    newest_python: tuple[int, int] | None = None


_INTEL = frozenset({("Linux", "x86_64"), ("Windows", "AMD64")})
_MOST = _INTEL | {("Linux", "aarch64"), ("Windows", "ARM64"), ("Darwin", "arm64")}

GROUPS = {
    "plug-ins": (
        Package("onnxruntime-ep-openvino>=1.8,<1.9", _INTEL),
        Package("onnxruntime-ep-webgpu>=0.4,<0.5", _MOST),
    ),
    # Under Windows its wheel lacks OpenVINO itself. It stands beside the environment's `onnxruntime`, before it on the
    # path, so the version has to be one that oxembed takes, and no other.
    "openvino-flavour": (Package("onnxruntime-openvino>=1.24,<1.25", frozenset({("Linux", "x86_64")}), (3, 13)),),
}


def reason_against(package: Package) -> str | None:
    """Why a package has no wheel for this machine and Python; `None` where it has one."""
    name = package.requirement.partition(">")[0]
    machine = (platform.system(), platform.machine())
    if machine not in package.machines:
        return f"{name} has no wheel for {' '.join(machine)}"
    if platform.libc_ver()[0] != "glibc" and machine[0] == "Linux":
        return f"{name} has no wheel for this C library, only for glibc"
    if package.newest_python is not None and sys.version_info[:2] > package.newest_python:
        newest = ".".join(map(str, package.newest_python))
        return f"{name} has no wheel for Python {platform.python_version()}: {newest} is the newest"
    return None


def main(arguments: list[str]) -> int:
    """Install a group; return 0, or the exit status of pip."""
    group, target = arguments
    folder = Path(target)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    absent = {}
    wanted = []
    for package in GROUPS[group]:
        reason = reason_against(package)
        if reason is None:
            wanted.append(package.requirement)
        else:
            absent[package.requirement.partition(">")[0]] = reason
            print(f"{reason}: its tests are skipped")
    if wanted:
        # Their dependencies are in the environment of the tests, or not needed: nothing but the libraries is used.
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
        status = subprocess.run([*command, "--target", folder, *wanted], check=False).returncode
        if status != 0:
            return status
    # Last: that it is there is the sign that the folder is complete.
    (folder / ABSENT).write_text(json.dumps(absent), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
