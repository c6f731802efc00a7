"""A model's graph as an ONNX file."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from oxembed import _core
from oxembed.exceptions import InvalidInputError
from oxembed.hub import resolve

Target: TypeAlias = Literal["cpu", "coreml", "plain", "gpu"]

_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class ExportedGraph:
    """An ONNX file that was written.

    Attributes:
        path: The file.
        data_path: The file of its weights beside it, where these are more than a gigabyte; both belong together.
        nodes: Number of nodes.
        weight_bytes: Bytes of weights.
        inputs: Names of the inputs, each int64 of shape (batch, sequence); `attention_mask` is 1 for a token and 0 for
            padding, on either side.
        output: Name of the output, float32: `last_hidden_state` of shape (batch, sequence, hidden), or with pooling
            inside `sentence_embedding` of shape (batch, dimension).
    """

    path: str
    data_path: str | None
    nodes: int
    weight_bytes: int
    inputs: tuple[str, ...]
    output: str

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {**asdict(self), "inputs": list(self.inputs)}


def export(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    target: Target = "cpu",
    static: tuple[int, int] | None = None,
    pooling_inside: bool = False,
    max_seq_length: int | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: bool | str | None = None,
) -> ExportedGraph:
    """Write the graph that this package runs as an ONNX file, for any program with ONNX Runtime 1.24 or newer.

    Args:
        model: As for `Embedder`.
        output: The file to write, whose name ends in `.onnx`; one that exists is replaced when the new one is whole.
        target: `"cpu"`: fused operators, float32. `"gpu"`: the same in float16. `"coreml"`: the small operators that
            CoreML takes by ONNX Runtime's checker, all shapes fixed; needs `static`. `"plain"`: small operators that
            every provider knows, of any shape or a fixed one; fixed, it is what oxembed itself runs on CoreML. A
            float16 file of a model whose heads share keys (Qwen3, Gemma 3) needs ONNX Runtime 1.25 to run on a CPU:
            1.24 computes it wrongly there.
        static: Texts and tokens of every batch, where these are always the same.
        pooling_inside: Put pooling and all that follows it into the graph, so that its output is the finished vector.
        max_seq_length: A shorter limit than the model's own, in tokens; tables of positions end there.
        revision: As for `Embedder`.
        cache_dir: As for `Embedder`.
        local_files_only: As for `Embedder`.
        token: As for `Embedder`.

    Returns:
        What was written.

    Raises:
        ModelNotFoundError: There is no such model.
        InvalidModelError: The model is broken, not understood, or an ONNX file already.
        InvalidInputError: The target or the shape is not possible, or the file cannot be written.
        KeyboardInterrupt: Ctrl-C; nothing is written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     exported = export("all-MiniLM-L6-v2", f"{folder}/model.onnx", pooling_inside=True)
        >>> exported.inputs, exported.output
        (('input_ids', 'attention_mask', 'position_ids', 'token_type_ids'), 'sentence_embedding')
    """
    if static is not None and not all(1 <= size <= _LARGEST for size in static):
        raise InvalidInputError(f"static={static!r} must be two whole numbers above zero: texts and tokens of a batch")
    folder = resolve(model, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token)
    path, data_path, nodes, weight_bytes, inputs, name = _core.export(
        folder.folder,
        str(Path(output).expanduser()),
        target=target,
        shape=static,
        pooling_inside=pooling_inside,
        max_seq_length=max_seq_length,
    )
    data = None if data_path is None else str(data_path)
    return ExportedGraph(str(path), data, nodes, weight_bytes, tuple(inputs), name)
