"""The exception classes: their places in Python's hierarchy, their messages, and their way through pickle.

Here too: what is raised where ONNX Runtime is absent or broken, and what `import oxembed` must not import.
"""

from __future__ import annotations

import inspect
import pickle
import sys
from pathlib import Path

import pytest
from conftest import run_python

import oxembed
from oxembed import exceptions

CLASSES = [getattr(exceptions, name) for name in exceptions.__all__]


@pytest.mark.parametrize("cls", CLASSES)
def test_constructed_from_one_message(cls: type[exceptions.OxembedError]) -> None:
    error = cls("what happened, why, what to do")
    assert str(error) == "what happened, why, what to do"
    assert isinstance(error, exceptions.OxembedError)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles(cls: type[exceptions.OxembedError], protocol: int) -> None:
    error = cls("grüße")
    error.add_note("a note")
    copy = pickle.loads(pickle.dumps(error, protocol))
    assert type(copy) is cls
    assert str(copy) == "grüße"
    assert copy.__notes__ == ["a note"]


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (exceptions.InvalidInputError, ValueError),
        (exceptions.InvalidModelError, ValueError),
        (exceptions.ModelNotFoundError, FileNotFoundError),
    ],
)
def test_is_also_the_builtin_of_the_same_meaning(cls: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(cls, builtin)


def test_only_one_class_directly_under_exception() -> None:
    assert [cls for cls in CLASSES if Exception in cls.__bases__] == [exceptions.OxembedError]


@pytest.mark.parametrize("cls", CLASSES)
def test_says_what_to_do_and_is_exported(cls: type[Exception]) -> None:
    assert "What to do:" in (inspect.getdoc(cls) or "")
    assert getattr(oxembed, cls.__name__) is cls
    assert cls.__name__ in oxembed.__all__


class TestOnnxRuntimeMissing:
    """`ServiceUnavailableError`: what was looked for, what was found, and the command that mends it."""

    SCRIPT = """
        import os, sys, time
        MAKE_IT_SO
        import oxembed
        assert "onnxruntime" not in sys.modules
        started = time.perf_counter()
        for _ in range(2):
            try:
                oxembed.Embedder()
            except oxembed.ServiceUnavailableError as error:
                print(error)
        assert time.perf_counter() - started < 5
    """

    def errors(self, make_it_so: str) -> list[str]:
        done = run_python(self.SCRIPT.replace("MAKE_IT_SO", make_it_so))
        assert (done.stderr, done.returncode) == ("", 0)
        lines = done.stdout.splitlines()
        assert len(lines) == 2
        return lines

    @staticmethod
    def package(tmp_path: Path, *files: str) -> str:
        """A package named onnxruntime that is found before the real one."""
        folder = tmp_path / "onnxruntime" / "capi"
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").write_text("raise SystemExit('this package must not be imported')")
        for name in files:
            (folder / name).write_bytes(b"not a library")
        return f"sys.path.insert(0, {str(tmp_path)!r}); os.environ.pop('ORT_DYLIB_PATH', None)"

    def test_not_installed(self) -> None:
        hide = """import importlib.util as u; real = u.find_spec
        u.find_spec = lambda name, *rest: None if name == 'onnxruntime' else real(name, *rest)
        os.environ.pop('ORT_DYLIB_PATH', None)"""
        for message in self.errors(hide):
            assert "is not installed" in message
            assert 'pip install "onnxruntime>=1.24"' in message

    def test_variable_names_no_file(self) -> None:
        for message in self.errors("os.environ['ORT_DYLIB_PATH'] = '/no/such/library.so'"):
            assert "ORT_DYLIB_PATH" in message
            assert "/no/such/library.so" in message
            assert "pip install" in message

    def test_package_without_its_library(self, tmp_path: Path) -> None:
        for message in self.errors(self.package(tmp_path)):
            assert str(tmp_path / "onnxruntime" / "capi") in message
            assert "--force-reinstall" in message

    def test_broken_library(self, tmp_path: Path) -> None:
        names = ("libonnxruntime.so.1.30.0", "libonnxruntime.1.30.0.dylib", "onnxruntime.dll")
        for message in self.errors(self.package(tmp_path, *names)):
            assert str(tmp_path / "onnxruntime" / "capi") in message
            assert "pip install" in message

    @pytest.mark.skipif(sys.platform != "linux", reason="file names differ")
    def test_newest_library_is_chosen(self, tmp_path: Path) -> None:
        names = ("libonnxruntime.so.1.9.2", "libonnxruntime.so.1.24.1", "libonnxruntime_providers_shared.so")
        script = self.package(tmp_path, *names) + "; from oxembed.runtime import find_library; print(find_library())"
        done = run_python("import os, sys; " + script)
        assert done.stdout.strip() == str(tmp_path / "onnxruntime" / "capi" / "libonnxruntime.so.1.24.1")


def test_import_is_cheap_and_lazy() -> None:
    done = run_python(
        """
        import sys
        import oxembed
        heavy = ["asyncio", "tqdm", "argparse", "pandas", "logging.config", "concurrent.futures", "huggingface_hub",
                 "onnxruntime", "torch", "multiprocessing"]
        print([name for name in heavy if name in sys.modules])
        """,
        measured=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
