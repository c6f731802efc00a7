"""The most memory that this process has had."""

from __future__ import annotations

import sys


def peak_mib() -> float | None:
    """The most resident memory so far, in MiB; `None` where the system does not tell.

    Example:
        >>> peak = peak_mib()
        >>> peak is None or peak > 10
        True
    """
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on a Mac, kibibytes elsewhere.
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
