"""The sides that `coreml.py` measures: this package on a provider and on the CPU, and the usual export."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from oxembed import Embedder, _core
from oxembed._commands.console import load_model
from oxembed.exceptions import OxembedError, ProviderUnavailableError

HOW_TO_EXPORT = (
    "not measured: name the file with --onnx. It is onnx/model.onnx of the model on the Hugging Face Hub, or what "
    "`optimum-cli export onnx --model MODEL FOLDER` writes"
)
# The format that takes the most nodes; what is not said here is ONNX Runtime's own default.
EXPORT_OPTIONS = {"coreml": {"ModelFormat": "MLProgram"}}


class MeasurementError(Exception):
    """Something that keeps all from being measured, in one line for the user."""


@dataclass
class Setting:
    """What is measured, and on what."""

    arguments: argparse.Namespace
    row: dict[str, Any]
    model: Embedder
    cpu: Embedder
    texts: list[str]
    export: Any = None
    export_problem: str | None = HOW_TO_EXPORT

    @property
    def sides(self) -> dict[str, Any]:
        """Everything with a method `encode`: the provider first."""
        sides = {"provider": self.model, "cpu": self.cpu, "export": self.export}
        return {name: side for name, side in sides.items() if side is not None}

    def encoders(self, texts: Sequence[str]) -> dict[str, Callable[[], object]]:
        """A call of each side, for the same texts."""
        return {name: partial(side.encode, list(texts)) for name, side in self.sides.items()}


def _known(provider: str) -> dict[str, Any]:
    """The provider's row in the table of them; a plug-in's own name is in none."""
    rows = {row["name"]: row for row in json.loads(_core.provider_table())}
    return rows.get(provider) or {**rows["plug-in"], "name": provider, "runtime_name": provider}


def load(arguments: argparse.Namespace) -> Setting:
    """Loads all sides.

    Raises:
        MeasurementError: The provider is not available, or the model cannot be read; with what would help.
    """
    row = _known(arguments.provider)
    try:
        texts = [line for line in arguments.texts.read_text(encoding="utf-8").splitlines() if line]
        # Equal texts are computed once: they would measure nothing.
        texts = list(dict.fromkeys(texts))[: arguments.limit]
        model = load_model(arguments.model, arguments)
        cpu = Embedder(arguments.model, provider="cpu", threads=arguments.threads)
    except ProviderUnavailableError as error:
        help_with_it = "" if row["remedy"] in str(error) else f". It takes: {row['remedy']}"
        raise MeasurementError(f"{error}{help_with_it}") from error
    except (OxembedError, OSError, UnicodeDecodeError) as error:
        raise MeasurementError(str(error)) from error
    if len(texts) < max(arguments.batches):
        raise MeasurementError(f"{arguments.texts} has {len(texts)} different texts, fewer than a batch")
    setting = Setting(arguments, row, model, cpu, texts)
    _load_export(setting)
    return setting


def _load_export(setting: Setting) -> None:
    """Loads the usual export on the provider, if there is one that can run."""
    if setting.arguments.onnx is None:
        return
    info = setting.model.model_info()
    if info.pooling != ("mean",) or "Dense" in info.modules:
        setting.export_problem = f"not measured: the plain program pools by the mean only, and this is {info.pooling}"
        return
    try:
        import baseline
    except ImportError as error:
        setting.export_problem = f"not measured: {error}; pip install onnxruntime tokenizers"
        return
    try:
        with tempfile.TemporaryDirectory() as cache:
            # Some exports kill their process on some providers: not this one.
            start(export_arguments(setting), cache)
    except MeasurementError as error:
        setting.export_problem = f"cannot be run: {error}"
        return
    arguments = export_arguments(setting)
    setting.export = baseline.Usual(
        Path(arguments["folder"]),
        setting.arguments.onnx,
        arguments["threads"],
        arguments["providers"],
        arguments["max_tokens"],
    )
    setting.export_problem = None


def export_arguments(setting: Setting) -> dict[str, Any]:
    """What `cold_start.py` needs to run the export."""
    info = setting.model.model_info()
    return {
        "side": "export",
        "folder": info.path,
        "onnx": str(setting.arguments.onnx),
        "threads": info.threads,
        "providers": export_providers(setting),
        "max_tokens": info.max_seq_length,
    }


def export_providers(setting: Setting) -> list[tuple[str, dict[str, str]]]:
    """The provider with its options for onnxruntime's own Python package, and the CPU for what it leaves."""
    named = (setting.row["runtime_name"], dict(EXPORT_OPTIONS.get(setting.row["name"], {})))
    return [named, ("CPUExecutionProvider", {})] if setting.row["name"] != "cpu" else [named]


def start(arguments: dict[str, Any], cache: str) -> float:
    """Seconds of a start in a process of its own, which keeps what it compiles in `cache`."""
    command = [sys.executable, str(Path(__file__).with_name("cold_start.py")), json.dumps(arguments)]
    environment = {**os.environ, "OXEMBED_CACHE": cache}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"the process ended with status {done.returncode}"]
        raise MeasurementError(lines[-1])
    return float(json.loads(done.stdout)["seconds"])
