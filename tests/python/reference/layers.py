"""The arithmetic that every encoder here shares: activations, layer normalization, linear layers, attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Weights = Mapping[str, Array]
Activation = Callable[[Array], Array]

_erf_each = np.frompyfunc(math.erf, 1, 1)


def erf(x: Array) -> Array:
    """The error function of every element, by the C library (`math.erf`), in the precision of `x`."""
    result: Array = np.asarray(_erf_each(x)).astype(x.dtype)
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


def linear(x: Array, weights: Weights, name: str, *, bias: bool = True) -> Array:
    """`torch.nn.Linear`: x W^T + b, with W stored as (out, in)."""
    product: Array = x @ weights[f"{name}.weight"].T
    return product + weights[f"{name}.bias"] if bias else product


def layer_norm(x: Array, weights: Weights, name: str, eps: float, *, bias: bool = True) -> Array:
    """`torch.nn.LayerNorm` over the last axis: the biased variance, eps inside the root."""
    mean = x.mean(axis=-1, keepdims=True)
    variance = x.var(axis=-1, keepdims=True)
    unit: Array = (x - mean) / np.sqrt(variance + eps)
    scaled = unit * weights[f"{name}.weight"]
    return scaled + weights[f"{name}.bias"] if bias else scaled


def rms_norm(x: Array, weights: Weights, name: str, eps: float, *, offset: float = 0.0) -> Array:
    """`LlamaRMSNorm` and its copies, over the last axis; Gemma stores its weights less an `offset` of 1."""
    unit: Array = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
    return unit * (weights[f"{name}.weight"] + offset)


def softmax(x: Array) -> Array:
    """Softmax over the last axis."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    result: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return result


def split_heads(x: Array, heads: int) -> Array:
    """(tokens, heads * size) to (heads, tokens, size)."""
    tokens, hidden = x.shape
    if hidden % heads:
        raise ValueError(f"hidden size {hidden} is not a multiple of {heads} attention heads")
    return x.reshape(tokens, heads, hidden // heads).transpose(1, 0, 2)


def attention_by_head(
    query: Array,
    key: Array,
    value: Array,
    *,
    scale: float,
    bias: Array | None = None,
    visible: Mask | None = None,
) -> Array:
    """Scaled dot-product attention of one text: `eager_attention_forward` and `repeat_kv` in transformers.

    `query` is (heads, tokens, size); `key` and `value` have as many heads or a divisor of them, each of which serves
    neighbouring query heads. `bias` (heads, tokens, tokens) is added to the scaled scores; a token sees those that
    `visible` (tokens, tokens) says. The result is (tokens, heads * size).
    """
    heads, tokens, size = query.shape
    if heads % len(key):
        raise ValueError(f"{heads} attention heads are not a multiple of {len(key)} key-value heads")
    key, value = (np.repeat(x, heads // len(x), axis=0) for x in (key, value))
    scores = query @ key.transpose(0, 2, 1) * scale
    if bias is not None:
        scores = scores + bias
    if visible is not None:
        scores = np.where(visible, scores, -np.inf)
    mixed: Array = softmax(scores) @ value
    return mixed.transpose(1, 0, 2).reshape(tokens, heads * size)


def attention(
    query: Array, key: Array, value: Array, heads: int, *, bias: Array | None = None, causal: bool = False
) -> Array:
    """Attention as in transformers' modeling_bert.py.

    `query`, `key` and `value` are (tokens, hidden), cut into `heads` equal heads. `bias` (heads, tokens, tokens) is
    added to the scaled scores, as in modeling_mpnet.py. `causal` hides the tokens to the right, as `is_decoder` does.
    """
    query, key, value = (split_heads(x, heads) for x in (query, key, value))
    visible = window(query.shape[1], causal=True) if causal else None
    return attention_by_head(query, key, value, scale=1.0 / math.sqrt(query.shape[2]), bias=bias, visible=visible)


def window(tokens: int, *, causal: bool, left: int | None = None, right: int | None = None) -> Mask:
    """Which tokens each token sees: row i, column j. At most `left` before it, at most `right` after it, or no limit.

    `masking_utils.py`: `causal` hides all that come after.
    """
    order = np.arange(tokens)
    distance = order[None, :] - order[:, None]
    visible = np.ones((tokens, tokens), dtype=bool)
    if left is not None:
        visible &= distance >= -left
    if right is not None:
        visible &= distance <= right
    return visible & (distance <= 0) if causal else visible
