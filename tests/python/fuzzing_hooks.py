"""What schemathesis cannot know of `oxembed serve`; it loads this module itself, by its name.

Token ids that are right begin and end with the special tokens of the model's own tokenizer. A JSON schema cannot say
how a list ends, so lists of ids that are to be right are given them here.
"""

from __future__ import annotations

from typing import Any

import schemathesis

# Of bert-base-uncased: [CLS] and [SEP].
FIRST, LAST = 101, 102


def with_special_tokens(value: object) -> object:
    """The same, where it is a list of token ids or a list of such lists."""
    if not isinstance(value, list) or not value:
        return value
    if all(isinstance(part, int | float) for part in value):
        return [FIRST, *value, LAST]
    return [with_special_tokens(part) for part in value]


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Change nothing that is to be refused."""
    if case.meta is None or not case.meta.generation.mode.is_positive or not isinstance(case.body, dict):
        return
    case.body = {
        key: with_special_tokens(value) if key in ("input", "inputs") else value for key, value in case.body.items()
    }
