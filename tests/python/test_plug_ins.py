"""Plug-ins of ONNX Runtime: packages like the published ones, broken ones, and libraries that are named by hand."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import run_python
from hypothesis import given
from hypothesis import strategies as st

from oxembed import _plug_ins
from oxembed._plug_ins import FoundPlugIn, found, usable

LIBRARY = "library.so"
# As the published packages do it: OpenVINO's and WebGPU's, MLX's, ggml's, and one that says little.
SOURCES = {
    "get_library_path": """
        def get_library_path(): return str(__import__("pathlib").Path(__file__).parent / "library.so")
        def get_ep_name(): return "OneEP"
        def get_ep_names(): return [get_ep_name(), "TwoEP"]
    """,
    "get_ep_name": """
        def get_library_path(): return __import__("pathlib").Path(__file__).parent / "library.so"
        def get_ep_name(): return "OneEP"
    """,
    "ep_name": """
        EP_NAME: str = "OneEP"
        def ep_name(): return EP_NAME
        def library_path(): return __file__.replace("__init__.py", "library.so")
    """,
    "EP_NAME": """
        EP_NAME = "OneEP"
        def library_path(): return __file__.replace("__init__.py", "library.so")
    """,
    "no name": """
        def library_path(): return __file__.replace("__init__.py", "library.so")
    """,
}
NAMES = {"get_library_path": ("OneEP", "TwoEP"), "no name": ()}


def package(folder: Path, name: str, source: str, *, library: bool = True) -> Path:
    """Install a package into a folder."""
    place = folder / name
    place.mkdir(parents=True)
    lines = [line.strip() for line in source.strip().splitlines()]
    (place / "__init__.py").write_text("\n".join(lines), encoding="utf-8")
    if library:
        (place / LIBRARY).write_bytes(b"")
    return place / LIBRARY


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for packages, from which Python imports; its modules are forgotten afterwards."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)

    def forget() -> None:
        for name in set(sys.modules) - before:
            if name.startswith("onnxruntime_"):
                del sys.modules[name]
        _plug_ins._asked.cache_clear()
        _plug_ins._warn.cache_clear()

    forget()
    yield folder
    forget()


@pytest.mark.parametrize("kind", SOURCES)
def test_a_package_tells_its_library_and_providers(site: Path, kind: str) -> None:
    library = package(site, "onnxruntime_ep_example", SOURCES[kind])
    [one] = found([str(site)], {})
    assert one == FoundPlugIn("onnxruntime_ep_example", str(library), NAMES.get(kind, ("OneEP",)), None)
    assert usable([one]) == [(str(library), list(one.providers))]


def test_modules_are_found_by_their_names_alone(site: Path) -> None:
    for name in ("onnxruntime_ep_b", "onnxruntime_ep_a", "onnxruntime_qnn", "onnxruntime_ggml"):
        package(site, name, SOURCES["ep_name"])
    # Others of the same kin, and what installers leave beside a package.
    for name in ("onnxruntime", "onnxruntime_genai", "onnxruntime_ep_a-1.0.dist-info", "onnxruntime_ep_a.libs"):
        (site / name).mkdir()
    sources = [one.source for one in found([str(site), str(site), "no/such/folder", sys.executable], {})]
    assert sources == ["onnxruntime_ep_a", "onnxruntime_ep_b", "onnxruntime_ggml", "onnxruntime_qnn"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise RuntimeError('no driver')", "RuntimeError: no driver"),
        ("import no_such_module", "no_such_module"),
        ("def get_library_path(): raise FileNotFoundError('gone')", "FileNotFoundError: gone"),
        ("def get_library_path(): return 3", "TypeError"),
        ("def library_path(): return '/no/such/library.so'", "there is no file /no/such/library.so"),
        ("get_ep_name = lambda: 'OneEP'", "get_library_path"),
        ("def f(:", "SyntaxError"),
    ],
)
def test_a_broken_package_is_said_once_and_the_others_are_used(
    site: Path, caplog: pytest.LogCaptureFixture, source: str, says: str
) -> None:
    good = package(site, "onnxruntime_ep_good", SOURCES["ep_name"])
    package(site, "onnxruntime_ep_broken", source)
    with caplog.at_level(logging.WARNING, "oxembed"):
        for _ in range(2):
            assert usable(found([str(site)], {})) == [(str(good), ["OneEP"])]
    [record] = caplog.records
    assert says in record.getMessage()
    assert "onnxruntime_ep_broken" in record.getMessage()


def test_a_library_of_a_package_that_is_gone_later(site: Path) -> None:
    package(site, "onnxruntime_ep_example", SOURCES["ep_name"], library=False)
    [one] = found([str(site)], {})
    assert one.problem is not None
    assert LIBRARY in one.problem
    assert usable([one]) == []


def test_libraries_named_by_the_environment(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.so", "b=c.so", "d e.so")]
    for file in files:
        file.write_bytes(b"")
    value = os.pathsep.join([f"{files[0]}=OneEP, TwoEP", f" {files[1]} ", "", f"{files[2]}=", str(tmp_path / "no.so")])
    one, two, three, missing = found([], {"OXEMBED_PLUG_INS": value})
    assert (one.library, one.providers, one.problem) == (str(files[0]), ("OneEP", "TwoEP"), None)
    assert (three.library, three.providers, three.problem) == (str(files[2]), (), None)
    assert missing.problem is not None
    assert two.source == "OXEMBED_PLUG_INS"
    assert found([], {"OXEMBED_PLUG_INS": ""}) == found([], {}) == []


@pytest.mark.skipif(sys.platform == "win32", reason="a colon is part of a path there")
def test_a_path_may_have_an_equals_sign(tmp_path: Path) -> None:
    folder = tmp_path / "a=b"
    folder.mkdir()
    library = folder / "c.so"
    library.write_bytes(b"")
    assert found([], {"OXEMBED_PLUG_INS": str(library)})[0][1:] == (str(library), (), None)
    assert found([], {"OXEMBED_PLUG_INS": f"{library}=OneEP"})[0][1:] == (str(library), ("OneEP",), None)


@given(st.text(st.characters(exclude_characters="\0")) | st.just("~nobody-of-that-name/a.so"))
def test_whatever_the_environment_says_is_no_crash(value: str) -> None:
    for one in found([], {"OXEMBED_PLUG_INS": value}):
        assert one.library
        assert one.problem is None or one.library in one.problem


def test_looking_imports_nothing(site: Path) -> None:
    for number in range(20):
        (site / f"package_{number}").mkdir()
    assert found([str(site)], {}) == []
    done = run_python(
        """
        import sys
        from oxembed import Embedder
        Embedder(provider="cpu").encode("a text")
        assert not [name for name in sys.modules if name.startswith("onnxruntime")], "something imported it"
        """
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["openvino", "webgpu"])
def test_published_packages(name: str) -> None:
    pytest.importorskip(f"onnxruntime_ep_{name}", reason=f"onnxruntime-ep-{name} is not installed")
    [one] = [one for one in found() if one.source == f"onnxruntime_ep_{name}"]
    assert one.problem is None
    assert one.library is not None
    symbols = subprocess.run(["nm", "-D", one.library], capture_output=True, text=True, check=True).stdout
    assert " T CreateEpFactories" in symbols
