"""Every error that oxembed raises on purpose.

All of them are [`OxembedError`][oxembed.exceptions.OxembedError]; where Python has a built-in exception of the same
meaning they are that too, so code written for `ValueError` or `FileNotFoundError` keeps working. A wrong *type* (a
number among the texts, a misspelt keyword) is a plain `TypeError`, as everywhere in Python.

Each takes one message that says what happened, why, and what would work, and each can be pickled, so that it crosses
process pools unharmed.
"""

from __future__ import annotations

__all__ = [
    "InferenceError",
    "InternalError",
    "InvalidInputError",
    "InvalidModelError",
    "ModelNotFoundError",
    "OxembedError",
    "ProviderUnavailableError",
    "ServiceUnavailableError",
]


class OxembedError(Exception):
    """Base of all errors of this package.

    What to do: catch this one where any failure to embed is handled the same way.

    Example:
        >>> from oxembed import Embedder, OxembedError
        >>> try:
        ...     Embedder("no/such/folder")
        ... except OxembedError as error:
        ...     print(type(error).__name__)
        ModelNotFoundError
    """


class InvalidInputError(OxembedError, ValueError):
    """A text or an option that cannot be honoured.

    What to do: the message names the text (by its index) or the option, and the values that are accepted.
    """


class ModelNotFoundError(OxembedError, FileNotFoundError):
    """No model under that name or path, and none to be had from the hub.

    What to do: the message lists the places that were searched, and why a download failed. Pass the path of a model
    folder, or put the model into the Hugging Face cache with `oxembed download ID`.
    """


class InvalidModelError(OxembedError, ValueError):
    """The model folder is broken, or says something that this version does not understand.

    What to do: the message names the file, the key and the value. Copy or download the folder again if it is damaged;
    otherwise the model needs a newer oxembed.
    """


class ProviderUnavailableError(OxembedError):
    """The execution provider that was asked for cannot do the work here.

    What to do: pass `provider="cpu"`, a list such as `["cuda", "cpu"]` as an order of preference, or install the
    `onnxruntime` flavour that the message names.
    """


class InferenceError(OxembedError):
    """ONNX Runtime failed while running a model that had loaded.

    What to do: if the message speaks of memory, embed fewer or shorter texts at a time; otherwise the model file is the
    likely cause.
    """


class ServiceUnavailableError(OxembedError):
    """ONNX Runtime itself is absent, too old or broken.

    What to do: run the command in the message, usually `pip install "onnxruntime>=1.24"`, or point `ORT_DYLIB_PATH` at
    a good library.
    """


class InternalError(OxembedError):
    """A bug in oxembed.

    What to do: please report it, with the message and the model.
    """
