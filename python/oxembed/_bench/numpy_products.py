"""A process that multiplies matrices with numpy, one thread: `python -m oxembed._bench.numpy_products`.

Reads lines of `ROWS INPUTS OUTPUTS SECONDS` and answers each with products a second, until its input ends. How many
threads numpy's library for products has is settled when it is loaded, by variables of the environment: so this is a
process.
"""

from __future__ import annotations

import sys
import time

import numpy as np


def products_per_second(rows: int, inputs: int, outputs: int, seconds: float) -> float:
    """Products of (rows, inputs) by (inputs, outputs) in float32, into memory that is there.

    Example:
        >>> products_per_second(8, 16, 4, 0.001) > 100
        True
    """
    left = np.linspace(-1, 1, rows * inputs, dtype=np.float32).reshape(rows, inputs)
    right = np.linspace(1, -1, inputs * outputs, dtype=np.float32).reshape(inputs, outputs)
    result = np.empty((rows, outputs), dtype=np.float32)
    np.matmul(left, right, out=result)
    start, products = time.perf_counter(), 0
    while True:
        np.matmul(left, right, out=result)
        products += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return products / elapsed


def main() -> None:
    """Answer until nobody asks any more."""
    for line in sys.stdin:
        rows, inputs, outputs, seconds = line.split()
        print(products_per_second(int(rows), int(inputs), int(outputs), float(seconds)), flush=True)


if __name__ == "__main__":
    main()
