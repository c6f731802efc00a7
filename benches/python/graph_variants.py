"""The written graph, with one thing done another way: what was tried before it was written as it is.

Each function takes the graph that `oxembed.export` writes of a BERT-like model for the CPU, and returns a changed copy
that computes the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    if "com.microsoft" not in {entry.domain for entry in changed.opset_import}:
        changed.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return changed


def _replace(model: onnx.ModelProto, nodes: Iterable[NodeProto]) -> onnx.ModelProto:
    kept = list(nodes)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    weights = [entry for entry in model.graph.initializer if entry.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    return model


def _constant(model: onnx.ModelProto, name: str, value: object, dtype: type = np.int64) -> str:
    if all(entry.name != name for entry in model.graph.initializer):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, dtype=dtype), name))
    return name


def _weights(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {entry.name: entry for entry in model.graph.initializer}


def _attributes(node: NodeProto) -> dict[str, object]:
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def skip_layer_normalization(model: onnx.ModelProto) -> onnx.ModelProto:
    """Addition and layer norm as one operator, `com.microsoft.SkipLayerNormalization`."""
    changed = _copy(model)
    additions = {node.output[0]: node for node in changed.graph.node if node.op_type == "Add"}
    uses = [name for node in changed.graph.node for name in node.input]
    nodes, merged = [], set()
    for node in changed.graph.node:
        addition = additions.get(node.input[0]) if node.op_type == "LayerNormalization" else None
        if addition is None or uses.count(addition.output[0]) != 1:
            nodes.append(node)
            continue
        merged.add(addition.output[0])
        inputs = [*addition.input, *node.input[1:]]
        epsilon = _attributes(node)["epsilon"]
        nodes.append(
            helper.make_node(
                "SkipLayerNormalization", inputs, list(node.output), domain="com.microsoft", epsilon=epsilon
            )
        )
    return _replace(changed, (node for node in nodes if node.output[0] not in merged))


def matmul_and_add(model: onnx.ModelProto) -> onnx.ModelProto:
    """`MatMul` on transposed weights and `Add`, in place of `Gemm` on the weights as they are stored."""
    changed = _copy(model)
    weights = _weights(changed)
    nodes = []
    for node in changed.graph.node:
        if node.op_type != "Gemm":
            nodes.append(node)
            continue
        rows, weight, bias = node.input
        weights[weight].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights[weight]).T.copy(), weight))
        product = f"{node.output[0]}_product"
        nodes.append(helper.make_node("MatMul", [rows, weight], [product]))
        nodes.append(helper.make_node("Add", [product, bias], list(node.output)))
    return _replace(changed, nodes)


def one_product(model: onnx.ModelProto) -> onnx.ModelProto:
    """One `Gemm` for query, key and value, and a `Split` after it."""
    changed = _copy(model)
    weights = _weights(changed)
    products: dict[str, list[NodeProto]] = {}
    for node in changed.graph.node:
        if node.op_type == "Gemm":
            products.setdefault(node.input[0], []).append(node)
    nodes = []
    for node in changed.graph.node:
        together = products.get(node.input[0], []) if node.op_type == "Gemm" else []
        if len(together) != 3:
            nodes.append(node)
        elif node is together[0]:
            joined = [
                numpy_helper.from_array(
                    np.concatenate([numpy_helper.to_array(weights[one.input[place]]) for one in together]),
                    f"{node.input[place]}_joined",
                )
                for place in (1, 2)
            ]
            changed.graph.initializer.extend(joined)
            output = f"{node.output[0]}_joined"
            nodes.append(
                helper.make_node("Gemm", [node.input[0], *(entry.name for entry in joined)], [output], transB=1)
            )
            nodes.append(
                helper.make_node("Split", [output], [one.output[0] for one in together], axis=1, num_outputs=3)
            )
    return _replace(changed, nodes)


def multi_head_attention(model: onnx.ModelProto) -> onnx.ModelProto:
    """`com.microsoft.MultiHeadAttention` in place of the standard `Attention`."""
    changed = _copy(model)
    nodes = []
    for node in changed.graph.node:
        if node.op_type != "Attention":
            nodes.append(node)
            continue
        query, key, value, mask = node.input
        settings = _attributes(node)
        nodes.append(
            helper.make_node(
                "MultiHeadAttention",
                [query, key, value, "", "", mask],
                list(node.output),
                domain="com.microsoft",
                num_heads=settings["q_num_heads"],
                scale=settings["scale"],
            )
        )
    return _replace(changed, nodes)


def spelled_out_attention(model: onnx.ModelProto) -> onnx.ModelProto:
    """Attention as `MatMul`, `Softmax`, `MatMul`."""
    changed = _copy(model)
    nodes = []
    for node in changed.graph.node:
        if node.op_type != "Attention":
            nodes.append(node)
            continue
        settings = _attributes(node)
        heads = _constant(changed, "variant_heads", [0, 0, settings["q_num_heads"], -1])
        joined = _constant(changed, "variant_joined", [0, 0, -1])
        scale = _constant(changed, "variant_scale", settings["scale"], np.float32)
        name = node.output[0]
        for part, (source, order) in enumerate(
            zip(node.input, ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)), strict=False)
        ):
            nodes.append(helper.make_node("Reshape", [source, heads], [f"{name}_split_{part}"]))
            nodes.append(helper.make_node("Transpose", [f"{name}_split_{part}"], [f"{name}_{part}"], perm=order))
        nodes += [
            helper.make_node("Mul", [f"{name}_0", scale], [f"{name}_scaled"]),
            helper.make_node("MatMul", [f"{name}_scaled", f"{name}_1"], [f"{name}_scores"]),
            helper.make_node("Add", [f"{name}_scores", node.input[3]], [f"{name}_masked"]),
            helper.make_node("Softmax", [f"{name}_masked"], [f"{name}_shares"], axis=-1),
            helper.make_node("MatMul", [f"{name}_shares", f"{name}_2"], [f"{name}_heads"]),
            helper.make_node("Transpose", [f"{name}_heads"], [f"{name}_back"], perm=(0, 2, 1, 3)),
            helper.make_node("Reshape", [f"{name}_back", joined], [name]),
        ]
    return _replace(changed, nodes)


VARIANTS = {
    "SkipLayerNormalization for Add and LayerNormalization": skip_layer_normalization,
    "MatMul and Add on transposed weights": matmul_and_add,
    "one product for query, key and value": one_product,
    "com.microsoft.MultiHeadAttention": multi_head_attention,
    "attention spelled out (MatMul, Softmax, MatMul)": spelled_out_attention,
}
