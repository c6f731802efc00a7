"""Calls on the main thread that a signal interrupts."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tally import Tally
    from truth import Truth

    from oxembed import Embedder

POSSIBLE = hasattr(signal, "setitimer")


class AlarmError(Exception):
    """Raised by the signal's handler."""


def _raise(*_: object) -> None:
    raise AlarmError


def run(models: dict[str, Embedder], truth: Truth, chance: random.Random, tally: Tally) -> None:
    """One call of thousands of texts that is interrupted, then one that is right."""
    dtype = chance.choice(list(models))
    model = models[dtype]
    signal.signal(signal.SIGALRM, _raise)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.001 + chance.random() * 0.15)
            model.encode(truth.many)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except AlarmError:
            tally.add("encode, interrupted")
        else:
            raise AssertionError("a call of thousands of texts was not interrupted")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # one that comes late would end the process
    numbers = chance.choices(range(len(truth.texts)), k=5)
    truth.check(dtype, numbers, model.encode([truth.texts[number] for number in numbers]), "after an interrupt")
    tally.add("encode, after an interrupt", len(numbers))
