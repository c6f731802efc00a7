"""`oxembed doctor`: flavours that overwrite each other, folders that cannot be written, the lines of a diagnosis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE

from oxembed import Diagnosis, _cache, _core, _flavours, _processors, diagnosis, doctor, runtime
from oxembed._commands.doctor import lines
from oxembed._flavours import Flavour
from oxembed.diagnosis import Advice, Cache, Device, Int8Support, Library, PlugIn, ProviderState, Threads

# Installed packages


def install(site: Path, name: str, version: str, *, content: str, root: str = "onnxruntime") -> None:
    """What pip does with a wheel: the files, over those that are there, and a record of them."""
    files = {
        f"{root}/__init__.py": content,
        f"{root}/capi/libonnxruntime.so.{version}": content,
        f"{root}/capi/build_and_package_info.py": f"package_name = '{name}'\n__version__ = '{version}'\n",
    }
    information = f"{name.replace('-', '_')}-{version}.dist-info"
    files[f"{information}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    record = "".join(f"{file},,{len(text)}\n" for file, text in files.items())
    for file, text in {**files, f"{information}/RECORD": record}.items():
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text(text, encoding="utf-8")


def test_one_flavour_is_well(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime-gpu", "1.31.1", content="x")
    # Packages of like names with files of their own: a plug-in, a tool.
    install(tmp_path, "onnxruntime-qnn", "2.7.0", content="x", root="onnxruntime_qnn")
    install(tmp_path, "onnxruntime-genai", "0.18.0", content="x", root="onnxruntime_genai")
    install(tmp_path, "numpy", "2.4.6", content="x", root="numpy")
    [one] = _flavours.installed([str(tmp_path)])
    assert one == Flavour("onnxruntime-gpu", "1.31.1", str(tmp_path / "onnxruntime"), 3, 0, 0, True)
    assert _flavours.remedy([one]) is None
    assert _flavours.installed([str(tmp_path / "nothing")]) == []


@pytest.mark.parametrize("last", ["onnxruntime", "onnxruntime-gpu"])
def test_the_flavour_that_was_installed_last_is_in_place(tmp_path: Path, last: str) -> None:
    versions = {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.30.0"}
    for name in sorted(versions, key=lambda name: name == last):
        install(tmp_path, name, versions[name], content=f"content of {name}")
    flavours = _flavours.installed([str(tmp_path)])
    assert [one.name for one in flavours if one.in_place] == [last]
    assert [(one.missing, one.replaced > 0) for one in flavours] == [(0, one.name != last) for one in flavours]
    expected = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
    assert _flavours.remedy(flavours) == expected
    [advice] = diagnosis._about_flavours(flavours)
    assert advice.remedy == expected
    assert "onnxruntime 1.31.1 and onnxruntime-gpu 1.30.0" in advice.message
    assert f"it holds {last} {versions[last]}" in advice.message


def test_what_an_uninstallation_leaves_is_seen(tmp_path: Path) -> None:
    install(tmp_path, "onnxruntime", "1.31.1", content="plain")
    install(tmp_path, "onnxruntime-gpu", "1.31.1", content="for graphics processors")
    # pip removes the files that the second one had written, too.
    (tmp_path / "onnxruntime" / "__init__.py").unlink()
    for file in (tmp_path / "onnxruntime_gpu-1.31.1.dist-info").iterdir():
        file.unlink()
    (tmp_path / "onnxruntime_gpu-1.31.1.dist-info").rmdir()
    [one] = _flavours.installed([str(tmp_path)])
    assert (one.name, one.missing, one.in_place) == ("onnxruntime", 1, False)
    assert _flavours.remedy([one]) == "pip install --force-reinstall --no-deps onnxruntime==1.31.1"
    [advice] = diagnosis._about_flavours([one])
    assert "1 of 3 are missing" in advice.message


def test_folders_of_their_own_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for number, name in enumerate(("onnxruntime", "onnxruntime-openvino")):
        install(tmp_path / str(number), name, "1.24.1", content=name)
    flavours = _flavours.installed([str(tmp_path / "0"), str(tmp_path / "1")])
    assert len(flavours) == 2
    assert _flavours.remedy(flavours) is None


def test_the_library_of_the_flavour_in_place_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "onnxruntime", "1.31.1", content="plain")
    install(tmp_path, "onnxruntime-openvino", "1.24.1", content="with more")
    monkeypatch.delenv("ORT_DYLIB_PATH", raising=False)
    monkeypatch.setattr(runtime, "_package_folders", lambda: [tmp_path / "onnxruntime"])
    monkeypatch.setattr(runtime, "_library_pattern", lambda: "libonnxruntime.so*")
    assert runtime.find_library().name == "libonnxruntime.so.1.24.1"
    (tmp_path / "onnxruntime" / "capi" / "build_and_package_info.py").unlink()
    assert runtime.find_library().name == "libonnxruntime.so.1.31.1"


def test_the_real_flavour_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DYLIB_PATH", raising=False)
    # Whoever runs these tests with two flavours has what this command is for.
    [one] = [one for one in _flavours.installed() if Path(one.folder) in runtime.find_library().parents]
    assert (one.missing, one.replaced, one.in_place) == (0, 0, True)
    assert one.version in runtime.find_library().name or sys.platform == "win32"


# Folders


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({"OXEMBED_CACHE": "/a"}, "linux", "/a"),
        ({"OXEMBED_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "win32", "/a"),
        ({"OXEMBED_CACHE": "~/a"}, "linux", "/home/me/a"),
        ({"OXEMBED_CACHE": ""}, "linux", "/home/me/.cache/oxembed"),
        ({"XDG_CACHE_HOME": "/b"}, "linux", "/b/oxembed"),
        ({"XDG_CACHE_HOME": "relative"}, "linux", "/home/me/.cache/oxembed"),
        ({}, "linux", "/home/me/.cache/oxembed"),
        ({"XDG_CACHE_HOME": "/b"}, "darwin", "/home/me/Library/Caches/oxembed"),
        ({"LOCALAPPDATA": "/c"}, "win32", "/c/oxembed/cache"),
        ({}, "win32", "/home/me/AppData/Local/oxembed/cache"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="the paths are those of other systems")
def test_where_the_cache_is(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], platform: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert _cache.folder(environment, platform) == Path(expected)


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    assert _cache.folder({}, "linux") is None


def test_what_speaks_against_a_folder(tmp_path: Path) -> None:
    assert _cache.problem(tmp_path) is None
    assert _cache.problem(tmp_path / "not" / "there" / "yet") is None
    assert not (tmp_path / "not").exists()
    (tmp_path / "file").write_bytes(b"")
    assert _cache.problem(tmp_path / "file" / "below") == f"{tmp_path / 'file'} is not a folder"
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    assert "dangling is not a folder" in str(_cache.problem(tmp_path / "dangling"))
    assert _cache.problem(tmp_path / ("x" * 1_000)) is not None
    if hasattr(os, "geteuid") and os.geteuid() != 0:  # nothing is forbidden to root
        tmp_path.chmod(0o500)
        assert _cache.problem(tmp_path / "below") == f"{tmp_path} is not writable"
        tmp_path.chmod(0o700)


# Processors


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2.5),
        # What is above limits what is below it, and in a container the path leads nowhere.
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "100000 100000\n"}, 1.0),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
                "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
            },
            1.5,
        ),
        ({"proc/self/cgroup": "0::/gone\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3.0),
        ({"proc/self/cgroup": "0::/../outside\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3.0),
        # The first version: a hierarchy for each controller, -1 where there is no limit.
        (
            {
                "proc/self/cgroup": "5:memory:/x\n4:cpu,cpuacct:/x\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            0.5,
        ),
        # Nonsense is no limit.
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "a lot\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 0\n"}, None),
        ({"proc/self/cgroup": "nonsense\n\n"}, None),
    ],
)
def test_the_quota_of_a_cgroup(tmp_path: Path, files: dict[str, str], expected: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    assert _processors.cgroup_quota(tmp_path) == expected


# What is shown

FOUND = Diagnosis(
    oxembed="0.1.0",
    python="3.11.7 (/usr/bin/python3)",
    platform="Linux x86_64",
    library=Library("/usr/lib/a-rather-long-path/" + "x" * 80 + "/libonnxruntime.so.1.31.1", "1.31.1"),
    problem=None,
    flavours=(Flavour("onnxruntime", "1.31.1", "/usr/lib/onnxruntime", 300, 0, 0, True),),
    built_in=("AzureExecutionProvider", "CPUExecutionProvider"),
    plug_ins=(
        PlugIn("onnxruntime_ep_openvino", "/a.so", ("OpenVINOExecutionProvider",), True, None),
        PlugIn("onnxruntime_ep_webgpu", "/b.so", ("WebGpuExecutionProvider",), False, None),
        PlugIn("OXEMBED_PLUG_INS", "/c.so", (), False, "there is no file /c.so"),
    ),
    devices=(Device("CPUExecutionProvider", "cpu", "AuthenticAMD", 0, False, {}),),
    providers=(
        ProviderState("cpu", "CPUExecutionProvider", True, "a session ran on it", None),
        ProviderState("coreml", "CoreMLExecutionProvider", False, "exists on macOS only", None),
        ProviderState("cuda", "CUDAExecutionProvider", False, "not installed", "pip install " + "long " * 20 + "name"),
        ProviderState("mlx", "MLXExecutionProvider", False, "exists on macOS only", None),
        ProviderState("qnn", "QNNExecutionProvider", False, "it has no device, " + "really " * 20, "buy\x1b[31m one"),
        ProviderState("webgpu", "WebGpuExecutionProvider", False, "not installed", "pip install webgpu"),
    ),
    threads=Threads(used=2, affinity=3, cgroup=2.5, logical=4),
    int8=Int8Support("avx2", False, ("avx2", "portable"), False),
    caches=(Cache("models", "/models", None), Cache("compiled", "/compiled", "/ is not writable")),
    advice=(Advice("nothing can be kept, " + "alas " * 20, "set OXEMBED_CACHE"),),
)


def test_a_diagnosis_fits_a_terminal_and_commands_stay_whole() -> None:
    shown = list(lines(FOUND))
    whole = [FOUND.library.path if FOUND.library else "", *(str(one.remedy) for one in FOUND.providers)]
    for line in shown:
        assert line.isprintable()
        assert line == line.rstrip()
        assert len(line) <= 80 or any(text in line for text in whole)
    text = "\n".join(shown)
    for words in (
        "ONNX Runtime 1.31.1",
        whole[0],
        "onnxruntime_ep_openvino: OpenVINOExecutionProvider\n",
        "onnxruntime_ep_webgpu: WebGpuExecutionProvider; not registered",
        "OXEMBED_PLUG_INS: no name; not used: there is no file /c.so",
        "✓ cpu     a session ran on it",
        "  exists on macOS only:\n  ✗ coreml, mlx",
        f"  not installed:\n  ✗ cuda    -> {FOUND.providers[2].remedy}\n  ✗ webgpu  -> pip install webgpu",
        "2, from 4 logical processors, affinity to 3, a cgroup quota of 2.5",
        "/compiled\n              nothing can be written: / is not writable",
        "To do: Nothing can be kept",
        "    -> set OXEMBED_CACHE",
    ):
        assert words in text, words
    assert "no cpu" not in "\n".join(lines(FOUND, ("ok", "no")))


def test_a_diagnosis_without_onnxruntime() -> None:
    broken = replace(
        FOUND,
        library=None,
        problem="ONNX Runtime was not found: it is not installed. Run: pip install onnxruntime",
        built_in=(),
        plug_ins=(),
        devices=(),
        providers=tuple(replace(one, works=False, reason="there is no ONNX Runtime") for one in FOUND.providers),
    )
    text = "\n".join(lines(broken))
    assert "ONNX Runtime: none that works\n  ONNX Runtime was not found" in text
    assert "built in" not in text
    assert not broken.works
    assert FOUND.works


def test_a_diagnosis_is_plain_data_when_asked() -> None:
    plain = FOUND.as_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["works"] is True
    assert plain["providers"][0]["name"] == "cpu"
    assert plain["plug_ins"][2]["problem"] == "there is no file /c.so"


# The real thing


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "oxembed", "doctor", *arguments],
        capture_output=True,
        check=False,
        timeout=PATIENCE,
        env={**os.environ, **environment},
    )


def test_this_machine() -> None:
    found = doctor()
    assert found.works
    assert found.problem is None
    assert found.library is not None
    assert found.library.version == runtime.load_runtime()
    assert Path(found.library.path).samefile(runtime.find_library())
    assert "CPUExecutionProvider" in found.built_in
    assert [one.name for one in found.providers] == [
        row["name"] for row in json.loads(_core.provider_table()) if row["runtime_name"]
    ]
    assert 1 <= found.threads.used <= found.threads.logical == os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        assert found.threads.affinity == len(os.sched_getaffinity(0))
    assert found.int8.available[0] == found.int8.instructions
    assert found.int8.available[-1] == "portable"
    for one in found.providers:
        assert one.reason
        assert one.works or one.remedy != ""
    assert {cache.purpose for cache in found.caches} == {"models", "compiled"}


def test_the_command() -> None:
    done = command("--json")
    assert (done.returncode, done.stderr) == (0, b"")
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["works"]
    done = command()
    assert (done.returncode, done.stderr) == (0, b"")
    assert "✓ cpu" in done.stdout.decode()
    done = command(PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"ok cpu" in done.stdout


@pytest.mark.parametrize("kind", ["missing", "no library", "too old"])
def test_the_command_where_onnxruntime_is_missing_or_broken(tmp_path: Path, kind: str) -> None:
    library = tmp_path / ("libonnxruntime.so.1.9.2" if kind == "too old" else "libonnxruntime.so")
    if kind != "missing":
        library.write_bytes(b"not a library")
    done = command("--json", ORT_DYLIB_PATH=str(library))
    assert (done.returncode, done.stderr) == (1, b"")
    found: dict[str, Any] = json.loads(done.stdout)
    assert not found["works"]
    assert found["library"] is None
    assert str(library) in found["problem"]
    assert not any(one["works"] for one in found["providers"])
    done = command(ORT_DYLIB_PATH=str(library))
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"none that works" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="HOME has no meaning there")
def test_the_command_with_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_bytes(b"")
    hidden = ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "OXEMBED_CACHE")
    done = command(HOME=str(home), **dict.fromkeys(hidden, ""))
    assert (done.returncode, done.stderr) == (0, b"")
    text = " ".join(done.stdout.decode().split())
    assert f"{home} is not a folder: no model can be downloaded" in text
    assert f"{home} is not a folder: what a provider compiles is compiled again in each process" in text


def test_a_plug_in_that_is_no_library_is_a_line(tmp_path: Path) -> None:
    library = tmp_path / "libexample.so"
    library.write_bytes(b"not a library")
    done = command("--json", OXEMBED_PLUG_INS=f"{library}=ExampleEP")
    assert done.returncode == 0
    [one] = [one for one in json.loads(done.stdout)["plug_ins"] if one["source"] == "OXEMBED_PLUG_INS"]
    assert not one["registered"]
    assert one["problem"]
