"""Does a model work here as it should? A suite of checks with a typed result."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

from oxembed import _options, hub
from oxembed.embedder import Embedder
from oxembed.exceptions import InvalidInputError

__all__ = ["Check", "Verification", "verify"]


@final
@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: What was checked, such as `"norms"`.
        status: `"passed"`, `"failed"`, or `"skipped"` where the check has no meaning for the model.
        measured: What was measured, in the unit of `bound`; `None` where that is no number.
        bound: What `measured` was compared with; `None` where there is none.
        sentence: What came out, and of a failure what it means, in plain words.

    Example:
        >>> Check("norms", "passed", 0.0, 1e-3, "every norm is 1").passed
        True
    """

    name: str
    status: Literal["passed", "failed", "skipped"]
    measured: float | None
    bound: float | None
    sentence: str

    @property
    def passed(self) -> bool:
        """Whether the check found nothing wrong; a skipped one did not."""
        return self.status != "failed"


@final
@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found.

    Attributes:
        model: The model's name.
        checks: Every check, in order.

    Example:
        >>> found = Verification("model", (Check("finite", "failed", 2.0, 0.0, "two texts have NaN"),))
        >>> found.passed, [check.name for check in found.failed]
        (False, ['finite'])
    """

    model: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, ready for `json.dumps`.

        Example:
            >>> Verification("model", ()).as_dict()
            {'model': 'model', 'passed': True, 'checks': []}
        """
        return {"model": self.model, "passed": self.passed, "checks": [asdict(check) for check in self.checks]}


def verify(
    model: str | os.PathLike[str] | Embedder = hub.EMBEDDED_MODEL,
    reference: str | os.PathLike[str] | None = None,
    *,
    reference_texts: str | os.PathLike[str] | None = None,
    pairs: bool = True,
    prompt_name: str | None = None,
    similar_above: float = 0.6,
    unrelated_below: float = 0.4,
    separation_above: float = 0.2,
    batch_tolerance: float = 1e-5,
    reference_tolerance: float = 1e-5,
    progress: Callable[[int, int], object] | None = None,
) -> Verification:
    """Check that a model works here: sound vectors that mean something, the same in any batch, and like a reference.

    - `dimension`: vectors are as long as `model_info()` says.
    - `finite`: no NaN and no infinity for texts that programs stumble over: empty, blank, control characters, emoji,
      many languages, code, long.
    - `norms`: length 1 within 1e-3, where the model normalizes.
    - `truncation`: texts over the limit are counted as such, and so are all tokens; skipped where the limit is so far
      away that a text beyond it would take minutes.
    - `repeatability`: the same call twice gives the same vectors.
    - `batches`: a text alone has the vector that it has in shuffled batches of short and long ones.
    - `similar pairs`, `unrelated pairs`, `separation`: English sentences that mean the same have a cosine above 0.6,
      others below 0.4, each of them, and the averages are more than 0.2 apart. For trained models; some of those use a
      narrow range of cosines and need other bounds.
    - `reference <key>`: the vectors of a file, within `reference_tolerance` and at a cosine of at least 0.99999.

    Args:
        model: An `Embedder`, or what its constructor takes.
        reference: An `.npz` file with `embeddings`, shape (n, dim), and any `prompt_<name>`, shape (k, dim), of the
            first k texts with that prompt. The texts are a JSON list beside it: for `golden.npz`, `golden_texts.json`
            or `texts.json`; or an array of strings `texts` inside.
        reference_texts: Another file with the texts of the reference.
        pairs: Whether to check the pairs; `False` for a model that is not trained or knows no English.
        prompt_name: Prompt of the model to put before the suite's own texts, in place of the default one. Models such
            as E5 compare sentences under their prompt for queries.
        similar_above: Least cosine of two sentences that mean the same.
        unrelated_below: Largest cosine of two that do not.
        separation_above: Least difference of the two averages.
        batch_tolerance: Largest difference of a number, alone and in a batch.
        reference_tolerance: Largest difference of a number to the reference.
        progress: Called now and then with the number of texts embedded, and of all.

    Returns:
        The checks, passed or not.

    Raises:
        ModelNotFoundError: As of `Embedder`.
        InvalidModelError: As of `Embedder`.
        InvalidInputError: A reference that cannot be read or does not fit the model, or a prompt that it does not have.
        InferenceError: ONNX Runtime failed in a way that is not the model's numbers.
        TypeError: An argument of the wrong type.

    Example:
        >>> found = verify()
        >>> found.passed, len(found.checks)
        (True, 9)
    """
    from oxembed._quality import Bounds, Suite  # only where they are used: `import oxembed` is to be quick
    from oxembed._reference import Reference

    bounds = Bounds(
        similar_above=_number("similar_above", similar_above),
        unrelated_below=_number("unrelated_below", unrelated_below),
        separation_above=_number("separation_above", separation_above),
        batch_tolerance=_number("batch_tolerance", batch_tolerance),
        reference_tolerance=_number("reference_tolerance", reference_tolerance),
    )
    if reference is None and reference_texts is not None:
        raise InvalidInputError("reference_texts has no part without a reference")
    stored = None if reference is None else Reference.read(reference, reference_texts)
    embedder = model if isinstance(model, Embedder) else Embedder(model)
    name = _options.optional_str("prompt_name", prompt_name)
    suite = Suite(embedder, bounds, stored, pairs=bool(pairs), prompt_name=name, progress=progress)
    outcomes = suite.run()
    return Verification(embedder.model_info().name, tuple(Check(*outcome) for outcome in outcomes))


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not abs(value) < float("inf"):
        raise InvalidInputError(f"{name} must be finite, got {value}")
    return float(value)
