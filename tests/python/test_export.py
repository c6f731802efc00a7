"""`oxembed.export`: its files as other programs run them, and what it refuses.

The programs are plain onnxruntime on the CPU, ONNX's checker, and ONNX Runtime's own checker for CoreML. Vectors are
held to sentence-transformers' in the fixtures and to the numpy reference.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from conftest import PATIENCE
from onnx import TensorProto, helper
from onnxruntime.tools.mobile_helpers import usability_checker
from onnxruntime.tools.onnx_model_utils import ModelProtoWithShapeInfo, optimize_model
from reference import golden
from reference.bert import position_ids
from reference.factory import FIXTURES, GOLDEN_FIXTURES, make_model
from reference.postprocess import DENSE_ACTIVATIONS, POOLING_MODES, Features
from reference.sentence_transformer import SentenceTransformer

import oxembed
from oxembed import Embedder, InvalidInputError, InvalidModelError, ModelNotFoundError

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]
Shape = tuple[int, int]
Side = Literal["right", "left"]
Target = Literal["cpu", "coreml", "plain", "gpu"]

# What the project promises.
TOLERANCE = 1e-5
# Half precision rounds by up to 2^-11 of a number. A block of these models rounds some twenty times in a row, and there
# are at most six blocks; the errors have nothing to do with each other, so their squares add up.
HALF_TOLERANCE = math.sqrt(20 * 6) * 2.0**-11
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
        # Rows of nothing but padding too; pooled, they have no meaning.
        assert np.isfinite(output if output.ndim == 3 else output[: len(batch)]).all()
        if output.ndim == 3:
            masks = feeds["attention_mask"].astype(bool)
            output = np.stack(
                [of.pooled(tokens[mask]) for tokens, mask in zip(output, masks, strict=True) if mask.any()]
            )
        rows.extend(output[: len(batch)])
    return texts, np.stack(rows)


def dimensions(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dimension.dim_param or dimension.dim_value for dimension in value.type.tensor_type.shape.dim]


def assert_as_declared(exported: oxembed.ExportedGraph, of: Sample, shape: Shape | None) -> None:
    """ONNX's checker accepts the file, and it says of itself what `export` returned."""
    model = onnx.load(exported.path)
    # ONNX infers no shapes behind ONNX Runtime's own operators.
    onnx.checker.check_model(model, full_check=all(node.domain == "" for node in model.graph.node))
    # ONNX Runtime prints a warning of one that no node takes.
    taken = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= taken
    assert exported.nodes == len(model.graph.node)
    assert exported.inputs == tuple(value.name for value in model.graph.input)
    assert [exported.output] == [value.name for value in model.graph.output]
    assert exported.inputs[:2] == ("input_ids", "attention_mask")
    sizes = list(shape or ("batch", "sequence"))
    for value in model.graph.input:
        assert (value.type.tensor_type.elem_type, dimensions(value)) == (TensorProto.INT64, sizes)
    [output] = model.graph.output
    expected = [sizes[0], of.vectors.shape[1]] if exported.output == "sentence_embedding" else [*sizes, of.hidden_size]
    assert (output.type.tensor_type.elem_type, dimensions(output)) == (TensorProto.FLOAT, expected)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    pooling = "inside" if exported.output == "sentence_embedding" else "outside"
    assert (properties["model"], properties["pooling"]) == (of.folder.name, pooling)
    assert int(properties["max_seq_length"]) == of.reference.max_seq_length


# ---- Vectors --------------------------------------------------------------------------------------------------------


INSIDE = pytest.mark.parametrize("pooling_inside", [False, True], ids=["tokens", "pooled"])


def check_vectors(of: Sample, output: Path, target: Target, shape: Shape | None, pooling_inside: bool) -> None:
    exported = oxembed.export(of.folder, output, target=target, static=shape, pooling_inside=pooling_inside)
    assert (exported.path, exported.data_path) == (str(output), None)
    assert_as_declared(exported, of, shape)
    for side in SIDES:
        texts, vectors = vectors_of(output, of, side=side, shape=shape)
        assert len(texts) > len(of.tokens) // 2
        assert_close(vectors, of.vectors[texts], target)


