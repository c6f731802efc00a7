"""What a model folder or an ONNX file is, without embedding a text.

`inspect` reads the files, asks ONNX Runtime what it makes of the graph, and says what is suspicious. A broken folder is
inspected as far as it can be read. No weights are loaded, and nothing in the folder is executed.

Example:
    >>> from oxembed import inspect
    >>> inspection = inspect("all-MiniLM-L6-v2")
    >>> inspection.model.family, inspection.model.dimension, inspection.model.max_seq_length
    ('bert', 384, 256)
    >>> inspection.runs.graph
    'written graph'
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from oxembed import _core, hub, runtime
from oxembed._graphs import Coverage, ExternalData, Graph, ParameterCount, Port, Provider
from oxembed._lifecycle import NativeCall
from oxembed.exceptions import ServiceUnavailableError

__all__ = [
    "Coverage",
    "ExternalData",
    "Finding",
    "Graph",
    "Inspection",
    "Model",
    "ParameterCount",
    "Port",
    "Provider",
    "Runs",
    "Tokenizer",
    "Weights",
    "inspect",
]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something suspicious.

    Attributes:
        code: What it is, in a word that does not change, such as `"fixed_shape"`.
        severity: `"error"` (does not load, or gives wrong vectors), `"warning"` or `"note"`.
        message: What was found, with names and numbers.
        remedy: What to do.
        file: The file at fault, where it is one.
    """

    code: str
    severity: str
    message: str
    remedy: str
    file: str | None


