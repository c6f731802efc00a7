"""The model in the forms that peers read, made from one folder: float32 weights, and what is exported from those.

Every form is a folder below `models/DIGEST`, where DIGEST stands for the weights, with the files of the tokenizer
beside the model; made once, by the program that users would make it with, and kept.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from peers_environment import PACKAGE, Environments, PeerError, last_line
from peers_process import clean_environment
from safetensors.numpy import load_file, save_file

FLOAT32 = "float32"
# The folder as it is.
ORIGINAL = "original"
# What peers import besides their own packages: the programs, and oxembed.
MODULES = (Path(__file__).resolve().parents[1], PACKAGE)
# Files of the folder that say what stands in others, or stand for what is written anew.
LEFT_OUT = ("model.safetensors", "int8.safetensors", "calibration.json", "README.md")


@dataclass(frozen=True)
class Form:
    """A form that `python -m peer.make.MAKER SOURCE TARGET` makes of another, in an environment."""

    maker: str
    environment: str
    source: str = FLOAT32


class Models:
    """The forms of the model in `folder`."""

    def __init__(self, folder: Path, kept: Path, forms: Mapping[str, Form], environments: Environments) -> None:
        self.folder = folder
        weights = (folder / "model.safetensors").read_bytes()
        self.kept = kept / "models" / hashlib.sha256(weights).hexdigest()[:12]
        self.scratch = kept
        self.forms = forms
        self.environments = environments
        self.failed: dict[str, PeerError] = {}

    def path(self, form: str) -> Path:
        """The folder of a form, or a folder in it; raises PeerError where it cannot be made."""
        if form == ORIGINAL:
            return self.folder
        form, _, part = form.partition("/")
        return self._whole(form) / part

    def _whole(self, form: str) -> Path:
        if form in self.failed:
            raise self.failed[form]
        target = self.kept / form
        if not target.exists():
            try:
                self._make(form, target)
            except PeerError as error:
                self.failed[form] = error
                raise
        return target

    def _make(self, form: str, target: Path) -> None:
        unfinished = target.with_name(f"{form}.unfinished")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        sys.stderr.write(f"making the model's form {form} ...\n")
        if form == FLOAT32:
            self._widen(unfinished)
        else:
            self._run(form, unfinished)
        unfinished.rename(target)

    def _widen(self, target: Path) -> None:
        """The folder with its weights as float32, which every program loads as float32."""
        shutil.copytree(self.folder, target, ignore=shutil.ignore_patterns(*LEFT_OUT))
        weights = load_file(self.folder / "model.safetensors")
        wide = {name: array.astype("float32") if array.dtype == "float16" else array for name, array in weights.items()}
        save_file(wide, target / "model.safetensors", metadata={"format": "pt"})
        config = json.loads((target / "config.json").read_text(encoding="utf-8"))
        for key in ("torch_dtype", "dtype"):
            if key in config:
                config[key] = "float32"
        (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def _run(self, form: str, target: Path) -> None:
        made = self.forms[form]
        try:
            python = self.environments.python(made.environment)
        except PeerError as error:
            raise PeerError(f"its model needs {made.environment}: {error}") from error
        source = self.path(made.source)
        for file in self.path(FLOAT32).glob("*.json"):
            target.mkdir(exist_ok=True)
            shutil.copy(file, target)
        command = [str(python), "-P", "-m", f"peer.make.{made.maker}", str(source), str(target)]
        variables = clean_environment(self.scratch, MODULES)
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
        if done.returncode != 0:
            raise PeerError(f"its model could not be made: {last_line(done.stderr, 'without a word')}")
