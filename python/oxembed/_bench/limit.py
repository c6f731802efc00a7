"""The limit: how fast this machine multiplies matrices of the model's own shapes, and how much of that is used.

Nearly all arithmetic of a transformer is in its linear layers. For each of their shapes the products of a full batch
are measured on all threads at once, with ONNX Runtime in one-thread sessions and with numpy in one-thread processes;
the faster of the two counts. Weighted by the model's multiply-adds, that is what the machine can do.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from oxembed import _core
from oxembed._bench.figures import Figure
from oxembed._lifecycle import NativeCall
from oxembed.exceptions import InternalError

_SECONDS = 0.15
_THREADS_OF_NUMPY = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
)
# Of how a product is measured; the first is always there.
WAYS = ("onnxruntime", "numpy")


@dataclass(frozen=True, slots=True)
class Shape:
    """Linear layers of one shape.

    Attributes:
        inputs: Channels in.
        outputs: Channels out.
        layers: How many there are.
    """

    inputs: int
    outputs: int
    layers: int

    @property
    def work(self) -> int:
        """Multiply-adds of a token in all of them."""
        return self.inputs * self.outputs * self.layers


# Multiply-adds a second by shape and by way of measuring, of one round.
Rates = Mapping[Shape, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Limit:
    """What the machine could do, and what the model does of it.

    Attributes:
        rows: Rows of the products that were measured: the tokens of a full batch.
        shapes: The model's linear layers.
        rates: Multiply-adds a second of each, in the faster way, by shape.
        ways: That way, by shape.
        all_rates: The median rate by shape and way.
        work: Multiply-adds of a token in all linear layers.
        peak: Multiply-adds a second at the limit, over all shapes by their share.
        reached: Share of the peak that the useful work is: tokens of texts, without padding.
    """

    rows: int
    shapes: tuple[Shape, ...]
    rates: Mapping[Shape, Figure]
    ways: Mapping[Shape, str]
    all_rates: Mapping[Shape, Mapping[str, float]]
    work: int
    peak: Figure
    reached: Figure

    def as_dict(self) -> dict[str, Any]:
        """For `json.dumps`."""
        return {
            "of": "float32",
            "rows": self.rows,
            "multiply_adds_per_token": self.work,
            "shapes": [
                {
                    "inputs": one.inputs,
                    "outputs": one.outputs,
                    "layers": one.layers,
                    "share": one.work / self.work,
                    "multiply_adds_per_second": self.rates[one].as_dict(),
                    "by": self.ways[one],
                    "medians": dict(self.all_rates[one]),
                }
                for one in self.shapes
            ],
            "peak_multiply_adds_per_second": self.peak.as_dict(),
            "peak_tokens_per_second": self.peak.median / self.work,
            "reached": self.reached.as_dict(),
        }


def shapes_of(core: _core.Embedder) -> tuple[Shape, ...]:
    """The shapes of a model's linear layers; none where they cannot be found in its ONNX file."""
    return tuple(Shape(*shape) for shape in core.linear_shapes())


def limit(rounds: Sequence[Rates], tokens_per_second: Sequence[float]) -> Limit:
    """The limit of some rounds, in each of which products and texts were measured.

    Example:
        >>> small, large = Shape(2, 3, 10), Shape(4, 5, 2)
        >>> rates = {small: {"onnxruntime": 600.0, "numpy": 300.0}, large: {"onnxruntime": 200.0, "numpy": 400.0}}
        >>> found = limit([rates], [2.5])   # a token takes 60 / 600 + 40 / 400 seconds at the peak
        >>> found.work, round(found.peak.median), round(found.reached.median, 3)
        (100, 500, 0.5)
    """
    shapes = tuple(rounds[0])
    medians = {
        shape: {way: statistics.median([rates[shape][way] for rates in rounds]) for way in rounds[0][shape]}
        for shape in shapes
    }
    ways = {shape: max(of_ways, key=of_ways.__getitem__) for shape, of_ways in medians.items()}
    work = sum(shape.work for shape in shapes)
    peaks = [work / sum(shape.work / rates[shape][ways[shape]] for shape in shapes) for rates in rounds]
    reached = [rate * work / peak for rate, peak in zip(tokens_per_second, peaks, strict=True)]
    return Limit(
        rows=_core.FULL_BATCH,
        shapes=shapes,
        rates={shape: Figure.of([rates[shape][ways[shape]] for rates in rounds]) for shape in shapes},
        ways=ways,
        all_rates=medians,
        work=work,
        peak=Figure.of(peaks),
        reached=Figure.of(reached),
    )


class Products:
    """Measures products on so many threads; a context, as numpy's processes have to be ended."""

    def __init__(self, threads: int, rows: int = _core.FULL_BATCH) -> None:
        self._threads = threads
        self._rows = rows
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Products:
        environment = {**os.environ, **dict.fromkeys(_THREADS_OF_NUMPY, "1")}
        for _ in range(self._threads):
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "oxembed._bench.numpy_products"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=environment,
                    # Ctrl-C is for this process; those end when their input does.
                    start_new_session=True,
                )
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.communicate()

    def rates(self, shape: Shape, seconds: float = _SECONDS) -> dict[str, float]:
        """Multiply-adds a second of all threads together, in each way.

        Example:
            >>> with Products(1, rows=16) as products:
            ...     rates = products.rates(Shape(32, 64, 1), 0.01)
            >>> sorted(rates), all(rate > 1e6 for rate in rates.values())
            (['numpy', 'onnxruntime'], True)
        """
        with NativeCall():
            runtime = _core.products_per_second(
                shape.inputs, shape.outputs, rows=self._rows, threads=self._threads, seconds=seconds
            )
        return dict(zip(WAYS, (runtime, self._numpy(shape, seconds)), strict=True))

    def _numpy(self, shape: Shape, seconds: float) -> float:
        for process in self._processes:
            # One that has ended is found out when its answer is read.
            with contextlib.suppress(BrokenPipeError):
                print(self._rows, shape.inputs, shape.outputs, seconds, file=process.stdin, flush=True)
        answers = [self._answer(process) for process in self._processes]
        return sum(answers) * self._rows * shape.inputs * shape.outputs

    def _answer(self, process: subprocess.Popen[str]) -> float:
        line = "" if process.stdout is None else process.stdout.readline()
        if not line:
            _, said = process.communicate()
            last = said.strip().rpartition("\n")[2] or f"exit status {process.returncode}"
            raise InternalError(f"the process that measures numpy's products ended early: {last}")
        return float(line)
