"""`oxembed doctor`."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable, Sequence

from oxembed._commands.console import can_write, shown
from oxembed._commands.facts import write_json
from oxembed.diagnosis import Cache, Diagnosis, Int8Support, PlugIn, ProviderState, Threads, doctor

_COLUMNS = 80
_NAMES = 12
_LINES = 8
_MARKS = ("✓", "✗")
_ASCII_MARKS = ("ok", "no")


def run(arguments: argparse.Namespace) -> int:
    """Show what was found; the exit status says whether texts can be embedded."""
    found = doctor()
    if arguments.json:
        write_json(found.as_dict())
    else:
        marks = _MARKS if can_write("".join(_MARKS)) else _ASCII_MARKS
        text = "".join(f"{line}\n" for line in lines(found, marks))
        sys.stdout.buffer.write(text.encode(sys.stdout.encoding or "ascii", errors="replace"))
        sys.stdout.buffer.flush()
    return 0 if found.works else 1


def lines(found: Diagnosis, marks: tuple[str, str] = _MARKS) -> Iterable[str]:
    """A diagnosis in lines of 80 columns; paths and commands are never broken, so that they can be copied."""
    yield f"oxembed {found.oxembed}, {found.platform}, Python {found.python}"
    yield ""
    yield from _runtime(found)
    yield ""
    yield "Execution providers"
    yield from _providers(found.providers, marks)
    yield ""
    yield "Here"
    yield from _row("threads", [_threads(found.threads)])
    yield from _row("int8", [_int8(found.int8)])
    for cache in found.caches:
        yield from _cache(cache)
    for advice in found.advice:
        yield ""
        yield from _sentence("To do: ", advice.message[:1].upper() + advice.message[1:])
        yield f"    -> {shown(advice.remedy)}"


def _runtime(found: Diagnosis) -> Iterable[str]:
    if found.library is None:
        yield "ONNX Runtime: none that works"
        yield from _sentence("  ", found.problem or "it was not loaded")
    else:
        yield f"ONNX Runtime {found.library.version}"
        yield from _row("library", [found.library.path], whole=True)
    yield from _row("package", [f"{one.name} {one.version}" for one in found.flavours])
    yield from _row("built in", [", ".join(found.built_in)] if found.built_in else [])
    yield from _row("plug-ins", [_plug_in(one) for one in found.plug_ins])
    yield from _row(
        "devices",
        [f"{'virtual ' * one.is_virtual}{one.kind}: {one.vendor}, by {one.provider}" for one in found.devices],
    )


def _plug_in(plug_in: PlugIn) -> str:
    named = f"{plug_in.source}: {', '.join(plug_in.providers) or 'no name'}"
    if plug_in.problem is not None:
        return f"{named}; not used: {plug_in.problem}"
    return named if plug_in.registered else f"{named}; not registered"


def _providers(providers: Sequence[ProviderState], marks: tuple[str, str]) -> Iterable[str]:
    """A line each, and below it the command that would help; a reason that several share stands above them, once."""
    width = max((len(one.name) for one in providers), default=0)
    groups: dict[str, list[ProviderState]] = {}
    for one in providers:
        groups.setdefault(f"works: {one.reason}" if one.works else one.reason, []).append(one)
    alone = [group[0] for group in groups.values() if len(group) == 1]
    for one in alone:
        head = f"  {marks[not one.works]} {one.name:<{width}}  "
        yield from _sentence(head, one.reason)
        if one.remedy is not None and not one.works:
            yield f"{'':<{len(head)}}-> {shown(one.remedy)}"
    for reason, group in groups.items():
        if len(group) == 1:
            continue
        yield from _sentence("  ", f"{reason}:")
        helpless = [one for one in group if one.works or one.remedy is None]
        if helpless:
            yield from _sentence(f"  {marks[not helpless[0].works]} ", ", ".join(one.name for one in helpless))
        for one in group:
            if one not in helpless:
                yield f"  {marks[1]} {one.name:<{width}}  -> {shown(str(one.remedy))}"


def _threads(threads: Threads) -> str:
    limits = [f"{threads.logical} logical processors"]
    if threads.affinity is not None and threads.affinity != threads.logical:
        limits.append(f"affinity to {threads.affinity}")
    if threads.cgroup is not None:
        limits.append(f"a cgroup quota of {threads.cgroup:g}")
    return f"{threads.used}, from {', '.join(limits)}"


def _int8(int8: Int8Support) -> str:
    speed = "fast" if int8.fast else "perhaps no faster than float32"
    return f"by {int8.instructions}, {speed}"


def _cache(cache: Cache) -> Iterable[str]:
    yield from _row(cache.purpose, [cache.folder], whole=True)
    if cache.problem is not None:
        yield from _sentence(" " * (_NAMES + 2), f"nothing can be written: {cache.problem}")


def _row(name: str, items: list[str], *, whole: bool = False) -> Iterable[str]:
    """A name, and what belongs to it: an item a line, broken unless it is to stay whole."""
    for number, item in enumerate(items):
        head = f"  {'' if number else name:<{_NAMES}}"
        yield from [f"{head}{shown(item)}"] if whole else _sentence(head, item)


def _sentence(head: str, text: str) -> Iterable[str]:
    width = max(20, _COLUMNS - len(head))
    broken = textwrap.wrap(
        shown(text), width, max_lines=_LINES, placeholder=" …", break_long_words=False, break_on_hyphens=False
    )
    first, *rest = broken or [""]
    yield f"{head}{first}".rstrip()
    yield from (f"{'':<{len(head)}}{line}" for line in rest)
