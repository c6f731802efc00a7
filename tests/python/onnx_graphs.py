"""Small ONNX graphs, made by hand with `onnx.helper`: one for each rule of ONNX Runtime's checker for CoreML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str | None] | None
OPSET = 17


def model(
    nodes: Sequence[Any],
    inputs: dict[str, Shape],
    outputs: dict[str, Shape],
    constants: dict[str, Any] | None = None,
    **types: int,
) -> onnx.ModelProto:
    """A model over float32 values, unless `types` names another type."""

    def value(name: str, shape: Shape) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), shape)

    graph = helper.make_graph(
        list(nodes),
        "test",
        [value(name, shape) for name, shape in inputs.items()],
        [value(name, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def chain(*operators: str, shape: Shape = (2, 3)) -> onnx.ModelProto:
    """One operator after another."""
    names = ["x", *(f"v{index}" for index in range(len(operators) - 1)), "y"]
    nodes = [helper.make_node(name, [names[i]], [names[i + 1]], name=f"n{i}") for i, name in enumerate(operators)]
    return model(nodes, {"x": shape}, {"y": shape})


def unsupported_in_the_middle() -> onnx.ModelProto:
    return chain("Relu", "Cosh", "Relu", "Sigmoid", "Cosh", "Tanh")


def dynamic_batch() -> onnx.ModelProto:
    return chain("Relu", "Sigmoid", "Tanh", shape=("batch", 3))


def parallel_branches() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Cosh", ["x"], ["b"]),
        helper.make_node("Sigmoid", ["a"], ["c"]),
        helper.make_node("Add", ["c", "b"], ["d"]),
        helper.make_node("Sinh", ["c"], ["e"]),
        helper.make_node("Mul", ["d", "e"], ["f"]),
        helper.make_node("Tanh", ["f"], ["y"]),
    ]
    return model(nodes, {"x": (2, 3)}, {"y": (2, 3)})


def six_dimensions() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Reshape", ["a", "shape"], ["b"]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[5, 0, 1, 2, 3, 4]),
        helper.make_node("Sigmoid", ["c"], ["d"]),
        helper.make_node("Reshape", ["d", "back"], ["e"]),
        helper.make_node("Tanh", ["e"], ["y"]),
    ]
    constants = {"shape": np.array([1, 2, 1, 2, 3, 1]), "back": np.array([4, 3])}
    return model(nodes, {"x": (4, 3)}, {"y": (4, 3)}, constants)


def transpose_of_unknown_rank() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[5, 0, 1, 2, 3, 4]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    return model(nodes, {"x": (4, 3), "shape": ("rank",)}, {"y": None}, shape=TensorProto.INT64)


def transpose_without_permutation() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[1, 0]),
        helper.make_node("Sigmoid", ["b"], ["y"]),
    ]
    return model(nodes, {"x": (4, 3)}, {"y": (3, 4)})


def left_out_input() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Clip", ["a", "", "most"], ["b"]),
        helper.make_node("Sigmoid", ["b"], ["y"]),
    ]
    return model(nodes, {"x": (4, 3)}, {"y": (4, 3)}, {"most": np.float32(0.5)})


def gather_nd() -> onnx.ModelProto:
    nodes = [
        helper.make_node("GatherND", ["table", "ids"], ["a"]),
        helper.make_node("LayerNormalization", ["a", "scale", "bias"], ["b"], axis=-1),
        helper.make_node("MatMul", ["b", "weight"], ["c"]),
        helper.make_node("Softmax", ["c"], ["y"]),
    ]
    constants = {
        "table": np.ones((500, 64), np.float32),  # more than 64 KiB: not read by us
        "scale": np.ones(64, np.float32),
        "bias": np.zeros(64, np.float32),
        "weight": np.ones((64, 64), np.float32),
    }
    return model(nodes, {"ids": (2, 5, 1)}, {"y": (2, 5, 64)}, constants, ids=TensorProto.INT64)


def gather() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["a"]),
        helper.make_node("Transpose", ["weight"], ["t"], perm=[1, 0]),  # folded
        helper.make_node("MatMul", ["a", "t"], ["b"]),
        helper.make_node("ArgMax", ["b"], ["y"], axis=-1),  # the checker's table says Argmax
    ]
    constants = {"table": np.ones((500, 64), np.float32), "weight": np.ones((300, 64), np.float32)}
    return model(
        nodes, {"ids": ("batch", 5)}, {"y": ("batch", 5, 1)}, constants, ids=TensorProto.INT64, y=TensorProto.INT64
    )


def shape_arithmetic() -> onnx.ModelProto:
    """As exporters write it: the shape of an input decides that of what follows."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["batch"]),
        helper.make_node("Unsqueeze", ["batch", "axis"], ["b1"]),
        helper.make_node("Concat", ["b1", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("Relu", ["r"], ["y"]),
    ]
    constants = {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1, 2])}
    return model(nodes, {"x": ("batch", 6)}, {"y": None}, constants)


