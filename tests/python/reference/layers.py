"""The arithmetic that every encoder here shares: activations, layer normalization, linear layers, attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Weights = Mapping[str, Array]
Activation = Callable[[Array], Array]

_erf_each = np.frompyfunc(math.erf, 1, 1)


def erf(x: Array) -> Array:
    """The error function of every element, by the C library (`math.erf`)."""
    result: Array = np.asarray(_erf_each(x)).astype(np.float64)
    return result


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), written with tanh so that no input overflows."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def gelu(x: Array) -> Array:
    """The exact GELU, x * Phi(x): `GELUActivation` in transformers' activations.py, `torch.nn.GELU()`."""
    return 0.5 * x * (1.0 + erf(x / math.sqrt(2.0)))


def gelu_tanh(x: Array) -> Array:
    """The tanh approximation: `NewGELUActivation` and `GELUTanh`, which differ only in rounding."""
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def gelu_fast(x: Array) -> Array:
    """`FastGELUActivation`: the tanh approximation with sqrt(2 / pi) cut to ten digits."""
    return 0.5 * x * (1.0 + np.tanh(x * 0.7978845608 * (1.0 + 0.044715 * x * x)))


def gelu_10(x: Array) -> Array:
    """`ClippedGELUActivation(-10, 10)`."""
    return np.clip(gelu(x), -10.0, 10.0)


def quick_gelu(x: Array) -> Array:
    """`QuickGELUActivation`."""
    return x * sigmoid(1.702 * x)


def relu(x: Array) -> Array:
    """`torch.nn.ReLU`."""
    return np.maximum(x, 0.0)


def silu(x: Array) -> Array:
    """`torch.nn.SiLU`, which transformers also calls swish."""
    return x * sigmoid(x)


def tanh(x: Array) -> Array:
    """`torch.nn.Tanh`."""
    return np.tanh(x)


def identity(x: Array) -> Array:
    """`torch.nn.Identity`; "linear" in transformers."""
    return x


# transformers' activations.py, ACT2CLS: the names that `hidden_act` and DistilBERT's `activation` may have.
HIDDEN_ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": gelu,
    "gelu_python": gelu,
    "gelu_10": gelu_10,
    "gelu_new": gelu_tanh,
    "gelu_accurate": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu_python_tanh": gelu_tanh,
    "gelu_fast": gelu_fast,
    "quick_gelu": quick_gelu,
    "relu": relu,
    "silu": silu,
    "swish": silu,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "linear": identity,
}


def hidden_activation(name: str) -> Activation:
    """The activation that transformers calls `name`."""
    if name not in HIDDEN_ACTIVATIONS:
        raise ValueError(f"activation {name!r} is not in the reference: it has {', '.join(HIDDEN_ACTIVATIONS)}")
    return HIDDEN_ACTIVATIONS[name]


def linear(x: Array, weights: Weights, name: str) -> Array:
    """`torch.nn.Linear`: x W^T + b, with W stored as (out, in)."""
    product: Array = x @ weights[f"{name}.weight"].T
    return product + weights[f"{name}.bias"]


def layer_norm(x: Array, weights: Weights, name: str, eps: float) -> Array:
    """`torch.nn.LayerNorm` over the last axis: the biased variance, eps inside the root."""
    mean = x.mean(axis=-1, keepdims=True)
    variance = x.var(axis=-1, keepdims=True)
    unit: Array = (x - mean) / np.sqrt(variance + eps)
    return unit * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def softmax(x: Array) -> Array:
    """Softmax over the last axis."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    result: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return result


def attention(
    query: Array, key: Array, value: Array, heads: int, *, bias: Array | None = None, causal: bool = False
) -> Array:
    """Scaled dot-product attention of one text: `eager_attention_forward` in transformers' modeling_bert.py.

    `query`, `key` and `value` are (tokens, hidden), cut into `heads` equal heads. `bias` (heads, tokens, tokens) is
    added to the scaled scores, as in modeling_mpnet.py. `causal` hides the tokens to the right, as `is_decoder` does.
    """
    tokens, hidden = query.shape
    if hidden % heads:
        raise ValueError(f"hidden size {hidden} is not a multiple of {heads} attention heads")
    size = hidden // heads
    by_head = [x.reshape(tokens, heads, size).transpose(1, 0, 2) for x in (query, key, value)]
    scores = by_head[0] @ by_head[1].transpose(0, 2, 1) / math.sqrt(size)
    if bias is not None:
        scores = scores + bias
    if causal:
        scores = np.where(np.tril(np.ones((tokens, tokens), dtype=bool)), scores, -np.inf)
    mixed: Array = softmax(scores) @ by_head[2]
    return mixed.transpose(1, 0, 2).reshape(tokens, hidden)


def rows(weights: Weights, name: str, indices: npt.NDArray[np.int64]) -> Array:
    """`torch.nn.Embedding`: the rows of a table; an index outside it is an error here as there."""
    table = weights[f"{name}.weight"]
    if indices.size and (indices.min() < 0 or indices.max() >= len(table)):
        raise IndexError(f"{name} has {len(table)} rows; asked for row {int(indices.max())}")
    return table[indices]
