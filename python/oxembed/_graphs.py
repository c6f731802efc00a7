"""What `inspect` says of a graph, and of the execution providers that would run it; see `inspection`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph.

    Attributes:
        name: Name.
        dtype: Element type, such as `"int64"`; `None` for what is not a tensor.
        shape: A size, a name that stands for any size, or `None` for each dimension; `None` where the graph does not
            even say how many there are.
    """

    name: str
    dtype: str | None
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """The initializers of one element type.

    Attributes:
        tensors: How many.
        parameters: Numbers in them.
        bytes: Bytes they take.
    """

    tensors: int
    parameters: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ExternalData:
    """A file beside a graph, with the contents of initializers.

    Attributes:
        location: As the graph names it.
        exists: Whether it is there.
        bytes: Its size, where it is there.
        tensors: Initializers in it.
        complete: Whether all of them lie in it as the graph says.
    """

    location: str
    exists: bool
    bytes: int | None
    tensors: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph: the ONNX file's, or the one written from the weights.

    Attributes:
        file: The ONNX file, or `"written graph"`.
        bytes: Size of the file or of the written graph, external data not counted.
        ir_version: Version of the file format.
        opsets: Operator set by domain; `"ai.onnx"` is the standard one.
        producer: The program that wrote it.
        metadata: What that program noted.
        inputs: Inputs, in order.
        outputs: Outputs, in order.
        nodes: Nodes, those of subgraphs not counted.
        subgraphs: Graphs inside nodes.
        nodes_in_subgraphs: Nodes in them.
        functions: Functions that come with the model.
        operators: Count of each operator by domain, subgraphs included.
        initializers: Initializers, subgraphs included.
        parameters: Numbers in them.
        parameter_bytes: Bytes they take.
        parameters_by_dtype: The same by element type.
        external_data: Files with the contents of initializers.
    """

    file: str
    bytes: int
    ir_version: int
    opsets: Mapping[str, int]
    producer: str
    metadata: Mapping[str, str]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: int
    subgraphs: int
    nodes_in_subgraphs: int
    functions: int
    operators: Mapping[str, Mapping[str, int]]
    initializers: int
    parameters: int
    parameter_bytes: int
    parameters_by_dtype: Mapping[str, ParameterCount]
    external_data: tuple[ExternalData, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """The part of a graph that a provider would take, by the rules of ONNX Runtime's own checker.

    Attributes:
        format: The format that the provider converts to, such as `"ML Program"`.
        shapes: `"as they are"`, or `"if they were fixed"`.
        nodes: Nodes after ONNX Runtime's basic optimizations, subgraphs included.
        supported_nodes: Nodes that it would take.
        partitions: Parts of the graph that these form; the data is copied to and fro for each.
        partition_sizes: Nodes in each.
        nodes_unsupported_by_operator: Nodes left for their operator.
        nodes_unsupported_by_shape: Nodes left for an input whose shape varies.
        nodes_unsupported_by_rank: Nodes left for an input with too many dimensions.
        unsupported_operators: Operators that are not supported, as `"domain:operator"`.
        operators_of_unsupported_rank: Operators with too many dimensions.
        unchecked_conditions: Conditions on supported operators that the checker does not look at.
    """

    format: str
    shapes: str
    nodes: int
    supported_nodes: int
    partitions: int
    partition_sizes: tuple[int, ...]
    nodes_unsupported_by_operator: int
    nodes_unsupported_by_shape: int
    nodes_unsupported_by_rank: int
    unsupported_operators: tuple[str, ...]
    operators_of_unsupported_rank: tuple[str, ...]
    unchecked_conditions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Provider:
    """What an execution provider would take of the graph.

    Attributes:
        provider: As `provider=` spells it.
        name: As ONNX Runtime spells it.
        installed: Whether this ONNX Runtime has it.
        placement: Nodes by provider, as ONNX Runtime gave them out in a session; `None` where there was none.
        coverage: What is computed without the provider; empty where it has no rules.
        explanation: What the above is, or why there is nothing.
    """

    provider: str
    name: str
    installed: bool
    placement: Mapping[str, int] | None
    coverage: tuple[Coverage, ...]
    explanation: str
