"""What went wrong with a download, in plain words.

`huggingface_hub` brings `requests` (versions 0), `httpx` (1) or `httpx2` (2), whose errors have nothing in common but
their names and the error of the operating system at the bottom.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from oxembed.exceptions import ModelNotFoundError, OxembedError

_TOKEN = "set HF_TOKEN, or run `hf auth login`, or pass token="
_CUT_OFF = ("ChunkedEncodingError", "ProtocolError", "RemoteProtocolError")  # of requests, urllib3, httpx
_ELSEWHERE = "Or download it elsewhere, copy the folder here and pass its path"


def explain(hub: Any, error: Exception, endpoint: str, model_id: str, revision: str, file: str | None) -> OxembedError:
    """The error to raise in place of one of `huggingface_hub` or of what it uses.

    Args:
        hub: The module `huggingface_hub`.
        error: What it raised.
        endpoint: Address of the hub.
        model_id: What was asked for.
        revision: Which revision of it.
        file: The file that was being downloaded, if any.
    """
    errors = hub.errors
    page = f"{endpoint}/{model_id}"
    chain = list(_chain(error))
    status = next((status for status in map(_status, chain) if status is not None), None)

    def found(kind: type[Exception]) -> bool:
        return any(isinstance(one, kind) for one in chain)

    if found(errors.GatedRepoError):
        words = (
            f"{model_id} is given only to those who have accepted its terms (status {status}): open {page}, log in and "
            f"accept them. Then {_TOKEN}, with a token of the same account"
        )
    elif found(errors.RepositoryNotFoundError):
        words = (
            f"{endpoint} has no model {model_id!r} (status {status}), or it is private and the token in use, if any, "
            f"does not open it. Check the spelling at {page}. For a private one: {_TOKEN}"
        )
    elif found(errors.RevisionNotFoundError):
        words = f"{model_id} has no revision {revision!r} at {endpoint}; its branches and tags are at {page}/tree/main"
    elif found(errors.LocalTokenNotFoundError):
        words = f"token=True asks for the saved token, and there is none: {_TOKEN}"
    elif found(errors.OfflineModeIsEnabled):
        words = "huggingface_hub was imported with HF_HUB_OFFLINE set, which it keeps. Unset it and start again"
    elif status in (401, 403):
        words = f"{endpoint} refuses the token in use for {model_id} (status {status}): {_TOKEN}"
    elif status == 404:
        words = f"{endpoint} lists the file {file!r} of {model_id}, and does not have it (status 404). Try again later"
    elif status is None and file is None and isinstance(error, ValueError | TypeError | KeyError | AttributeError):
        # The library trusts the answer to be JSON, and to have the keys of a model.
        words = f"{endpoint} does not answer as a Hugging Face hub ({_reason(chain)}). Check HF_ENDPOINT"
    else:
        words = _unreachable(hub, chain, endpoint, model_id, status, file)
    return ModelNotFoundError(words)


def _unreachable(
    hub: Any, chain: list[BaseException], endpoint: str, model_id: str, status: int | None, file: str | None
) -> str:
    what = f"{file} of {model_id}" if file is not None else model_id
    begin = f"{what} could not be downloaded from {endpoint}: "
    if status == 429:
        return f"{begin}too many requests (status 429). Wait some minutes; with a token more are allowed: {_TOKEN}"
    if status is not None:
        return f"{begin}it answers with status {status}. Try again later. {_ELSEWHERE}"
    if any("Timeout" in type(one).__name__ for one in chain):
        patience = hub.constants.HF_HUB_ETAG_TIMEOUT if file is None else hub.constants.HF_HUB_DOWNLOAD_TIMEOUT
        name = "HF_HUB_ETAG_TIMEOUT" if file is None else "HF_HUB_DOWNLOAD_TIMEOUT"
        return f"{begin}no answer within {patience} seconds ({name} sets how many). {_ELSEWHERE}"
    if file is not None:
        return f"{begin}{_reason(chain)}. Run the same again: files that are complete are kept"
    return f"{begin}{_reason(chain)}. Check the network and, where it is set, HF_ENDPOINT. {_ELSEWHERE}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it, outermost first."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _status(error: BaseException) -> int | None:
    """The HTTP status of an answer that an error is about."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _reason(chain: list[BaseException]) -> str:
    """The operating system's words, where there are any; else the first line of the outermost error."""
    if any(type(one).__name__ in _CUT_OFF for one in chain):
        return "the connection was cut off"
    for one in reversed(chain):
        if isinstance(one, OSError) and one.strerror:
            return one.strerror
    lines = [line for line in map(str.strip, str(chain[0]).splitlines()) if line]
    return (lines[0] if lines else type(chain[0]).__name__).rstrip(".")
