"""Many calls that begin at the same moment."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tally import Tally
    from truth import Truth

    from oxembed import Embedder


def run(number: int, models: dict[str, Embedder], truth: Truth, tally: Tally) -> None:
    """`number` threads with one call each, all let go together; each gets the rows of its own texts."""
    together = threading.Barrier(number)

    def call(position: int) -> None:
        dtype = list(models)[position % len(models)]
        numbers = [(position * 7 + step) % len(truth.texts) for step in range(1 + position % 3)]
        try:
            together.wait(60)
            rows = models[dtype].encode([truth.texts[number] for number in numbers])
            truth.check(dtype, numbers, rows, f"parallel call {position}")
            tally.add("parallel calls", len(numbers))
        except BaseException as error:
            tally.fail(f"parallel call {position}", error)

    threads = [threading.Thread(target=call, args=(position,)) for position in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
