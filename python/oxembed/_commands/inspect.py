"""`oxembed inspect`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

from oxembed._commands.console import load_model, shown, wrapped
from oxembed._commands.facts import write_json
from oxembed.exceptions import InvalidInputError, ProviderUnavailableError, ServiceUnavailableError
from oxembed.inspection import (
    Coverage,
    ExternalData,
    Finding,
    Graph,
    Inspection,
    Model,
    Port,
    Provider,
    Tokenizer,
    Weights,
    inspect,
)
from oxembed.placement import Placement

_COLUMNS = 80
_NAMES = 18
# A list of ten thousand names is for --json.
_MANY_LINES = 40


def run(arguments: argparse.Namespace) -> int:
    """Show what a model folder or an ONNX file is, and where its nodes go on a provider that is asked for."""
    inspection = inspect(arguments.path, revision=arguments.revision)
    placement = problem = None
    if arguments.provider is not None:
        try:
            placement = _placement(arguments)
        except (ProviderUnavailableError, ServiceUnavailableError) as error:
            problem = str(error)
    if arguments.json:
        placed = {"placement": placement and placement.as_dict(), "placement_problem": problem}
        write_json({**inspection.as_dict(), **(placed if arguments.provider is not None else {})})
    else:
        lines = [*_lines(inspection), *_placed(arguments.provider, placement, problem)]
        sys.stdout.buffer.write("".join(f"{line}\n" for line in lines).encode(errors="replace"))
        sys.stdout.buffer.flush()
    return 0 if problem is None else 1


def _placement(arguments: argparse.Namespace) -> Placement:
    """Where the nodes go in the sessions that are alive after a short text."""
    if Path(arguments.path).is_file():
        raise InvalidInputError("--provider is for model folders: an ONNX file alone has no tokenizer to run it with")
    model = load_model(arguments.path, arguments)
    model.encode("a text", show_progress_bar=False)
    return model.placement()


def _placed(provider: str | None, placement: Placement | None, problem: str | None) -> Iterable[str]:
    if placement is not None:
        yield from ["", f"Placement on {provider}", *(f"  {line}" for line in str(placement).splitlines())]
    if problem is not None:
        yield from ["", f"Not placed on {provider}", *(f"  {line}" for line in _broken(problem, _COLUMNS - 2))]


def _lines(inspection: Inspection) -> Iterable[str]:
    yield from _rows({inspection.kind.replace("onnx_file", "ONNX file"): inspection.path})
    if inspection.runs is not None:
        yield from _rows({"would run": f"{inspection.runs.graph}: {inspection.runs.reason}"})
    elif inspection.kind == "folder":
        yield from _rows({"would run": "nothing: see the errors below"})
    if inspection.model is not None:
        yield from _section("Model", _model(inspection.model))
    if inspection.tokenizer is not None:
        yield from _section("Tokenizer", _tokenizer(inspection.tokenizer))
    if inspection.weights is not None:
        yield from _section("Weights", _weights(inspection.weights))
    if inspection.graph is not None:
        yield from _section("Graph", _graph(inspection.graph))
        yield from _operators(inspection.graph)
    if inspection.providers:
        yield from _providers(inspection.providers)
    if inspection.unused_files:
        yield from _section("Not used", {"files": list(inspection.unused_files)})
    yield from _findings(inspection.findings)


def _section(title: str, facts: Mapping[str, object]) -> Iterable[str]:
    yield ""
    yield title
    yield from _rows(facts, indent="  ")


def _rows(facts: Mapping[str, object], indent: str = "") -> Iterable[str]:
    """Names in one column, values in another, one item of a list a line; what is not known is left out."""
    margin = len(indent) + _NAMES
    for name, value in facts.items():
        items = cast("list[object]", value) if isinstance(value, list) else [value]
        lines = [line for item in items for line in _broken(_worded(item), _COLUMNS - margin)]
        if value is None or not lines:
            continue
        yield f"{indent}{name:<{_NAMES}}{lines[0]}"
        for line in lines[1:]:
            yield f"{'':<{margin}}{line}"


def _broken(text: str, columns: int) -> list[str]:
    return wrapped(shown(text), columns, _MANY_LINES) if shown(text) else []


def _worded(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def _model(model: Model) -> dict[str, object]:
    limit = model.max_seq_length
    origin = f" ({model.max_seq_length_from})" if model.max_seq_length_from else ""
    return {
        "family": model.family,
        "parameters": model.parameters,
        "stored as": model.stored_dtype,
        "dimension": model.dimension,
        "hidden size": model.hidden_size,
        "layers": model.layers,
        "vocabulary": model.vocabulary_size,
        "positions": model.positions,
        "max_seq_length": None if limit is None else f"{limit:,}{origin}",
        "pooling": ", ".join(model.pooling) or None,
        "modules": " -> ".join(model.modules) or None,
        "prompts": [f"{name}: {text!r}" for name, text in model.prompts.items()],
        "default prompt": model.default_prompt_name,
        "similarity": model.similarity_fn_name,
        "truncate_dim": model.truncate_dim,
    }


def _tokenizer(tokenizer: Tokenizer) -> dict[str, object]:
    special = [
        f"{name} {'not in the vocabulary' if id is None else id}" for name, id in tokenizer.special_tokens.items()
    ]
    return {
        "algorithm": tokenizer.algorithm,
        "vocabulary": tokenizer.vocabulary_size,
        "largest id": tokenizer.largest_id,
        "special tokens": ", ".join(special) or "none",
        "padding token": tokenizer.pad_token or "none",
        "padding side": tokenizer.padding_side,
        "model_max_length": tokenizer.model_max_length,
        "stored truncation": tokenizer.stored_truncation,
        "stored padding": tokenizer.stored_padding,
    }


def _weights(weights: Weights) -> dict[str, object]:
    return {
        "file": weights.file,
        "tensors": weights.tensors,
        "parameters": weights.parameters,
        "stored as": [f"{name}: {count:,}" for name, count in weights.by_dtype.items()],
        "not used": list(weights.unused),
    }


def _graph(graph: Graph) -> dict[str, object]:
    counts = graph.parameters_by_dtype.items()
    inner = f", {graph.nodes_in_subgraphs:,} more in {graph.subgraphs:,} subgraphs" if graph.subgraphs else ""
    return {
        "file": f"{graph.file}, {graph.bytes:,} bytes",
        "IR version": graph.ir_version,
        "opsets": ", ".join(f"{domain} {version}" for domain, version in graph.opsets.items()),
        "producer": graph.producer,
        "metadata": [f"{name}: {text}" for name, text in graph.metadata.items()],
        "inputs": [_port(port) for port in graph.inputs],
        "outputs": [_port(port) for port in graph.outputs],
        "nodes": f"{graph.nodes:,}{inner}",
        "functions": graph.functions or None,
        "parameters": f"{graph.parameters:,} in {graph.initializers:,} initializers, {graph.parameter_bytes:,} bytes",
        "stored as": [f"{name}: {count.parameters:,} in {count.tensors:,} initializers" for name, count in counts],
        "external data": [_external(one) for one in graph.external_data],
    }


def _external(data: ExternalData) -> str:
    size = "missing" if data.bytes is None else f"{data.bytes:,} bytes"
    return f"{data.location}: {data.tensors:,} initializers, {size}"


def _port(port: Port) -> str:
    dimensions = (
        "any shape" if port.shape is None else ", ".join("?" if one is None else str(one) for one in port.shape)
    )
    return f"{port.name}: {port.dtype or 'not a tensor'} ({dimensions})"


def _operators(graph: Graph) -> Iterable[str]:
    """Operators by domain, the most frequent first, counts aligned, in two columns."""
    for domain, counts in graph.operators.items():
        yield ""
        yield f"Operators of {shown(domain)}"
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        cells = [f"{count:>8,}  {shown(name)[:26]}" for name, count in ordered]
        rows = (len(cells) + 1) // 2
        for left, right in zip(cells[:rows], [*cells[rows:], ""], strict=False):
            yield f"{left:<38}  {right}".rstrip()


def _providers(providers: tuple[Provider, ...]) -> Iterable[str]:
    yield ""
    yield "Execution providers"
    known = [one for one in providers if one.placement is not None or one.coverage]
    for provider in known:
        yield from _provider(provider)
    rest: dict[str, list[str]] = {}
    for provider in providers:
        if provider not in known:
            rest.setdefault(provider.explanation, []).append(provider.provider)
    for explanation, names in rest.items():
        first, *more = _broken(", ".join(names), _COLUMNS - 2)
        yield f"  {first}"
        yield from (f"  {line}" for line in [*more, *(f"  {line}" for line in _broken(explanation, _COLUMNS - 4))])


def _provider(provider: Provider) -> Iterable[str]:
    yield f"  {provider.provider}"
    state = "" if provider.installed else "; the provider is not installed"
    yield from (f"    {line}" for line in _broken(f"{provider.explanation}{state}", _COLUMNS - 4))
    for name, nodes in (provider.placement or {}).items():
        yield f"    {nodes:>8,}  {shown(name)}"
    if provider.coverage:
        yield f"    {'format':<15}{'shapes':<20}{'nodes':>14}{'parts':>6}  op, shape, rank"
    for part in provider.coverage:
        taken = f"{part.supported_nodes:,} of {part.nodes:,}"
        left = (part.nodes_unsupported_by_operator, part.nodes_unsupported_by_shape, part.nodes_unsupported_by_rank)
        counts = ", ".join(f"{count:,}" for count in left)
        yield f"    {part.format:<15}{part.shapes:<20}{taken:>14}{part.partitions:>6,}  {counts}"
    for name, operators in _left(provider.coverage).items():
        text = f"operators that {name} lacks: {', '.join(operators)}"
        yield from (f"    {line}" for line in _broken(text, _COLUMNS - 4))


def _left(coverage: tuple[Coverage, ...]) -> dict[str, list[str]]:
    """Operators that are not supported, by format: they do not depend on shapes."""
    return {
        part.format: [name.removeprefix("ai.onnx:") for name in part.unsupported_operators]
        for part in coverage
        if part.unsupported_operators
    }


def _findings(findings: tuple[Finding, ...]) -> Iterable[str]:
    yield ""
    yield "Findings" if findings else "Nothing suspicious."
    for finding in findings:
        named = finding.file is None or Path(finding.file).name in finding.message
        place = "" if named else f" ({Path(str(finding.file)).name})"
        yield from _rows({f"  {finding.severity}": f"{finding.code}: {finding.message}{place}"})
        yield from _rows({"": f"-> {finding.remedy}"})