@dataclass(frozen=True, slots=True)
class Runs:
    """The graph that would run.

    Attributes:
        graph: `"written graph"` or `"ONNX file"`.
        file: The file with the weights or the graph, relative to the transformer's folder.
        reason: Why this one.
    """

    graph: str
    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Model:
    """What a folder says of its model; a value is `None` where the folder does not say, or its file is broken.

    Attributes:
        family: `model_type` of config.json.
        parameters: Numbers in the weights of what runs.
        stored_dtype: How most of them are stored.
        vocabulary_size: Rows of the embedding table.
        hidden_size: Width of a token's vector.
        dimension: Length of a vector.
        layers: Layers of the transformer.
        positions: The most positions there are.
        max_seq_length: The most tokens of a text.
        max_seq_length_from: The file and key that decide it.
        pooling: Pooling modes, in order; `"inside the graph"` where the graph pools.
        modules: The modules, in order.
        prompts: Prompt texts by name.
        default_prompt_name: Prompt used when none is asked for.
        similarity_fn_name: How vectors are compared.
        truncate_dim: Length to which the model itself truncates its vectors.
    """

    family: str | None
    parameters: int | None
    stored_dtype: str | None
    vocabulary_size: int | None
    hidden_size: int | None
    dimension: int | None
    layers: int | None
    positions: int | None
    max_seq_length: int | None
    max_seq_length_from: str | None
    pooling: tuple[str, ...]
    modules: tuple[str, ...]
    prompts: Mapping[str, str]
    default_prompt_name: str | None
    similarity_fn_name: str | None
    truncate_dim: int | None


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A folder's tokenizer, as its files say.

    Attributes:
        algorithm: `"WordPiece"`, `"BPE"`, `"Unigram"` or `"WordLevel"`.
        vocabulary_size: Tokens, added ones included.
        largest_id: The largest id it can give.
        special_tokens: Ids of the special tokens; `None` for one that is not in the vocabulary.
        pad_token: The token that fills up a batch.
        padding_side: `"right"` or `"left"`.
        model_max_length: The limit in tokenizer_config.json.
        stored_truncation: The length to which tokenizer.json itself would cut; ignored.
        stored_padding: How tokenizer.json itself would pad, such as `"to 128"`; ignored.
    """

    algorithm: str
    vocabulary_size: int
    largest_id: int | None
    special_tokens: Mapping[str, int | None]
    pad_token: str | None
    padding_side: str
    model_max_length: int | None
    stored_truncation: int | None
    stored_padding: str | None


@dataclass(frozen=True, slots=True)
class Weights:
    """A folder's safetensors weights.

    Attributes:
        file: The file.
        tensors: Number of floating-point tensors.
        parameters: Numbers in them.
        by_dtype: Numbers by stored type.
        unused: Names of the tensors that the written graph does not use.
    """

    file: str
    tensors: int
    parameters: int
    by_dtype: Mapping[str, int]
    unused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything that `inspect` found.

    Attributes:
        path: What was inspected.
        kind: `"folder"` or `"onnx_file"`.
        runs: The graph that would run; `None` for an ONNX file, and for a folder that does not load.
        model: What a folder says of its model.
        tokenizer: A folder's tokenizer, where it can be read.
        weights: A folder's safetensors weights, where they can be read.
        graph: The graph, where it can be read or written.
        providers: What each execution provider would take of it; empty without ONNX Runtime.
        unused_files: Files with models or weights that would not be read.
        findings: What is suspicious, the worst first.

    Example:
        >>> inspection = inspect("all-MiniLM-L6-v2")
        >>> [finding.code for finding in inspection.findings if finding.severity == "error"]
        []
        >>> inspection.graph.operators["ai.onnx"]["LayerNormalization"]
        13
    """

    path: str
    kind: str
    runs: Runs | None
    model: Model | None
    tokenizer: Tokenizer | None
    weights: Weights | None
    graph: Graph | None
    providers: tuple[Provider, ...]
    unused_files: tuple[str, ...]
    findings: tuple[Finding, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same as a plain dict of numbers, strings, lists and dicts: what `oxembed inspect --json` prints.

        Example:
            >>> inspect("all-MiniLM-L6-v2").as_dict()["model"]["pooling"]
            ['mean']
        """
        return {name: _plain(value) for name, value in asdict(self).items()}


def inspect(
    path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Inspection:
    """Look into a model folder or an ONNX file, without embedding a text.

    Args:
        path: A model folder, an ONNX file, the name of the embedded model, or a Hugging Face id in the local cache.
        revision: Branch, tag or commit of a Hugging Face id.
        cache_dir: Hugging Face cache folder to use in place of the ones the environment names.

    Returns:
        What was found. A folder that is broken gives findings, not an exception.

    Raises:
        ModelNotFoundError: There is no such folder, file or model.
        InvalidModelError: The file is no ONNX model.
        TypeError: `path` is neither a string nor a path.

    Example:
        >>> from oxembed import inspect
        >>> for provider in inspect("all-MiniLM-L6-v2").providers:
        ...     if provider.provider == "cpu":
        ...         print(sorted(provider.placement))
        ['CPUExecutionProvider']
    """
    found = _file(path) or hub.resolve(path, revision=revision, cache_dir=cache_dir).folder
    problem = None
    with NativeCall():
        try:
            runtime.load_runtime()
        except ServiceUnavailableError as error:
            problem = str(error)
        values: dict[str, Any] = json.loads(_core.inspect(found, runtime_problem=problem))
    return _inspection(values)


def _file(path: object) -> str | None:
    """The path of a file, if `path` is one; what is wrong with any other is said where folders are looked for."""
    if not isinstance(path, str | os.PathLike):
        return None
    given = os.fspath(cast("str | os.PathLike[str] | os.PathLike[bytes]", path))
    if not isinstance(given, str):
        return None
    file = Path(given).expanduser() if given.startswith("~") else Path(given)
    try:
        return str(file) if file.is_file() else None
    except OSError:  # a name too long for the file system, a folder we may not enter
        return None


def _inspection(values: dict[str, Any]) -> Inspection:
    """The result of the compiled module with its types."""
    return Inspection(
        path=values["path"],
        kind=values["kind"],
        runs=_optional(Runs, values["runs"]),
        model=_optional(Model, values["model"]),
        tokenizer=_optional(Tokenizer, values["tokenizer"]),
        weights=_optional(Weights, values["weights"]),
        graph=None if values["graph"] is None else _graph(values["graph"]),
        providers=tuple(_made(Provider, one, coverage=_each(Coverage, one["coverage"])) for one in values["providers"]),
        unused_files=tuple(values["unused_files"]),
        findings=_each(Finding, values["findings"]),
    )


def _graph(values: dict[str, Any]) -> Graph:
    counts: dict[str, dict[str, Any]] = values["parameters_by_dtype"]
    return _made(
        Graph,
        values,
        inputs=_each(Port, values["inputs"]),
        outputs=_each(Port, values["outputs"]),
        parameters_by_dtype={name: _made(ParameterCount, count) for name, count in counts.items()},
        external_data=_each(ExternalData, values["external_data"]),
    )


def _optional(kind: type[_T], values: dict[str, Any] | None) -> _T | None:
    return None if values is None else _made(kind, values)


def _each(kind: type[_T], values: list[dict[str, Any]]) -> tuple[_T, ...]:
    return tuple(_made(kind, one) for one in values)


def _made(kind: type[_T], values: dict[str, Any], **replaced: object) -> _T:
    """One of the classes above, from its attributes; lists become tuples."""
    plain: dict[str, Any] = {name: _immutable(value) for name, value in values.items()}
    return kind(**{**plain, **replaced})


def _immutable(value: object) -> object:
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def _plain(value: object) -> object:
    """Tuples as lists, at every depth."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in cast("dict[str, object]", value).items()}
    return [_plain(item) for item in cast("tuple[object, ...]", value)] if isinstance(value, tuple) else value