def microsoft_operators() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("QuickGelu", ["a"], ["y"], domain="com.microsoft", alpha=1.5),
        helper.make_node("Erf", ["x"], ["b"]),
        helper.make_node("FastGelu", ["b"], ["z"], domain="com.microsoft"),
    ]
    return model(nodes, {"x": (2, 3)}, {"y": (2, 3), "z": (2, 3)})


def _branch(name: str, *operators: str) -> onnx.GraphProto:
    names = ["outer", *(f"{name}{index}" for index in range(len(operators)))]
    nodes = [helper.make_node(operator, [names[i]], [names[i + 1]]) for i, operator in enumerate(operators)]
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, None)])


def choice(shape: Shape = (2, 3)) -> onnx.ModelProto:
    """Branches that take a value from around them."""
    then, otherwise = _branch("then", "Relu", "Cosh", "Sigmoid"), _branch("else", "Tanh", "Relu")
    nodes = [
        helper.make_node("Relu", ["x"], ["outer"]),
        helper.make_node("If", ["condition"], ["chosen"], then_branch=then, else_branch=otherwise),
        helper.make_node("Sigmoid", ["chosen"], ["a"]),
        helper.make_node("Tanh", ["a"], ["y"]),
    ]
    return model(nodes, {"x": shape, "condition": ()}, {"y": shape}, condition=TensorProto.BOOL)


def choice_of_varying_shape() -> onnx.ModelProto:
    return choice(("batch", 3))


def loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [
            helper.make_node("Relu", ["state"], ["a"]),
            helper.make_node("Add", ["a", "outer"], ["next"]),
            helper.make_node("Identity", ["going"], ["go_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("iteration", TensorProto.INT64, ()),
            helper.make_tensor_value_info("going", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, (2, 3)),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, (2, 3)),
        ],
    )
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["outer"]),
        helper.make_node("Loop", ["count", "yes", "outer"], ["last"], body=body),
        helper.make_node("Tanh", ["last"], ["y"]),
    ]
    return model(nodes, {"x": (2, 3)}, {"y": (2, 3)}, {"count": np.array(3), "yes": np.array(True)})


def constants_in_nodes() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones((3,), np.float32))),
        helper.make_node("Add", ["x", "c"], ["a"]),
        helper.make_node("Identity", ["a"], ["b"]),
        helper.make_node("Dropout", ["b"], ["d"]),
        helper.make_node("ReduceMean", ["d"], ["e"], axes=[-1]),
        helper.make_node("Pow", ["e", "two"], ["y"]),
    ]
    return model(nodes, {"x": ("batch", 3)}, {"y": ("batch", 1)}, {"two": np.float32(2)})


def nothing_supported() -> onnx.ModelProto:
    return chain("Cosh", "Sinh", "Acos")


def half_precision() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Cast", ["c"], ["y"], to=TensorProto.FLOAT),
    ]
    return model(nodes, {"x": (4, 256)}, {"y": (4, 256)}, {"w": np.ones((256, 256), np.float16)})


GRAPHS: dict[str, Callable[[], onnx.ModelProto]] = {
    made.__name__: made
    for made in (
        unsupported_in_the_middle,
        dynamic_batch,
        parallel_branches,
        six_dimensions,
        transpose_of_unknown_rank,
        transpose_without_permutation,
        left_out_input,
        gather_nd,
        gather,
        shape_arithmetic,
        microsoft_operators,
        choice,
        choice_of_varying_shape,
        loop,
        constants_in_nodes,
        nothing_supported,
        half_precision,
    )
}
