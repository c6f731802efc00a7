"""The files in deploy/: do they name routes, flags and variables that there are, and waits that fit each other?"""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PATIENCE
from servers import refused, serving

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def help_text() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "oxembed", "serve", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    return done.stdout


@pytest.fixture(scope="module")
def objects() -> dict[str, dict[str, Any]]:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    return {document["kind"]: document for document in documents}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["oxembed"]
    return found


def unit() -> dict[str, list[str]]:
    """The section [Service] of the unit, in which keys may come again."""
    found: dict[str, list[str]] = {}
    section = (DEPLOY / "oxembed.service").read_text().partition("[Service]")[2].partition("[Install]")[0]
    for line in section.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


@pytest.mark.parametrize("name", sorted(path.name for path in DEPLOY.iterdir()))
def test_flags_and_variables_exist(name: str, help_text: str) -> None:
    text = (DEPLOY / name).read_text()
    serves = re.findall(r"oxembed[\"', ]+serve\b(.*)", text)
    for flag in re.findall(r"(--[a-z][a-z-]+)", "\n".join(serves)):
        assert flag in help_text, flag
    for variable in re.findall(r"\b(OXEMBED_[A-Z_]+|OTEL_[A-Z_]+)\b", text):
        assert re.search(rf"\[env: {variable}[=\]]", help_text), variable


def test_settings_are_right(tmp_path: Path, objects: dict[str, dict[str, Any]]) -> None:
    in_map = tmp_path / "map.toml"
    in_map.write_text(objects["ConfigMap"]["data"]["oxembed.toml"])
    for file in (DEPLOY / "oxembed.toml", in_map):
        assert refused("--check", "--config", str(file))[0] == 0
    # What is commented out is right too: TOML, with the keys that there are.
    lines = (DEPLOY / "oxembed.toml").read_text().partition("requests that name none.\n")[2]
    assert tomllib.loads(re.sub(r"^# ?", "", lines, flags=re.MULTILINE))["models"][0].keys() == {
        "name",
        "aliases",
        "path",
    }


def test_probes_name_routes(objects: dict[str, dict[str, Any]], compose: dict[str, Any]) -> None:
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    # A pod that is busy is not dead: only readiness looks at more than the process.
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/live", "liveness": "/live", "readiness": "/ready",
    }  # fmt: skip
    assert {ports[probe["port"]] for probe in probes.values()} == {8080}
    assert objects["Service"]["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    annotations = objects["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    urls = {compose["healthcheck"]["test"][-1], *re.findall(r"\"(http://127\.0\.0\.1:8080[^\"]*)\"", dockerfile)}
    assert urls == {"http://127.0.0.1:8080/ready"}
    paths = {probe["path"] for probe in probes.values()} | {annotations["prometheus.io/path"], "/ready"}
    with serving("--provider", "cpu") as server:
        assert {path: server.ask(path).status for path in paths} == dict.fromkeys(paths, 200)


def test_what_runs_may_end(objects: dict[str, dict[str, Any]], compose: dict[str, Any]) -> None:
    """Who ends the service waits for longer than the service waits for what runs."""
    drain = tomllib.loads((DEPLOY / "oxembed.toml").read_text())["drain"]
    assert seconds(compose["stop_grace_period"]) > drain
    assert seconds(unit()["TimeoutStopSec"][0]) > drain
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    pause = float(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1])
    in_map = tomllib.loads(objects["ConfigMap"]["data"]["oxembed.toml"])["drain"]
    assert pod["terminationGracePeriodSeconds"] > pause + in_map


def test_labels_and_volumes_fit(objects: dict[str, dict[str, Any]]) -> None:
    spec = objects["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    for selector in (spec["selector"]["matchLabels"], objects["Service"]["spec"]["selector"]):
        assert selector == labels
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    pod = spec["template"]["spec"]
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    assert objects["PodDisruptionBudget"]["spec"]["minAvailable"] < spec["replicas"]


def test_nobody_is_root(objects: dict[str, dict[str, Any]], compose: dict[str, Any]) -> None:
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    security = pod["containers"][0]["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert (security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"]) == (True, False)
    assert compose["read_only"] is True
    users = re.findall(r"^USER (\d+):(\d+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert users == [(str(pod["securityContext"]["runAsUser"]), str(pod["securityContext"]["runAsGroup"]))]
    assert compose["user"] == ":".join(users[0])
    assert unit()["DynamicUser"] == ["yes"]


def test_the_image_is_built_from_what_there_is() -> None:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    stages = re.findall(r"^FROM \S+(?: AS (\w+))?$", text, re.MULTILINE)
    assert stages[-1] == ""
    for source in re.findall(r"--from=(\w+)", text):
        assert source in stages
    for file in re.findall(r"--requirement (\S+)", text):
        assert (ROOT / file).exists(), file
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    for needed in (
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "python",
        "models",
        "locks",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    ):
        assert (ROOT / needed).exists()
        assert needed not in kept


def test_the_unit_is_one(tmp_path: Path) -> None:
    text = (DEPLOY / "oxembed.service").read_text()
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    assert parser.sections() == ["Unit", "Service", "Install"]
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze here")
    # It looks whether the programs are there.
    unit_file = tmp_path / "oxembed.service"
    unit_file.write_text(text.replace("/opt/oxembed/bin/oxembed", f'"{sys.executable}"'))
    done = subprocess.run(
        [analyze, "verify", str(unit_file)], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
