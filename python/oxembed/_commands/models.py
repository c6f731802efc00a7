"""`oxembed models`."""

from __future__ import annotations

import argparse
import shutil
import sys

from oxembed import hub, registry
from oxembed._columns import aligned
from oxembed._commands.console import is_terminal
from oxembed._commands.facts import write_facts, write_json

_DEFAULT_ORGANIZATION = "sentence-transformers/"


def run(arguments: argparse.Namespace) -> int:
    """List the registered models, or show one."""
    if arguments.model is not None:
        model = registry.find(arguments.model)
        write_facts({**model.as_dict(), "here": _places().get(model.id)}, as_json=arguments.json)
        return 0
    places = _places()
    models = registry.models()
    if arguments.json:
        write_json([{**model.as_dict(), "here": places.get(model.id)} for model in models])
    elif is_terminal(sys.stdout):
        _show(models, places)
    else:
        for model in models:
            cells = (model.id, model.family, model.dimension, model.max_length, model.parameters, model.pooling)
            line = "\t".join(map(str, (*cells, model.license, places.get(model.id, ""))))
            sys.stdout.write(f"{line}\n")
    return 0


def _places() -> dict[str, str]:
    """Where models are that need no download."""
    places = {model.name: "cache" for model in hub.cached_models() if model.is_complete}
    if hub.embedded_folder() is not None:
        places[_DEFAULT_ORGANIZATION + hub.EMBEDDED_MODEL] = "package"
    return places


def _show(models: tuple[registry.RegisteredModel, ...], places: dict[str, str]) -> None:
    """A table; a narrow terminal gets fewer columns."""
    rows = [("  model", "family", "size", "dim", "tokens")]
    for model in models:
        mark = "*" if model.id in places else " "
        size = _in_words(model.parameters)
        name = model.id.removeprefix(_DEFAULT_ORGANIZATION)
        rows.append((f"{mark} {name}", model.family, size, str(model.dimension), str(model.max_length)))
    for line in aligned(rows, numbers=(2, 3, 4), width=shutil.get_terminal_size().columns):
        sys.stdout.write(f"{line}\n")
    sys.stdout.write("\n* in the package or the cache; `oxembed models MODEL` tells all about one\n")


def _in_words(parameters: int) -> str:
    """A number of parameters in three digits: 22.7M, 568M, 7.57B."""
    number, unit = (parameters / 1e9, "B") if parameters >= 999_500_000 else (parameters / 1e6, "M")
    return f"{number:.3g}{unit}"