@INSIDE
@pytest.mark.parametrize(
    ("target", "shape"),
    [("cpu", None), ("cpu", (3, 48)), ("gpu", None), ("coreml", (2, 64)), ("plain", (2, 64)), ("plain", None)],
)
@pytest.mark.parametrize("name", GOLDEN_FIXTURES)
def test_a_plain_session_has_the_same_vectors(
    name: str, target: Target, shape: Shape | None, pooling_inside: bool, tmp_path: Path
) -> None:
    check_vectors(sample(name), tmp_path / "model.onnx", target, shape, pooling_inside)


@pytest.mark.parametrize(
    ("target", "shape", "pooling_inside"), [("cpu", None, False), ("gpu", None, True), ("coreml", (1, 32), True)]
)
def test_the_embedded_model_in_a_plain_session(
    target: Target, shape: Shape | None, pooling_inside: bool, tmp_path: Path
) -> None:
    check_vectors(sample(EMBEDDED.name), tmp_path / "model.onnx", target, shape, pooling_inside)


@pytest.mark.parametrize(("target", "shape"), [("cpu", None), ("coreml", (2, 48))])
def test_every_pooling_and_dense_layer_inside(target: Target, shape: Shape | None, tmp_path: Path) -> None:
    """Side by side and unnormalized, so that each is seen."""
    sizes = range(40, 40 - len(DENSE_ACTIVATIONS), -1)
    dense = [(size, size % 2 == 0, name) for size, name in zip(sizes, DENSE_ACTIVATIONS, strict=True)]
    for case, more in (("pooling", {}), ("dense", {"dense": dense}), ("normalized", {"normalize": True})):
        settings: dict[str, Any] = {"pooling": POOLING_MODES, "modules_form": "v6", "normalize": False, **more}
        folder = make_model(tmp_path / case, "bert", seed=71, **settings)
        of = sample_of(folder, golden.TEXTS)
        output = tmp_path / f"{case}.onnx"
        exported = oxembed.export(folder, output, target=target, static=shape, pooling_inside=True)
        assert_as_declared(exported, of, shape)
        for side in SIDES:
            texts, vectors = vectors_of(output, of, side=side, shape=shape)
            assert len(texts) >= len(golden.TEXTS) - 1
            assert_close(vectors, of.vectors[texts])


@pytest.mark.parametrize("pooling_inside", [False, True])
@pytest.mark.parametrize("name", GOLDEN_FIXTURES)
def test_the_file_in_a_folder_without_weights(name: str, pooling_inside: bool, tmp_path: Path) -> None:
    """As any other ONNX file of a folder, positions that start after the padding id included."""
    of = sample(name)
    folder = tmp_path / "model"
    shutil.copytree(of.folder, folder, ignore=shutil.ignore_patterns("onnx", "golden*"))
    for weights in folder.glob("model*.safetensors*"):
        weights.unlink()
    (folder / "onnx").mkdir()
    oxembed.export(of.folder, folder / "onnx" / "model.onnx", pooling_inside=pooling_inside)
    if pooling_inside and (folder / "2_Dense").exists():
        with pytest.raises(InvalidModelError, match="cannot be told whether the graph contains them"):
            Embedder(folder)
        return
    model = Embedder(folder)
    assert model.model_info().source == "onnx/model.onnx"
    texts = json.loads((of.folder / "golden_texts.json").read_text(encoding="utf-8"))
    assert_close(model.encode(texts), of.vectors)


# ---- CoreML ---------------------------------------------------------------------------------------------------------


