"""A measurement in words and tables."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterable, Sequence

from oxembed._bench.breakdown import Breakdown
from oxembed._bench.figures import Figure, quantile
from oxembed._bench.limit import WAYS, Limit
from oxembed._bench.measurement import Measurement

# What is asked of the core: everything but ONNX Runtime.
MOST_MICROSECONDS = 100
MOST_SHARE = 0.03
# Above that the machine is not quiet.
_NOISE = 0.1
# Below that of the limit there is something to be found.
_GOOD = 0.7
_MUCH = 0.1
_COLUMNS = 80
_OPERATORS = 8


def lines(found: Measurement, profile: Breakdown | None = None) -> Iterable[str]:
    """The tables, and at the end what to do."""
    yield "All texts in one call"
    yield from _all_texts(found)
    yield ""
    yield from _calls(found)
    yield ""
    yield from _limit(found)
    yield ""
    yield from _besides(found)
    if profile is not None:
        yield ""
        yield from _profile(profile, found.model.threads)
    yield ""
    yield from _sentence("To do: ", advice(found, profile))


def _all_texts(found: Measurement) -> Iterable[str]:
    speed, tokens, cpu = found.texts_per_second, found.tokens_per_second, found.cpu_seconds_per_1000_texts
    yield f"  {speed.median:>9,.0f}  texts/s{_spread(speed)}"
    yield f"  {tokens.median:>9,.0f}  tokens/s, padding not counted"
    yield f"  {cpu.median:>9.3g}  CPU-seconds for 1,000 texts"
    if found.peak_memory_mib is None:
        yield "          -  the most memory: this system does not tell"
    else:
        yield f"  {found.peak_memory_mib:>9,.0f}  MiB, the most memory of the process"


def _calls(found: Measurement) -> Iterable[str]:
    seconds = found.one_text.seconds
    yield f"{'Texts in a call':<20}{'ms':>9}{'texts/s':>11}"
    for size, one in found.batches.items():
        yield f"  {size:<18}{one.seconds.median * 1e3:>9.2f}{one.texts_per_second.median:>11,.0f}"
    ranks = "  ".join(f"P{share} {quantile(seconds, share / 100) * 1e3:.2f} ms" for share in (50, 95, 99))
    yield f"  one text: {ranks}  ({len(seconds):,} calls)"


def _limit(found: Measurement) -> Iterable[str]:
    limit = found.limit
    if limit is None:
        yield "The limit of this CPU"
        yield from _sentence(
            "  ", "not measured: the linear layers of this ONNX file are not stored as plain matrices."
        )
        return
    yield "The limit of this CPU: billions of multiply-adds a second in float32, products of"
    yield f"{limit.rows} rows, all threads at once"
    names = [f"{one.inputs} to {one.outputs}, {one.layers} layers" for one in limit.shapes]
    width = max(len(name) for name in names)
    yield f"  {'':<{width}}   share of work" + "".join(f"{way:>13}" for way in WAYS)
    for name, shape in zip(names, limit.shapes, strict=True):
        rates = limit.all_rates[shape]
        yield f"  {name:<{width}}{shape.work / limit.work:>16.0%}" + "".join(
            f"{rates[way] / 1e9:>13.1f}" for way in WAYS
        )
    yield from _sentence("  ", _reached(found, limit))


def _reached(found: Measurement, limit: Limit) -> str:
    reached = limit.reached
    used = limit.peak.median * reached.median / 1e9
    told = f"{used:.1f} of {limit.peak.median / 1e9:.1f}{_spread(reached)}"
    if found.model.provider == "cpu" and found.model.dtype == "float32":
        return f"The texts' own tokens, without padding, use {reached.median:.0%} of what this CPU can do: {told}."
    which = found.model.dtype if found.model.provider == "cpu" else f"{found.model.provider} in {found.model.dtype}"
    return (
        f"{which} does {reached.median:.2f} times what this CPU could do in float32: {told}. That is a comparison, "
        "not a limit."
    )


def _besides(found: Measurement) -> Iterable[str]:
    one = statistics.median(found.one_text.besides) * 1e6
    many = found.besides_the_run
    yield "What is not ONNX Runtime"
    yield f"  {one:>8.0f} µs  of a call of one text (asked: under {MOST_MICROSECONDS})"
    asked = f"asked of 2,000: under {MOST_SHARE:.0%}"
    yield f"  {many.median:>8.1%}     of the cores' time for {found.texts:,} texts ({asked})"


def _profile(profile: Breakdown, threads: int) -> Iterable[str]:
    cores = "one thread" if threads == 1 else f"{threads} threads"
    yield f"Where the time goes, all texts in one call: 100% is {cores} from start to end"
    yield f"  {'':<18}{'share':>7}{'ms, 1,000 texts':>17}"
    for part in profile.parts:
        name = part.name if part.inside is None else f"  {part.name}"
        yield f"  {name:<18}{part.share:>7.1%}{part.ms_per_1000_texts:>17.2f}   {part.what}"
    yield ""
    if profile.operators is None:
        yield from _sentence("ONNX Runtime by operator: ", profile.why_no_operators or "not asked for")
        return
    yield "ONNX Runtime by operator, in a session of its own with one thread"
    for operator in profile.operators[:_OPERATORS]:
        yield f"  {operator.name:<26}{operator.share:>7.1%}"
    rest = profile.operators[_OPERATORS:]
    if rest:
        yield f"  {f'{len(rest)} others':<26}{sum(one.share for one in rest):>7.1%}"


def advice(found: Measurement, profile: Breakdown | None) -> str:
    """What to do with these numbers: one sentence or two."""
    speed = found.texts_per_second
    if speed.rounds > 1 and speed.spread > _NOISE:
        return (
            f"the rounds differ by {speed.spread:.0%}, so something else uses this machine, or its clock changes: "
            "close it, plug in the power, and measure again before you believe a number"
        )
    limit = found.limit
    if limit is None or found.model.dtype != "float32" or found.model.provider != "cpu":
        return "compare with `--provider cpu --dtype float32`, and with --threads 1, on the same texts"
    if limit.reached.median >= _GOOD:
        return (
            "nothing is wrong; more than this CPU's limit only comes from less arithmetic: `oxembed quantize` and "
            "--dtype int8, a smaller model, shorter texts, or another --provider"
        )
    if profile is None:
        return f"{limit.reached.median:.0%} of the limit is low; --profile tells where the rest goes"
    return _largest_loss(profile)


_LOSSES = {
    "slower products": "ONNX Runtime multiplies these matrices slower than this CPU could: give more texts a call, so "
    "that batches are full, look for a newer onnxruntime, or use --dtype int8",
    "others": "attention, norms and activations take their share: cut texts with max_seq_length if they are long; a "
    "model with larger layers has less of it",
    "padding": "texts of very different lengths are computed together: give more texts a call, so that each batch "
    "finds texts of one length",
    "rest": "cores are without work at the end of the call: give more texts a call, or call from several threads",
    "wait": "no core is at work when a call begins and ends: give more texts a call, or call from several threads",
    "tokenize": "making tokens takes long for this tokenizer: cut texts before they are embedded, if most of them is "
    "beyond the model's limit",
}


def _largest_loss(profile: Breakdown) -> str:
    worst = max(_LOSSES, key=profile.share)
    if profile.share(worst) < _MUCH:
        return "no single part is to blame: give more texts a call, and see whether other programs use the cores"
    return f"{worst!r} is the largest loss with {profile.share(worst):.0%}: {_LOSSES[worst]}"


def _spread(figure: Figure) -> str:
    return f" (±{figure.spread / 2:.0%} over {figure.rounds} rounds)" if figure.rounds > 1 else ""


def _sentence(head: str, text: str) -> Sequence[str]:
    indent = " " * len(head)
    return textwrap.wrap(
        head + text, _COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
