"""What CoreML would take, compared with ONNX Runtime's own checker on the same graphs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import FIXTURES
from onnx_graphs import GRAPHS
from onnx_graphs import model as make_graph
from onnxruntime.tools.mobile_helpers import usability_checker
from onnxruntime.tools.onnx_model_utils import (
    ModelProtoWithShapeInfo,
    fix_output_shapes,
    make_dim_param_fixed,
    optimize_model,
)

from oxembed import inspect
from oxembed.inspection import Coverage

SOURCES = Path(__file__).parent.parent.parent / "src" / "inspect" / "coreml_operators.rs"
TABLES = {
    "ML Program": ("ML_PROGRAM", "coreml_supported_mlprogram_ops.md"),
    "Neural Network": ("NEURAL_NETWORK", "coreml_supported_neuralnetwork_ops.md"),
}
SHAPES = {"as they are": True, "if they were fixed": False}
EXPORTED = sorted(path.parent.parent.name for path in FIXTURES.glob("*/onnx/model.onnx"))

tables_of = re.search(r'TABLES_OF: &str = "(.*)"', SOURCES.read_text(encoding="utf-8"))
assert tables_of is not None
pytestmark = pytest.mark.skipif(
    onnxruntime.__version__ != tables_of[1],
    reason=f"the tables are of ONNX Runtime {tables_of[1]}, this is {onnxruntime.__version__}: bring them up to date",
)


def ours(path: Path) -> dict[tuple[str, str], Coverage]:
    [provider] = [one for one in inspect(path).providers if one.provider == "coreml"]
    assert provider.coverage, provider.explanation
    return {(part.format, part.shapes): part for part in provider.coverage}


def compare(path: Path, folder: Path) -> None:
    """Every number of every format, with shapes as they are and as if they were fixed."""
    optimized = folder / "optimized.onnx"
    optimize_model(path, optimized, use_external_initializers=True)
    model = ModelProtoWithShapeInfo(optimized).model_with_shape_info
    found = ours(path)
    assert set(found) == {(name, shapes) for name in TABLES for shapes in SHAPES}
    for (name, shapes), part in found.items():
        truth: Any = usability_checker.check_coreml_partitions(model, SHAPES[shapes], TABLES[name][1])
        numbers = (part.partitions, part.supported_nodes, part.nodes)
        assert numbers == (truth.num_partitions, truth.num_supported_nodes, truth.num_nodes), (name, shapes)
        assert sorted(part.partition_sizes) == sorted(map(len, truth.supported_groups)), (name, shapes)
        assert part.nodes_unsupported_by_operator == truth.nodes_unsupported_due_to_op
        assert part.nodes_unsupported_by_shape == truth.nodes_unsupported_due_to_dynamic_input
        assert part.nodes_unsupported_by_rank == truth.num_unsupported_nodes_due_to_rank
        assert set(part.unsupported_operators) == truth.unsupported_ops
        assert set(part.operators_of_unsupported_rank) == truth.ops_with_unsupported_rank
        conditions = [f"{operator}:{text}" for operator, text in part.unchecked_conditions.items()]
        assert conditions == truth.supported_ops_checker.get_caveats()


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_made_by_hand(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    made = GRAPHS[name]()
    onnx.save(made, path)
    compare(path, tmp_path)


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_graph(name: str, tmp_path: Path) -> None:
    compare(FIXTURES / name / "onnx" / "model.onnx", tmp_path)


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_graph_with_fixed_shapes(name: str, tmp_path: Path) -> None:
    model = onnx.load(FIXTURES / name / "onnx" / "model.onnx")
    for dimension, size in (("batch_size", 1), ("sequence_length", 32)):
        make_dim_param_fixed(model.graph, dimension, size)
    fix_output_shapes(model)
    path = tmp_path / "fixed.onnx"
    onnx.save(model, path)
    compare(path, tmp_path)


def test_exported_graph_with_external_data(tmp_path: Path) -> None:
    model = onnx.load(FIXTURES / "bert-cls" / "onnx" / "model.onnx")
    path = tmp_path / "model.onnx"
    # Every initializer, those that are shapes too.
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    compare(path, tmp_path)


def test_shapes_behind_an_operator_of_onnxruntime_are_known(tmp_path: Path) -> None:
    """Where we know more than the checker, which asks the library `onnx`: it has no rules for these operators."""
    names = ["x", "a", "b", "y"]
    operators = [("QuickGelu", "com.microsoft"), ("Relu", ""), ("Sigmoid", "")]
    nodes = [
        onnx.helper.make_node(operator, [names[index]], [names[index + 1]], domain=domain)
        for index, (operator, domain) in enumerate(operators)
    ]
    path = tmp_path / "model.onnx"
    onnx.save(make_graph(nodes, {"x": (2, 3)}, {"y": (2, 3)}), path)
    part = ours(path)["ML Program", "as they are"]
    assert (part.partitions, part.supported_nodes, part.nodes_unsupported_by_shape) == (1, 3, 0)


def test_weights_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = onnx.load(FIXTURES / "bert-cls" / "onnx" / "model.onnx")
    before = ours(FIXTURES / "bert-cls" / "onnx" / "model.onnx")
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.ndim == 2:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.full_like(array, np.nan), tensor.name))
    onnx.save(model, path)
    assert ours(path) == before


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_those_of_onnxruntime(name: str) -> None:
    constant, file = TABLES[name]
    source = SOURCES.read_text(encoding="utf-8")
    table = re.search(rf"pub const {constant}: .*?= &\[\n(.*?)\n\];", source, re.DOTALL)
    assert table is not None
    rows = dict(re.findall(r'\("([^"]+)", "((?:[^"\\]|\\.)*)"\)', table[1]))
    truth: Any = usability_checker._SupportedOpsChecker(Path(usability_checker.__file__).parent / file)
    assert {operator: text.replace('\\"', '"') for operator, text in rows.items()} == truth._ops
