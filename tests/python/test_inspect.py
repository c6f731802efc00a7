"""`oxembed.inspect` and `oxembed inspect`: facts compared with the library `onnx`, and a finding for every fault."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphs
import pytest
from conftest import FIXTURES, PATIENCE, run_python
from onnx import TensorProto, helper, numpy_helper
from reference.weights import read_safetensors, write_safetensors

from oxembed import Embedder, Inspection, inspect
from oxembed.exceptions import InvalidModelError, ModelNotFoundError

EXPORTED = sorted(path.parent.parent.name for path in FIXTURES.glob("*/onnx/model.onnx"))
FOLDERS = sorted(path.parent.name for path in FIXTURES.glob("*/config.json"))


def codes(inspection: Inspection) -> set[str]:
    return {finding.code for finding in inspection.findings}


def message(inspection: Inspection, code: str) -> str:
    [finding] = [finding for finding in inspection.findings if finding.code == code]
    return finding.message


def edit(path: Path, **values: Any) -> None:
    """Set keys of a JSON file; `...` removes one."""
    settings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    settings.update(values)
    settings = {key: value for key, value in settings.items() if value is not ...}
    path.write_text(json.dumps(settings), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A BERT of which nothing is wrong."""
    return copy("bert-mean-prompts", tmp_path)


def copy(name: str, tmp_path: Path) -> Path:
    target = tmp_path / name
    shutil.copytree(FIXTURES / name, target)
    return target


