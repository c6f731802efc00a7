"""The models whose shapes this version is tested with: what `oxembed models` prints.

The registry describes and never decides. Any sentence-transformers folder of a known family loads, listed or not, and
what a folder says about itself always counts; so nothing here is read when a model is loaded.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from oxembed.exceptions import InternalError, ModelNotFoundError

__all__ = ["RegisteredModel", "find", "models"]

_FILE = Path(__file__).with_name("registry.toml")


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """What is known about a model, to choose it by.

    Attributes:
        id: Name on the Hugging Face hub.
        family: `model_type` of its config.json.
        dimension: Length of a vector.
        pooling: Pooling mode, as sentence-transformers calls it.
        normalize: Whether the model itself scales its vectors to length 1.
        max_length: Tokens that a text is cut to, special ones included.
        prompts: What the folder has by name, and `encode_query` and `encode_document` therefore use.
        card_prompts: What the model's card asks people to put before a text, and the folder does not say: pass it as
            `prompt=`.
        matryoshka: Shorter lengths that the model was trained for, for `truncate_dim=`.
        matryoshka_from: The least of them, where the model was trained for any.
        parameters: Numbers in its weight files.
        dtype: How they are stored: "float32", "float16" or "bfloat16".
        license: SPDX identifier.
        weights: The file that holds the weights, or the index of several.
        sha256: Hash of `model.safetensors`, where it is known.
        layers: Layers of the encoder.
        hidden_size: Width of a token's vector.
        heads: Attention heads.
        key_value_heads: Heads of keys and values, where several query heads share one.
        intermediate_size: Width inside the feed-forward part.
        vocabulary: Rows of the embedding table.
        unconfirmed: What could not be compared with the model's repository: names of these attributes, and of files
            that the tests take its shape from.

    Example:
        >>> model = find("all-MiniLM-L6-v2")
        >>> model.family, model.dimension, model.max_length, model.license
        ('bert', 384, 256, 'Apache-2.0')
        >>> find("intfloat/e5-base-v2").card_prompts["query"]
        'query: '
    """

    id: str
    family: str
    dimension: int
    pooling: str
    normalize: bool
    max_length: int
    prompts: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    card_prompts: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    matryoshka: tuple[int, ...] = ()
    matryoshka_from: int | None = None
    parameters: int
    dtype: str
    license: str
    weights: str = "model.safetensors"
    sha256: str | None = None
    layers: int
    hidden_size: int
    heads: int
    key_value_heads: int | None = None
    intermediate_size: int
    vocabulary: int
    unconfirmed: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """All attributes, in values that `json` can write.

        Example:
            >>> find("BAAI/bge-m3").as_dict()["weights"]
            'pytorch_model.bin'
        """
        values: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**values, "matryoshka": list(self.matryoshka), "unconfirmed": list(self.unconfirmed)}


@cache
def models() -> tuple[RegisteredModel, ...]:
    """All registered models, in the order of the file.

    Returns:
        One object a model.

    Raises:
        InternalError: The package's own file is missing or damaged.

    Example:
        >>> sorted({model.family for model in models()})[:3]
        ['bert', 'gemma3_text', 'gte']
        >>> [model.id for model in models() if model.dimension == 384 and model.max_length > 256][:2]
        ['intfloat/e5-small-v2', 'intfloat/multilingual-e5-small']
    """
    try:
        rows = tomllib.loads(_FILE.read_text(encoding="utf-8"))["model"]
        return tuple(_model(row) for row in rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InternalError(f"{_FILE}: the registry cannot be read ({error}); install oxembed again") from error


def find(name: str) -> RegisteredModel:
    """The registered model of that name.

    Args:
        name: Its id, or the part after "/"; upper and lower case are the same.

    Returns:
        What is known about it.

    Raises:
        ModelNotFoundError: It is not registered; the message names those that are called almost so.

    Example:
        >>> find("baai/bge-small-en-v1.5").pooling
        'cls'
    """
    wanted = name.lower()
    by_name = {model.id.lower(): model for model in models()}
    by_name |= {model.id.lower().rpartition("/")[2]: model for model in models()}
    if wanted in by_name:
        return by_name[wanted]
    close = dict.fromkeys(by_name[match].id for match in get_close_matches(wanted, by_name, n=6, cutoff=0.6))
    hint = f"Did you mean {' or '.join(list(close)[:3])}? " if close else ""
    raise ModelNotFoundError(
        f"{name!r} is not in the registry. {hint}`oxembed models` lists all that are. A model of a known family "
        f"need not be there to work: try `oxembed info {name}`"
    )


def _model(row: dict[str, Any]) -> RegisteredModel:
    for name in ("matryoshka", "unconfirmed"):
        row[name] = tuple(row.get(name, ()))
    return RegisteredModel(**row)
