"""`oxembed.export`: its files as other programs run them, and what it refuses.

The programs are plain onnxruntime on the CPU, ONNX's checker, and ONNX Runtime's own checker for CoreML. Vectors are
held to sentence-transformers' in the fixtures and to the numpy reference.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from onnxruntime.tools.mobile_helpers import usability_checker
from onnxruntime.tools.onnx_model_utils import ModelProtoWithShapeInfo
from reference.bert import position_ids
from reference.factory import FIXTURES, GOLDEN_FIXTURES, make_model
from reference.postprocess import DENSE_ACTIVATIONS, POOLING_MODES, Features
from reference.sentence_transformer import SentenceTransformer

import oxembed
from oxembed import Embedder, InvalidInputError, InvalidModelError, ModelNotFoundError, hub

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]
Shape = tuple[int, int]
Side = Literal["right", "left"]
Target = Literal["cpu", "coreml", "gpu"]

# What the project promises.
TOLERANCE = 1e-5
# Half precision keeps 11 bits: every number is off by up to 2^-12 of itself, and in the few layers of these models some
# twenty roundings add up in a token's vector. Pooled and normalized, that many of them, all in one direction, move a
# vector by 20 * 2^-12 = 0.005 of its length; the largest measured is a third of that.
HALF_TOLERANCE = 20 * 2.0**-12
HALF_COSINE = 0.999

EMBEDDED = Path(oxembed.__file__).parent / "models" / "all-MiniLM-L6-v2"
MINILM = FIXTURES / "all-MiniLM-L6-v2-golden"
MODELS = (*GOLDEN_FIXTURES, EMBEDDED.name)

SIDES: tuple[Side, ...] = ("right", "left")


@dataclass(frozen=True)
class Sample:
    """A model folder, its texts as tokens, and their vectors by another program."""

    folder: Path
    reference: SentenceTransformer
    tokens: list[Integers]
    vectors: Floats

    @property
    def hidden_size(self) -> int:
        config = self.reference.transformer.config
        return int(config.get("hidden_size") or config.get("dim") or config["n_embd"])

    def positions(self, ids: Integers) -> Integers:
        """As transformers numbers the tokens of a text by itself."""
        config = self.reference.transformer.config
        match config["model_type"]:
            case "roberta" | "xlm-roberta":
                return position_ids(ids, config["pad_token_id"])
            case "mpnet":
                return position_ids(ids, 1)
            case _:
                return np.arange(len(ids))

    def feeds(
        self, texts: Sequence[int], names: Sequence[str], *, side: Side = "right", shape: Shape | None = None
    ) -> dict[str, Integers]:
        """Inputs for some of the texts. Only the mask tells padding: its ids are those of the first text's tokens."""
        rows, width = shape or (len(texts), max(len(self.tokens[text]) for text in texts))
        filler = self.tokens[0][len(self.tokens[0]) // 2]
        feeds = {name: np.zeros((rows, width), np.int64) for name in names}
        feeds["input_ids"][:] = filler
        for row, text in enumerate(texts):
            ids = self.tokens[text]
            place = slice(width - len(ids), None) if side == "left" else slice(0, len(ids))
            feeds["input_ids"][row, place] = ids
            feeds["attention_mask"][row, place] = 1
            if "position_ids" in feeds:
                feeds["position_ids"][row, place] = self.positions(ids)
        return feeds

    def pooled(self, tokens: Floats) -> Floats:
        """What the reference makes of the tokens of one text."""
        features = Features(arrays={"token_embeddings": tokens.astype(np.float64)})
        for module in self.reference.modules:
            module(features)
        return features.arrays["sentence_embedding"]


def sample_of(folder: Path, texts: Sequence[str], vectors: Floats | None = None) -> Sample:
    reference = SentenceTransformer(folder)
    tokens = [np.array(reference.tokenize(text), dtype=np.int64) for text in texts]
    return Sample(folder, reference, tokens, reference.encode(texts) if vectors is None else vectors)


@cache
def sample(name: str) -> Sample:
    """A fixture with the vectors of sentence-transformers; or the embedded model."""
    if name == EMBEDDED.name:
        # Its weights are halves of those that sentence-transformers had: the reference's vectors are of these.
        texts = json.loads((MINILM / "texts.json").read_text(encoding="utf-8"))[:12]
        made = sample_of(EMBEDDED, texts)
        with np.load(MINILM / "vectors.npz") as stored:
            assert (made.vectors * stored["embeddings"][:12]).sum(axis=1).min() > 0.99999
        return made
    texts = json.loads((FIXTURES / name / "golden_texts.json").read_text(encoding="utf-8"))
    with np.load(FIXTURES / name / "golden.npz") as stored:
        return sample_of(FIXTURES / name, texts, stored["embeddings"])


def session(path: str | Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def apart(vectors: Floats, truth: Floats) -> float:
    assert vectors.shape == truth.shape
    scale = np.maximum(1.0, np.abs(truth).max(axis=-1, keepdims=True))
    return float((np.abs(vectors - truth) / scale).max())


def assert_close(vectors: Floats, truth: Floats, target: str = "cpu") -> None:
    if target == "gpu":
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(truth, axis=1)
        assert ((vectors * truth).sum(axis=1) / lengths).min() > HALF_COSINE
    assert apart(vectors, truth) <= (HALF_TOLERANCE if target == "gpu" else TOLERANCE)


def vectors_of(
    path: str | Path, of: Sample, *, side: Side = "right", shape: Shape | None = None
) -> tuple[list[int], Floats]:
    """Which of the texts the file takes, and their vectors, pooled in the graph or by the reference."""
    runner = session(path)
    names = [value.name for value in runner.get_inputs()]
    texts = [text for text, ids in enumerate(of.tokens) if shape is None or len(ids) <= shape[1]]
    size = shape[0] if shape else len(texts)
    rows: list[Floats] = []
    for start in range(0, len(texts), size):
        batch = texts[start : start + size]
        feeds = of.feeds(batch, names, side=side, shape=shape)
        [output] = runner.run(None, feeds)
        assert output.dtype == np.float32
        assert np.isfinite(output).all()  # rows of nothing but padding too
        if output.ndim == 3:
            masks = feeds["attention_mask"].astype(bool)
            output = np.stack([of.pooled(tokens[mask]) for tokens, mask in zip(output, masks, strict=True) if mask.any()])
        rows.extend(output[: len(batch)])
    return texts, np.stack(rows)


def dimensions(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dimension.dim_param or dimension.dim_value for dimension in value.type.tensor_type.shape.dim]


def assert_as_declared(exported: oxembed.ExportedGraph, of: Sample, shape: Shape | None) -> None:
    """ONNX's checker accepts the file, and it says of itself what `export` returned."""
    model = onnx.load(exported.path)
    # ONNX infers no shapes behind ONNX Runtime's own operators.
    onnx.checker.check_model(model, full_check=all(node.domain == "" for node in model.graph.node))
    assert exported.nodes == len(model.graph.node)
    assert exported.inputs == tuple(value.name for value in model.graph.input)
    assert [exported.output] == [value.name for value in model.graph.output]
    assert exported.inputs[:2] == ("input_ids", "attention_mask")
    sizes = list(shape or ("batch", "sequence"))
    for value in model.graph.input:
        assert (value.type.tensor_type.elem_type, dimensions(value)) == (TensorProto.INT64, sizes)
    if exported.output == "sentence_embedding":
        sizes = [sizes[0], of.vectors.shape[1]]
    else:
        sizes = [*sizes, of.hidden_size]
    [output] = model.graph.output
    assert (output.type.tensor_type.elem_type, dimensions(output)) == (TensorProto.FLOAT, sizes)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    pooling = "inside" if exported.output == "sentence_embedding" else "outside"
    assert (properties["model"], properties["pooling"]) == (of.folder.name, pooling)
    assert int(properties["max_seq_length"]) == of.reference.max_seq_length


def operators(model: onnx.ModelProto) -> set[str]:
    return {f"{node.domain}:{node.op_type}" if node.domain else node.op_type for node in model.graph.node}


# ---- Vectors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling_inside", [False, True], ids=["tokens", "pooled"])
@pytest.mark.parametrize(
    ("target", "shape"),
    [("cpu", None), ("cpu", (3, 48)), ("gpu", None), ("coreml", (1, 32)), ("coreml", (2, 64))],
    ids=str,
)
@pytest.mark.parametrize("name", MODELS)
def test_a_plain_session_has_the_same_vectors(
    name: str, target: Target, shape: Shape | None, pooling_inside: bool, tmp_path: Path
) -> None:
    of = sample(name)
    output = tmp_path / "model.onnx"
    exported = oxembed.export(of.folder, output, target=target, static=shape, pooling_inside=pooling_inside)
    assert (exported.path, exported.data_path) == (str(output), None)
    assert_as_declared(exported, of, shape)
    for side in SIDES:
        texts, vectors = vectors_of(output, of, side=side, shape=shape)
        assert len(texts) > len(of.tokens) // 2
        assert_close(vectors, of.vectors[texts], target)


