"""How many processors this process may use, and what limits them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def affinity() -> int | None:
    """Processors that the scheduler may put this process on; `None` where the system does not say."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    return len(os.sched_getaffinity(0))


def cgroup_quota(root: Path = Path("/")) -> float | None:
    """Processors that the cgroup of this process may keep busy, by either version of cgroups; `None` without a limit.

    Args:
        root: The folder that `/proc` and `/sys` are in.

    Example:
        >>> cgroup_quota(Path("no/such/folder")) is None
        True
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):  # not Linux
        return None
    quotas: list[float] = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            quotas += [quota for folder in _folders(root / "sys/fs/cgroup", path) for quota in _second(folder)]
        elif "cpu" in controllers.split(","):
            for mount in {controllers, "cpu"}:
                place = root / "sys/fs/cgroup" / mount
                quotas += [quota for folder in _folders(place, path) for quota in _first(folder)]
    return min(quotas, default=None)


def _folders(mount: Path, path: str) -> Iterator[Path]:
    """The cgroup's folder and those above it, all of which limit it. In a container some of them are not to be seen."""
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    for length in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:length])


def _second(folder: Path) -> list[float]:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return _quota(quota, period)


def _first(folder: Path) -> list[float]:
    return _quota(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _quota(quota: str, period: str) -> list[float]:
    """Microseconds of a period as processors; none where there is no limit ("max" and -1)."""
    try:
        processors = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return []
    return [processors] if processors > 0 else []


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
