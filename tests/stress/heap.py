"""How much memory the allocator has handed out and not got back, where the C library tells.

What a process occupies is more: an allocator keeps pages whose neighbours are in use, and with many threads it takes
thousands of calls until there is no new gap to make. What is in use tells a leak of a few kilobytes at once.
"""

from __future__ import annotations

import ctypes
import re
import sys

_ARENA_MAX = -8  # of malloc.h


def have_few_arenas() -> None:
    """Let all threads share two arenas: with more, most of what a process occupies is gaps in them."""
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt"):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)


def in_use() -> int | None:
    """Bytes in use over all of the allocator's arenas and mapped blocks; `None` but for the GNU C library."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    if not hasattr(library, "malloc_info"):
        return None
    totals = _report(library).rpartition("</heap>")[2]
    free = sum(int(size) for size in re.findall(r'<total type="(?:fast|rest)" count="\d+" size="(\d+)"', totals))
    held = _number(r'<system type="current" size="(\d+)"', totals)
    mapped = _number(r'<total type="mmap" count="\d+" size="(\d+)"', totals)
    return held - free + mapped


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"malloc_info has nothing like {pattern}: {text}")
    return int(found[1])


def _report(library: ctypes.CDLL) -> str:
    """What `malloc_info` writes, by way of a stream in memory."""
    library.open_memstream.restype = ctypes.c_void_p
    text, size = ctypes.c_void_p(), ctypes.c_size_t()
    stream = ctypes.c_void_p(library.open_memstream(ctypes.byref(text), ctypes.byref(size)))
    if stream.value is None or library.malloc_info(0, stream) != 0 or library.fclose(stream) != 0:
        raise OSError("malloc_info failed")
    try:
        return ctypes.string_at(text, size.value).decode()
    finally:
        library.free(text)