def check_partitions(path: str | Path) -> None:
    """One partition that holds every node, by ONNX Runtime's own checker, and what it leaves to the reader."""
    model = ModelProtoWithShapeInfo(Path(path)).model_with_shape_info
    info = usability_checker.check_coreml_partitions(
        model, require_fixed_input_sizes=True, config_filename="coreml_supported_mlprogram_ops.md"
    )
    assert info.unsupported_ops == set()
    assert (info.num_partitions, info.num_supported_nodes) == (1, info.num_nodes) == (1, len(model.graph.node))
    # What the operators' table says in words.
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.op_type in ("Gemm", "Slice", "Split", "Reshape", "ReduceSum", "ReduceMean", "ReduceMax", "Unsqueeze"):
            assert set(node.input[1:]) <= constants, node.op_type
        assert node.op_type != "GatherND" or attributes.get("batch_dims", 0) == 0
        assert node.op_type not in ("Pow", "Where")  # in single precision, or with branches of floats, only


@INSIDE
@pytest.mark.parametrize("shape", [(1, 32), (2, 64)], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_coreml_takes_every_node(name: str, shape: Shape, pooling_inside: bool, tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    folder = sample(name).folder
    oxembed.export(folder, output, target="coreml", static=shape, pooling_inside=pooling_inside)
    check_partitions(output)
    if shape == (1, 32):
        # Providers are asked after ONNX Runtime's basic optimizations.
        optimized = tmp_path / "optimized.onnx"
        optimize_model(output, optimized, level=onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC)
        check_partitions(optimized)


@pytest.mark.parametrize("name", [*GOLDEN_FIXTURES, EMBEDDED.name])
def test_with_plain_gathers_coreml_takes_all_but_the_lookups(name: str, tmp_path: Path) -> None:
    """What runs on CoreML: the checker does not have `Gather` in its table, the code that decides on a Mac does."""
    output = tmp_path / "model.onnx"
    oxembed.export(sample(name).folder, output, target="plain", static=(1, 32))
    model = ModelProtoWithShapeInfo(output).model_with_shape_info
    info = usability_checker.check_coreml_partitions(
        model, require_fixed_input_sizes=True, config_filename="coreml_supported_mlprogram_ops.md"
    )
    operators = [node.op_type for node in model.graph.node]
    lookups = operators.count("Gather")
    assert "GatherND" not in operators
    assert 1 <= lookups <= 3
    assert info.num_nodes - info.num_supported_nodes <= lookups


def test_coreml_takes_every_pooling_and_activation(tmp_path: Path) -> None:
    # ACT2FN's names that stand for functions of their own.
    names = "gelu gelu_new gelu_10 quick_gelu relu silu tanh sigmoid linear relu6 relu2 leaky_relu mish"
    dense = [(40, True, activation) for activation in DENSE_ACTIVATIONS]
    for name in names.split():
        folder = make_model(
            tmp_path / name, "bert", seed=72, hidden_act=name, pooling=POOLING_MODES, dense=dense, modules_form="v6"
        )
        oxembed.export(folder, tmp_path / "model.onnx", target="coreml", static=(2, 16), pooling_inside=True)
        check_partitions(tmp_path / "model.onnx")


# ---- Files ----------------------------------------------------------------------------------------------------------


SMALL = FIXTURES / "bert-mean-prompts"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["with a space.onnx", "モデル é.onnx", "MODEL.ONNX"])
def test_any_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a folder ü"
    folder.mkdir()
    exported = oxembed.export(SMALL, folder / name)
    assert exported.path == str(folder / name)
    assert session(exported.path).get_outputs()[0].name == "last_hidden_state"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert oxembed.export(str(SMALL), f"~/{name}").path == str(tmp_path / name)
    monkeypatch.chdir(folder)
    assert oxembed.export(str(SMALL), "here.onnx").path == "here.onnx"
    assert names_in(folder) == sorted([name, "here.onnx"])


def test_what_was_there_is_replaced(tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    output.write_bytes(b"x" * 10_000_000)
    exported = oxembed.export(SMALL, output)
    assert exported.weight_bytes < output.stat().st_size < exported.weight_bytes + 100_000
    assert names_in(tmp_path) == ["model.onnx"]
    onnx.checker.check_model(str(output))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    output.write_bytes(b"old")
    (tmp_path / "model.onnx.partial").symlink_to("/dev/full")
    with pytest.raises(InvalidInputError, match=r"model\.onnx cannot be written: No space left on device"):
        oxembed.export(SMALL, output)
    assert output.read_bytes() == b"old"
    assert names_in(tmp_path) == ["model.onnx"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="the user may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "read only"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(InvalidInputError, match="cannot be written"):
        oxembed.export(SMALL, folder / "model.onnx")
    assert names_in(folder) == []


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"missing/model\.onnx cannot be written"):
        oxembed.export(SMALL, tmp_path / "missing" / "model.onnx")
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match=r"file/model\.onnx cannot be written"):
        oxembed.export(SMALL, tmp_path / "file" / "model.onnx")
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "modules.json", "model"])
def test_the_files_of_the_model_are_safe(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(SMALL, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InvalidInputError, match=r"the name has to end in \.onnx"):
        oxembed.export(folder, folder / name)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_shorter_limit(tmp_path: Path) -> None:
    """Tables of computed positions end there; the limit stands in the file."""
    sizes = {}
    for limit in (None, 16):
        output = tmp_path / f"{limit}.onnx"
        oxembed.export(FIXTURES / "nomicbert-mean", output, max_seq_length=limit)
        model = onnx.load(output)
        [rotary] = {tuple(node.input[1:3]) for node in model.graph.node if node.op_type == "RotaryEmbedding"}
        [rows] = {tensor.dims[0] for tensor in model.graph.initializer if tensor.name in rotary}
        sizes[limit] = (rows, {entry.key: entry.value for entry in model.metadata_props}["max_seq_length"])
    assert sizes == {None: (256, "256"), 16: (16, "16")}
    of = sample("nomicbert-mean")
    short = [text for text, ids in enumerate(of.tokens) if len(ids) <= 16]
    runner = session(tmp_path / "16.onnx")
    feeds = of.feeds(short, [value.name for value in runner.get_inputs()], shape=(len(short), 16))
    [output] = runner.run(None, feeds)
    masks = feeds["attention_mask"].astype(bool)
    vectors = np.stack([of.pooled(tokens[mask]) for tokens, mask in zip(output, masks, strict=True)])
    assert_close(vectors, of.vectors[short])


# ---- What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "coreml"}, "needs a fixed shape"),
        ({"target": "tpu"}, 'target "tpu" is not known; known are cpu, coreml, plain, gpu'),
        ({"static": (1, 65)}, "a shape of 65 tokens is more than the 64 that the model takes"),
        ({"static": (1, 17), "max_seq_length": 16}, "a shape of 17 tokens is more than the 16"),
        ({"static": (0, 16)}, "static=(0, 16) must be two whole numbers above zero"),
        ({"static": (1, -1)}, "static=(1, -1) must be two whole numbers above zero"),
        ({"static": (1, 1 << 40)}, "must be two whole numbers above zero"),
        ({"max_seq_length": 0}, "max_seq_length"),
        ({"max_seq_length": 100_000}, "max_seq_length"),
    ],
    ids=str,
)
def test_arguments_that_cannot_be_honoured(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        oxembed.export(SMALL, tmp_path / "model.onnx", **arguments)
    assert names_in(tmp_path) == []


def test_a_prompt_left_out_of_the_pooling_cannot_be_inside(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model", "bert", seed=73, include_prompt=False)
    with pytest.raises(InvalidInputError, match=r"include_prompt is false.*export it without its pooling"):
        oxembed.export(folder, tmp_path / "model.onnx", pooling_inside=True)
    oxembed.export(folder, tmp_path / "model.onnx")
    assert names_in(tmp_path) == ["model", "model.onnx"]


def test_models_without_a_graph_to_write(tmp_path: Path, empty_cache: Path) -> None:
    output = tmp_path / "model.onnx"
    folder = tmp_path / "onnx only"
    shutil.copytree(SMALL, folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InvalidModelError, match=r"onnx/model\.onnx: the model is an ONNX file already; copy that"):
        oxembed.export(folder, output)
    unknown = make_model(tmp_path / "unknown", "bert", seed=74, config={"model_type": "something-new"})
    with pytest.raises(InvalidModelError) as raised:
        oxembed.export(unknown, output)
    known = re.search(r"Known are ([a-z0-9_, -]+)\.", str(raised.value))
    assert known is not None
    assert {"bert", "modernbert", "nomic_bert", "new", "qwen3", "gemma3_text"} < set(known[1].split(", "))
    with pytest.raises(ModelNotFoundError):
        oxembed.export(tmp_path / "nowhere", output)
    with pytest.raises(ModelNotFoundError):
        oxembed.export("nobody/nothing", output, local_files_only=True)
    assert not output.exists()


# ---- The command ----------------------------------------------------------------------------------------------------


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "oxembed", "export", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, encoding="utf-8")


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    done = run(SMALL, output, "--pooling-inside")
    assert (done.returncode, done.stdout) == (0, f"{output}\n")
    nodes = len(onnx.load(output).graph.node)
    assert done.stderr.splitlines()[0].startswith(f"{nodes} nodes, ")
    assert "input_ids, attention_mask, position_ids, token_type_ids" in done.stderr
    assert "output: sentence_embedding (float32)" in done.stderr
    of = sample(SMALL.name)
    assert_close(vectors_of(output, of)[1], of.vectors)


def test_the_command_in_json(tmp_path: Path) -> None:
    output = tmp_path / "model.onnx"
    done = run(SMALL, output, "--target", "coreml", "--static", "2X16", "--max-seq-length", "32", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "path": str(output),
        "data_path": None,
        "nodes": len(onnx.load(output).graph.node),
        "weight_bytes": json.loads(done.stdout)["weight_bytes"],
        "inputs": ["input_ids", "attention_mask", "position_ids", "token_type_ids"],
        "output": "last_hidden_state",
    }
    assert [value.shape for value in session(output).get_inputs()] == [[2, 16]] * 4


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--static", "1"], 2, "expected texts x tokens, such as 1x128, got '1'"),
        (["--static", "0x5"], 2, "expected a positive whole number, got '0'"),
        (["--static", "axb"], 2, "expected a positive whole number, got 'a'"),
        (["--static", "1x2x3"], 2, "expected a positive whole number, got '2x3'"),
        (["--static", "1x"], 2, "expected a positive whole number, got ''"),
        (["--target", "tpu"], 2, "invalid choice: 'tpu'"),
        (["--max-seq-length", "0"], 2, "expected a positive whole number, got '0'"),
        (["--target", "coreml"], 1, "needs a fixed shape"),
        (["--static", "1x1000"], 1, "a shape of 1000 tokens is more than the 64 that the model takes"),
    ],
    ids=str,
)
def test_nonsense_on_the_command_line(arguments: list[str], status: int, message: str, tmp_path: Path) -> None:
    done = run(SMALL, tmp_path / "model.onnx", *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert names_in(tmp_path) == []


def test_help() -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("MODEL OUT.onnx", "--target {cpu,coreml,plain,gpu}", "--static BxS", "--pooling-inside", "--json"):
        assert words in " ".join(done.stdout.split())
    done = run(SMALL)
    assert (done.returncode, done.stdout) == (2, "")
    assert "OUT.onnx" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c(tmp_path: Path) -> None:
    """The unfinished file is a pipe that nobody empties, so the export is still at it when the signal comes."""
    pipe = tmp_path / "model.onnx.partial"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, "-m", "oxembed", "export", EMBEDDED, tmp_path / "model.onnx"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with pipe.open("rb") as reader:
        assert reader.read(1)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stdout, stderr) == (130, b"", b"oxembed: interrupted\n")
    assert names_in(tmp_path) == []
