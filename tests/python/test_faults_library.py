"""A library that is not the ONNX Runtime it says it is: one typed error with its path and what to do, at once."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PATIENCE, run_python
from faults import on_linux

from oxembed.runtime import find_library

pytestmark = on_linux

LIAR = """
#include <stddef.h>
#include <stdint.h>
static const char *version(void) {{ return {version}; }}
static int something;
static const void *api(uint32_t number) {{ (void)number; return {api}; }}
static const struct {{ const void *(*get_api)(uint32_t); const char *(*get_version)(void); }} base = {{api, version}};
const void *OrtGetApiBase(void) {{ return {base}; }}
"""
NOTHING = "int nothing_of_the_kind(void) { return 0; }"

LIES = {
    "no base": (LIAR.format(version='"1.31.1"', api="NULL", base="NULL"), "returns nothing"),
    "no api": (LIAR.format(version='"1.31.1"', api="NULL", base="&base"), "1.31.1"),
    "old": (
        LIAR.format(version='"1.23.9"', api="&something", base="&base"),
        "it is ONNX Runtime 1.23.9, and oxembed needs",
    ),
    "old and no api": (LIAR.format(version='"1.4.0"', api="NULL", base="&base"), "it is ONNX Runtime 1.4.0"),
    "no version": (LIAR.format(version="NULL", api="&something", base="&base"), "does not tell its version"),
    "empty version": (LIAR.format(version='""', api="&something", base="&base"), "oxembed needs 1."),
    "garbage": (LIAR.format(version=r'"\377\376 one.x.y"', api="&something", base="&base"), "oxembed needs 1."),
    "of another kind": (LIAR.format(version='"1.-31.1"', api="&something", base="&base"), "1.-31.1"),
    "no symbol": (NOTHING, "it is not ONNX Runtime: it has no OrtGetApiBase"),
}


def refused(library: Path, *says: str) -> None:
    """Every way to need the library is refused, twice, and names the file; with another the process works."""
    script = """
    import os, sys
    from oxembed import Embedder, ServiceUnavailableError
    from oxembed.runtime import load_runtime

    for call in (load_runtime, Embedder, Embedder):
        try:
            call()
        except ServiceUnavailableError as error:
            print(str(error).replace("\\n", " "))
        else:
            print("not refused")
    os.environ["ORT_DYLIB_PATH"] = sys.argv[1]
    print(Embedder().encode("works").shape)
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORT_DYLIB_PATH", str(library))
        done = run_python(script, str(find_the_true_one()))
    assert (done.returncode, done.stderr) == (0, "")
    *messages, last = done.stdout.splitlines()
    assert (len(messages), last) == (3, "(384,)")
    for message in messages:
        for words in (str(library), "ORT_DYLIB_PATH", *says):
            assert words in message


def find_the_true_one() -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ORT_DYLIB_PATH", raising=False)
        return find_library()


@pytest.mark.parametrize("lie", LIES)
def test_a_library_that_lies(lie: str, tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler to make the library with")
    source, says = LIES[lie]
    code, library = tmp_path / "liar.c", tmp_path / "libonnxruntime.so"
    code.write_text(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(code)], check=True, timeout=PATIENCE)
    refused(library, says, "pip install")


def _other_machine(true: bytes) -> bytes:
    """The file's header with the number of a processor that this is not: SPARC's."""
    return true[:18] + struct.pack("<H", 43) + true[20:]


FILES: dict[str, Callable[[bytes], bytes]] = {
    "text": lambda _: b"not a library\n",
    "empty": lambda _: b"",
    "cut in its header": lambda true: true[:40],
    "cut in the middle": lambda true: true[: len(true) // 2],
    "of another machine": lambda true: _other_machine(true),
    "a web page": lambda _: b"<html>404</html>",
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_none(kind: str, tmp_path: Path) -> None:
    library = tmp_path / "libonnxruntime.so.1.31.1"
    library.write_bytes(FILES[kind](find_the_true_one().read_bytes()))
    says = "a part of it is missing" if kind == "cut in the middle" else "the system's loader refuses it"
    refused(library, says, "pip install")


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    refused(tmp_path, "there is no such file")


def test_a_link_to_nothing(tmp_path: Path) -> None:
    link = tmp_path / "libonnxruntime.so"
    link.symlink_to(tmp_path / "gone.so")
    refused(link, "there is no such file")
