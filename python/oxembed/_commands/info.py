"""`oxembed info`."""

from __future__ import annotations

import argparse
import platform
from typing import Any

from oxembed import hub, runtime
from oxembed._columns import aligned
from oxembed._commands.console import load_model, size_in_words
from oxembed._commands.facts import write_facts
from oxembed._core import __version__
from oxembed.exceptions import ServiceUnavailableError


def run(arguments: argparse.Namespace) -> int:
    """Show the installation, or one model."""
    if arguments.model is not None:
        write_facts(load_model(arguments.model, arguments).model_info().as_dict(), as_json=arguments.json)
        return 0
    facts, status = _installation()
    models = hub.cached_models()
    facts["cached_models"] = (
        [{**model._asdict(), "is_complete": model.is_complete} for model in models]
        if arguments.json
        else _table(models)
    )
    write_facts(facts, as_json=arguments.json)
    return status


def _installation() -> tuple[dict[str, Any], int]:
    status = 0
    library = version = problem = None
    try:
        library = str(runtime.find_library())
        version = runtime.load_runtime()
    except ServiceUnavailableError as error:
        problem, status = str(error), 1
    embedded = hub.embedded_folder()
    facts: dict[str, Any] = {
        "oxembed": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "onnxruntime": version,
        "onnxruntime_library": library,
        "embedded_model": hub.EMBEDDED_MODEL if embedded is not None else None,
        "embedded_model_folder": str(embedded) if embedded is not None else None,
        "cache_folders": [str(folder) for folder in hub.cache_folders()],
    }
    if problem is not None:
        facts["problem"] = problem
    return facts, status


def _table(models: list[hub.CachedModel]) -> list[str]:
    """A line for each model: id, revisions, commit, size, and whether it can be used."""
    rows = [
        (
            model.name,
            ", ".join(model.revisions) or "-",
            model.commit[:7],
            size_in_words(model.size_bytes),
            "complete" if model.is_complete else f"incomplete: {model.problem}",
        )
        for model in models
    ]
    return aligned(rows, numbers=())
