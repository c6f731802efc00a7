"""What several test files need: the embedded model, the fixtures' folders and golden vectors, and clean processes."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hub_server import Hub, serve
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

if TYPE_CHECKING:
    from oxembed import Embedder

FIXTURES = Path(__file__).parent.parent / "fixtures"
TOLERANCE = 1e-5
# Seconds after which what did not happen, or did not end, hangs: the CI's machines are slow, and stand still at times.
PATIENCE = 180.0

# No test reaches the real hub: a name that nobody has is looked for at a port where nobody listens.
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"

# A shell that starts the tests in the background has them ignore Ctrl-C, and their child processes with them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every CI run, so that a change fails for what it changed; others at every run by hand. How long
# one takes, or is drawn, says how busy the machine is.
settings.register_profile("by hand", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("by hand"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "by hand")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs CoreML where there is none; never on a Mac with Apple silicon, where it must work."""
    system, machine = platform.system(), platform.machine()
    if (system, machine) == ("Darwin", "arm64"):
        return
    absent = pytest.mark.skip(reason=f"CoreML is a part of macOS, used on Apple silicon; this is {system} on {machine}")
    for item in items:
        if item.get_closest_marker("coreml") is not None:
            item.add_marker(absent)


class Golden(NamedTuple):
    """A fixture's folder with what sentence-transformers made of it."""

    folder: Path
    texts: list[str]
    vectors: dict[str, NDArray[np.float32]]


def read_golden(name: str) -> Golden:
    folder = FIXTURES / name
    texts = json.loads((folder / "golden_texts.json").read_text(encoding="utf-8"))
    with np.load(folder / "golden.npz") as stored:
        return Golden(folder, texts, {key: stored[key] for key in stored.files})


@pytest.fixture(scope="session")
def golden() -> Golden:
    """A BERT with mean pooling and the prompts "query" and "document"."""
    return read_golden("bert-mean-prompts")


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    """The embedded model."""
    from oxembed import Embedder

    return Embedder()


@pytest.fixture(scope="session")
def small(golden: Golden) -> Embedder:
    """The model of `golden`: small and fast, with prompts."""
    from oxembed import Embedder

    return Embedder(golden.folder)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache folder, the only one that the environment names."""
    for name in ("HF_HOME", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "SENTENCE_TRANSFORMERS_HOME"):
        monkeypatch.delenv(name, raising=False)
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    return cache


@pytest.fixture
def served(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine that the environment names, without models, and an empty cache."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with serve(Hub()) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def run_python(
    script: str, *arguments: str, timeout: float = PATIENCE, measured: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh interpreter, with warnings on and outside the repository's folder.

    `make coverage` measures it, too, unless it is not to be `measured`: that takes modules, files and threads.
    """
    kept = {name: value for name, value in os.environ.items() if measured or not name.startswith("COVERAGE_")}
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        encoding="utf-8",
        cwd=Path(sys.prefix),
        env={**kept, "PYTHONIOENCODING": "utf-8"},
    )


def script_module(path: Path) -> ModuleType:
    """A Python file that is in no package, as a module; what lies beside it can be imported by it."""
    specification = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # where `dataclass` looks for its types
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(path.parent))
        specification.loader.exec_module(module)
    return module


@pytest.fixture
def bench() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `benches/python/coreml.py` with the arguments given, and few repetitions."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        script = FIXTURES.parents[1] / "benches" / "python" / "coreml.py"
        few = ["--runs", "2", "--rounds", "1", "--starts", "1", "--limit", "60"]
        command = [sys.executable, str(script), *few, *arguments]
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=300, check=False, encoding="utf-8", env=environment
        )

    return run