def graphs_of(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [graph, *(one for subgraph in inner for one in graphs_of(subgraph))]


def check_facts(path: Path) -> None:
    """Everything about the graph, counted by the library `onnx`."""
    model = onnx.load(path)
    graphs = graphs_of(model.graph)
    nodes = [node for graph in graphs for node in graph.node]
    arrays = [numpy_helper.to_array(tensor) for graph in graphs for tensor in graph.initializer]
    found = inspect(path).graph
    assert found is not None
    assert (found.ir_version, found.nodes, found.subgraphs) == (
        model.ir_version,
        len(model.graph.node),
        len(graphs) - 1,
    )
    assert found.nodes_in_subgraphs == len(nodes) - len(model.graph.node)
    assert found.opsets == {opset.domain or "ai.onnx": opset.version for opset in model.opset_import}
    assert found.producer == f"{model.producer_name} {model.producer_version}".strip()
    assert found.metadata == {entry.key: entry.value for entry in model.metadata_props}
    counts = Counter((node.domain or "ai.onnx", node.op_type) for node in nodes)
    assert {
        (domain, name): count for domain, names in found.operators.items() for name, count in names.items()
    } == counts
    assert (found.initializers, found.parameters) == (len(arrays), sum(array.size for array in arrays))
    assert found.parameter_bytes == sum(array.nbytes for array in arrays)
    by_dtype = Counter({str(array.dtype): 0 for array in arrays})
    for array in arrays:
        by_dtype[str(array.dtype)] += array.size
    assert {name: count.parameters for name, count in found.parameters_by_dtype.items()} == by_dtype
    for ports, values in ((found.inputs, model.graph.input), (found.outputs, model.graph.output)):
        assert [port.name for port in ports] == [value.name for value in values]
        for port, value in zip(ports, values, strict=True):
            tensor = value.type.tensor_type
            assert port.dtype == helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
            sizes = tuple(
                one.dim_param or (one.dim_value if one.HasField("dim_value") else None) for one in tensor.shape.dim
            )
            assert port.shape == (sizes if tensor.HasField("shape") else None)


@pytest.mark.parametrize("name", EXPORTED)
def test_facts_of_an_export(name: str) -> None:
    check_facts(FIXTURES / name / "onnx" / "model.onnx")


@pytest.mark.parametrize("name", onnx_graphs.GRAPHS)
def test_facts_of_a_graph_made_by_hand(name: str, tmp_path: Path) -> None:
    made = onnx_graphs.GRAPHS[name]()
    helper.set_model_props(made, {"name": name, "by": "hand"})
    onnx.save(made, tmp_path / "model.onnx")
    check_facts(tmp_path / "model.onnx")


@pytest.mark.parametrize("name", FOLDERS)
def test_folder_agrees_with_the_loaded_model(name: str) -> None:
    inspection, info = inspect(FIXTURES / name), Embedder(FIXTURES / name).model_info()
    found = inspection.model
    assert found is not None
    assert inspection.runs is not None
    assert not [finding for finding in inspection.findings if finding.severity == "error"]
    assert (found.family, found.dimension, found.parameters) == (info.family, info.dimension, info.parameters)
    assert (found.pooling, found.modules, found.prompts) == (info.pooling, info.modules, info.prompts)
    assert (found.max_seq_length, found.similarity_fn_name) == (info.max_seq_length, info.similarity_fn_name)
    assert inspection.runs.file == info.source
    [cpu] = [provider for provider in inspection.providers if provider.provider == "cpu"]
    assert cpu.installed
    assert cpu.placement == Embedder(FIXTURES / name).placement()[0].providers


def test_parameters_of_an_onnx_file_are_counted(tmp_path: Path) -> None:
    folder = copy("bert-cls", tmp_path)
    (folder / "model.safetensors").unlink()
    model = onnx.load(folder / "onnx" / "model.onnx")
    parameters = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    assert Embedder(folder).model_info().parameters == parameters > 0


def test_weights_agree_with_the_file(folder: Path) -> None:
    tensors = read_safetensors(folder / "model.safetensors")
    found = inspect(folder).weights
    assert found is not None
    floats = {name: array for name, array in tensors.items() if array.dtype.kind == "f"}
    assert (found.tensors, found.parameters) == (len(floats), sum(array.size for array in floats.values()))


def test_tokenizer_agrees_with_the_library(folder: Path) -> None:
    from tokenizers import Tokenizer

    truth = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found = inspect(folder).tokenizer
    assert found is not None
    assert found.vocabulary_size == truth.get_vocab_size()
    assert found.largest_id == max(truth.get_vocab().values())
    assert found.algorithm == json.loads(truth.to_str())["model"]["type"]
    assert all(truth.token_to_id(token) == number for token, number in found.special_tokens.items())


def test_external_data(tmp_path: Path) -> None:
    path, weights = tmp_path / "model.onnx", tmp_path / "weights.bin"
    model = onnx.load(FIXTURES / "bert-cls" / "onnx" / "model.onnx")
    tensors = len(model.graph.initializer)
    onnx.save(model, path, save_as_external_data=True, location=weights.name, size_threshold=0)
    whole = inspect(path)
    assert whole.graph is not None
    [external] = whole.graph.external_data
    assert (external.location, external.exists, external.bytes) == (weights.name, True, weights.stat().st_size)
    assert (external.tensors, external.complete) == (tensors, True)
    assert not whole.findings

    with weights.open("r+b") as stream:
        stream.truncate(weights.stat().st_size - 4)
    assert codes(inspect(path)) == {"external_data_incomplete"}

    weights.unlink()
    missing = inspect(path)
    assert codes(missing) == {"external_data_missing"}
    assert weights.name in message(missing, "external_data_missing")
    assert all(not provider.coverage and provider.placement is None for provider in missing.providers)


def test_onnx_files_that_runtime_refuses(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    made = onnx_graphs.chain("Relu", "Tanh")
    made.ir_version = 99
    path.write_bytes(made.SerializeToString())
    assert {"runtime_refuses", "ir_version_too_new"} <= codes(inspect(path))

    made = onnx_graphs.chain("Relu", "Tanh")
    made.opset_import[0].version = 999
    path.write_bytes(made.SerializeToString())
    found = codes(inspect(path))
    assert {"runtime_refuses", "opset_too_new"} <= found
    assert "ir_version_too_new" not in found

    made = onnx_graphs.chain("Relu", "NoSuchOperator")
    path.write_bytes(made.SerializeToString())
    found = codes(inspect(path))
    assert "runtime_refuses" in found
    assert "opset_too_new" not in found


@pytest.mark.parametrize(
    "edges",
    [[("a", "b"), ("b", "a")], [("a", "a")], [("nowhere", "y")], [("x", "y"), ("x", "y")]],
    ids=["cycle", "itself", "dangling", "twice"],
)
def test_edges_that_lead_nowhere(edges: list[tuple[str, str]], tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", [before], [after]) for before, after in edges]
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_graphs.model(nodes, {"x": (2, 3)}, {"y": (2, 3)}).SerializeToString())
    assert "runtime_refuses" in codes(inspect(path))


@pytest.mark.parametrize("dims", [[-1], [2**62, 2**62], [2**40]])
def test_initializers_with_impossible_dimensions(dims: list[int], tmp_path: Path) -> None:
    made = onnx_graphs.chain("Relu")
    made.graph.initializer.append(TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=b"1234"))
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    assert "malformed_tensor" in codes(inspect(path))


def test_a_thousand_subgraphs_are_counted_and_not_looked_into(tmp_path: Path) -> None:
    nodes = []
    for number in range(1000):
        branches = [
            helper.make_graph(
                [helper.make_node("Relu", ["x"], [f"{name}{number}"])],
                name,
                [],
                [helper.make_tensor_value_info(f"{name}{number}", TensorProto.FLOAT, None)],
            )
            for name in ("then", "else")
        ]
        nodes.append(
            helper.make_node("If", ["condition"], [f"y{number}"], then_branch=branches[0], else_branch=branches[1])
        )
    outputs: dict[str, onnx_graphs.Shape] = {f"y{number}": (2, 3) for number in range(1000)}
    made = onnx_graphs.model(nodes, {"x": (2, 3), "condition": ()}, outputs, condition=TensorProto.BOOL)
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    found = inspect(path)
    assert found.graph is not None
    assert found.graph.subgraphs == 2000
    [coreml] = [provider for provider in found.providers if provider.provider == "coreml"]
    assert "2000 subgraphs" in coreml.explanation


def test_fixed_shapes(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(onnx_graphs.gather_nd(), path)
    assert "ids (2, 5, 1)" in message(inspect(path), "fixed_shape")
    assert "fixed_shape" not in codes(inspect(FIXTURES / "bert-cls" / "onnx" / "model.onnx"))


def sentence_graph(path: Path, *, normalized: bool, dtype: int = TensorProto.FLOAT) -> None:
    """A graph that gives pooled vectors."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("ReduceMean", ["rows"], ["mean"], axes=[1], keepdims=0),
    ]
    if normalized:
        nodes += [
            helper.make_node("ReduceL2", ["mean"], ["length"], axes=[-1], keepdims=1),
            helper.make_node("Clip", ["length", "least"], ["clipped"]),
            helper.make_node("Expand", ["clipped", "shape"], ["expanded"]),
            helper.make_node("Div", ["mean", "expanded"], ["vector"]),
        ]
    nodes += [helper.make_node("Cast", ["vector" if normalized else "mean"], ["sentence_embedding"], to=dtype)]
    constants = {
        "table": np.random.default_rng(1).normal(size=(500, 8)).astype(np.float32),
        "least": np.float32(1e-12),
        "shape": np.array([1, 8]),
    }
    made = onnx_graphs.model(
        nodes,
        {"input_ids": ("batch", "sequence")},
        {"sentence_embedding": ("batch", 8)},
        constants,
        input_ids=TensorProto.INT64,
        sentence_embedding=dtype,
    )
    path.write_bytes(made.SerializeToString())


def test_steps_that_the_graph_and_the_folder_both_have(tmp_path: Path) -> None:
    folder = copy("bert-mean-prompts", tmp_path)
    (folder / "model.safetensors").unlink()
    graph = folder / "onnx" / "model.onnx"
    sentence_graph(graph, normalized=True)
    found = inspect(folder)
    assert {"pooled_twice", "normalized_twice"} <= codes(found)
    assert found.model is not None
    assert found.model.pooling == ("inside the graph",)

    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    (folder / "modules.json").write_text(json.dumps(modules[:2]), encoding="utf-8")
    found = inspect(folder)
    assert "normalized_inside" in codes(found)
    assert "normalized_twice" not in codes(found)

    sentence_graph(graph, normalized=False, dtype=TensorProto.FLOAT16)
    found = inspect(folder)
    assert {"pooled_twice", "half_precision_output"} <= codes(found)
    assert "normalized_inside" not in codes(found)


def test_limits_that_do_not_fit(folder: Path) -> None:
    positions = json.loads((folder / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"]
    edit(folder / "tokenizer_config.json", model_max_length=positions + 1)
    edit(folder / "sentence_bert_config.json", max_seq_length=positions)
    assert "tokenizer_above_positions" in codes(inspect(folder))

    edit(folder / "sentence_bert_config.json", max_seq_length=positions + 2)
    found = inspect(folder)
    assert {"limit_above_positions", "limit_above_tokenizer"} <= codes(found)
    assert found.model is not None
    assert (found.model.max_seq_length, found.model.max_seq_length_from) == (
        positions,
        "config.json: max_position_embeddings",
    )


def test_padding_and_truncation_in_tokenizer_json(folder: Path) -> None:
    from tokenizers import Tokenizer

    path = str(folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(path)
    tokenizer.enable_truncation(17)
    tokenizer.enable_padding(length=19)
    tokenizer.save(path)
    found = inspect(folder)
    assert found.tokenizer is not None
    assert (found.tokenizer.stored_truncation, found.tokenizer.stored_padding) == (17, "to 19")
    assert "17" in message(found, "stored_truncation")
    assert "19" in message(found, "stored_padding")

    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.save(path)
    assert not {"stored_truncation", "stored_padding"} & codes(inspect(folder))


def test_tokens_beyond_the_embedding_table(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    rows = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    assert "tokens_beyond_vocabulary" not in codes(inspect(folder))
    tokenizer["model"]["vocab"]["zebra"] = rows
    tokenizer["model"]["vocab"]["yak"] = rows + 7
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    assert message(inspect(folder), "tokens_beyond_vocabulary").startswith("2 tokens")


def test_pad_token_that_is_missing(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", pad_token="<nothing>")
    found = inspect(folder)
    with pytest.raises(InvalidModelError) as loading:
        Embedder(folder)
    assert message(found, "pad_token_missing") == str(loading.value)


def test_weights_that_the_graph_does_not_use_or_that_are_no_numbers(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = read_safetensors(path)
    tensors["classifier.weight"] = np.ones((2, 3), np.float32)
    write_safetensors(path, tensors)
    found = inspect(folder)
    assert found.weights is not None
    assert "classifier.weight" in found.weights.unused
    assert not {name for name in found.weights.unused if "layer." in name or "embeddings." in name}
    assert codes(found) & {"unused_tensors", "many_unused_tensors"} == {"unused_tensors"}

    [norm] = [name for name in tensors if name.endswith("embeddings.LayerNorm.weight")]
    tensors[norm] = tensors[norm].copy()
    tensors[norm][3] = np.inf
    tensors["decoder.weight"] = np.ones((3000, 30), np.float32)
    write_safetensors(path, tensors)
    found = inspect(folder)
    assert "many_unused_tensors" in codes(found)
    assert norm in message(found, "non_finite_weights")


def test_code_in_the_folder(folder: Path) -> None:
    assert "custom_code" not in codes(inspect(folder))
    edit(folder / "config.json", auto_map={"AutoModel": "modeling.Model"})
    assert "custom_code" in codes(inspect(folder))


def test_what_is_assumed(folder: Path) -> None:
    (folder / "modules.json").unlink()
    found = inspect(folder)
    assert "modules.json" in message(found, "assumed")
    assert found.model is not None
    assert found.model.pooling == ("mean",)


def test_only_a_pickle(folder: Path) -> None:
    shutil.rmtree(folder / "onnx")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    found = inspect(folder)
    with pytest.raises(InvalidModelError) as loading:
        Embedder(folder)
    assert message(found, "only_pickle") == str(loading.value)
    assert found.runs is None
    assert found.unused_files == ("pytorch_model.bin",)
    assert found.tokenizer is not None


BREAKS: dict[str, Callable[[Path], object]] = {
    "modules.json": lambda folder: (folder / "modules.json").write_text("[{}"),
    "pooling": lambda folder: edit(folder / "1_Pooling" / "config.json", pooling_mode="nobody knows"),
    "config.json": lambda folder: (folder / "config.json").write_text("{"),
    "family": lambda folder: edit(folder / "config.json", hidden_act="nobody knows"),
    "limit": lambda folder: edit(folder / "sentence_bert_config.json", max_seq_length=-1),
    "prompts": lambda folder: edit(folder / "config_sentence_transformers.json", prompts=[]),
    "tokenizer.json": lambda folder: (folder / "tokenizer.json").write_text("{}"),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "weights": lambda folder: (folder / "model.safetensors").write_bytes(b"12345678"),
    "a tensor": lambda folder: edit(folder / "config.json", hidden_size=96),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_part_is_a_finding_and_the_rest_is_read(name: str, folder: Path) -> None:
    BREAKS[name](folder)
    shutil.rmtree(folder / "onnx")
    found = inspect(folder)
    with pytest.raises(InvalidModelError) as loading:
        Embedder(folder)
    said = [finding.message for finding in found.findings if finding.severity == "error"]
    # The error may have the cause beneath it in brackets.
    assert any(str(loading.value).startswith(one) for one in said), (str(loading.value), said)
    if "tokenizer" not in name:
        assert found.tokenizer is not None
    if name != "weights":
        assert found.weights is not None
    if name != "config.json":
        assert found.model is not None
        assert found.model.family == "bert"


def test_two_broken_parts_are_two_findings(folder: Path) -> None:
    BREAKS["pooling"](folder)
    BREAKS["tokenizer.json"](folder)
    found = " ".join(finding.message for finding in inspect(folder).findings)
    assert "nobody knows" in found
    assert "tokenizer.json" in found


def test_what_is_not_there_or_no_model(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", "", "no/such/model"):
        with pytest.raises(ModelNotFoundError):
            inspect(path)
    text = tmp_path / "notes.txt"
    text.write_text("Not a model.")
    with pytest.raises(InvalidModelError, match="not an ONNX model"):
        inspect(text)
    with pytest.raises(TypeError):
        inspect(3)  # type: ignore[arg-type]
    with pytest.raises((ModelNotFoundError, OSError)):
        inspect("x" * 5000)


def test_a_model_by_its_name() -> None:
    found = inspect("all-MiniLM-L6-v2")
    assert found.kind == "folder"
    assert found.model is not None
    assert found.model.layers == 6


def test_without_onnxruntime(folder: Path) -> None:
    script = """
        import os, sys
        os.environ["ORT_DYLIB_PATH"] = "/no/such/library.so"
        import oxembed
        found = oxembed.inspect(sys.argv[1])
        assert found.graph is not None and found.graph.nodes > 10
        assert not found.providers
        [finding] = [one for one in found.findings if one.code == "runtime_unavailable"]
        assert "ORT_DYLIB_PATH" in finding.message
    """
    done = run_python(script, str(folder))
    assert done.returncode == 0, done.stderr


def test_large_weights_are_not_read(tmp_path: Path) -> None:
    """A graph with 400 MB of weights inside: neither copied nor written anywhere."""
    size = 10_000
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    made = onnx_graphs.model([node], {"x": ("batch", size)}, {"y": ("batch", size)})
    made.graph.initializer.append(
        TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[size, size], raw_data=bytes(4 * size * size))
    )
    path = tmp_path / "large.onnx"
    path.write_bytes(made.SerializeToString())
    script = """
        import resource, sys
        import oxembed
        oxembed.inspect(sys.argv[2])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = oxembed.inspect(sys.argv[1])
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert found.graph.parameters == 100_000_000
        assert any(part.supported_nodes == 1 for one in found.providers for part in one.coverage)
        print(after - before)
    """
    done = run_python(script, str(path), str(FIXTURES / "bert-cls" / "onnx" / "model.onnx"))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 60_000  # kilobytes


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "oxembed", "inspect", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("name", ["bert-cls", "qwen3-lasttoken", "bert-cls/onnx/model.onnx"])
def test_command_line(name: str) -> None:
    path = str(FIXTURES / name)
    plain = command(path)
    assert (plain.returncode, plain.stderr) == (0, "")
    # Only a path may be longer than a terminal is wide.
    assert max(len(line) for line in plain.stdout.replace(str(FIXTURES), "").splitlines()) <= 80
    for words in ("ML Program", "CPUExecutionProvider", "Operators of ai.onnx", "input_ids: int64"):
        assert words in plain.stdout
    as_json = command(path, "--json")
    assert (as_json.returncode, json.loads(as_json.stdout)) == (0, inspect(path).as_dict())


def test_command_line_with_findings_is_done_and_with_nothing_to_read_has_failed(folder: Path, tmp_path: Path) -> None:
    BREAKS["pooling"](folder)
    broken = command(str(folder))
    assert (broken.returncode, broken.stderr) == (0, "")
    assert "not_loadable" in broken.stdout
    assert "would run" in broken.stdout
    for path in (str(tmp_path / "nothing"), __file__):
        failed = command(path)
        assert (failed.returncode, failed.stdout) == (1, "")
        assert failed.stderr.startswith("oxembed: ")
        assert failed.stderr.count("\n") == 1
    assert command().returncode == 2


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    made = onnx_graphs.chain("Relu")
    made.producer_name = "\x1b[31mred\x07"
    made.graph.node[0].op_type = "Re\x1b[0mlu"
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    assert "\x1b" not in command(str(path)).stdout
