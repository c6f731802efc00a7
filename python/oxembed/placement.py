"""Where a model runs: what ONNX Runtime recorded of it, what was asked for and is not used, and what failed since.

Example:
    >>> from oxembed import Embedder
    >>> placement = Embedder(provider="cpu").placement()
    >>> placement[0].provider, placement[0].work
    ('cpu', {'CPUExecutionProvider': 1.0})
    >>> placement.not_used, placement.events
    ((), ())
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, overload

from oxembed._columns import aligned

__all__ = ["Placement", "ProviderEvent", "SessionPlacement", "UnusedProvider"]


@dataclass(frozen=True, slots=True)
class SessionPlacement:
    """Where the nodes of one live session run.

    Attributes:
        session: What the session is for.
        provider: The execution provider it was made for, as `provider=` spells it.
        device: The device, as far as it is known.
        dtype: The type it computes in: `"float32"`, `"int8"`, ….
        threads: Threads it has.
        providers: Number of graph nodes by execution provider, as ONNX Runtime spells it.
        nodes: Number of graph nodes in all.
        work: Share of the multiply-adds by execution provider, 0 to 1.

    Example:
        >>> from oxembed import Embedder
        >>> all(sum(place.providers.values()) == place.nodes for place in Embedder().placement())
        True
    """

    session: str
    provider: str
    device: str
    dtype: str
    threads: int
    providers: Mapping[str, int]
    nodes: int
    work: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class UnusedProvider:
    """A provider that was asked for and is not used.

    Attributes:
        provider: As `provider=` spells it.
        reason: Why not.
    """

    provider: str
    reason: str


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """A provider that failed in use. Its texts were given to the next one, so that no row was lost.

    Attributes:
        provider: The provider that failed.
        next: The one that took over; `None` where there was no other, and the call raised.
        message: What happened.
        texts: Texts that were computed again.
        unix_time: When, in seconds since 1970.
    """

    provider: str
    next: str | None
    message: str
    texts: int
    unix_time: float


@dataclass(frozen=True, slots=True, repr=False)
class Placement(Sequence[SessionPlacement]):
    """A sequence of `SessionPlacement`, one for each live session, and what else is to be known; printed as a table.

    Attributes:
        sessions: The sessions, as a tuple.
        not_used: Providers that were asked for and are not used, with the reason.
        events: Providers that failed in use: the latest of these events, oldest first.
        failures: How often that happened in all.

    Example:
        >>> from oxembed import Embedder
        >>> print(Embedder(provider="cpu").placement())
        session  provider  device ...
    """

    sessions: tuple[SessionPlacement, ...]
    not_used: tuple[UnusedProvider, ...] = ()
    events: tuple[ProviderEvent, ...] = ()
    failures: int = 0

    @classmethod
    def from_core(cls, values: Mapping[str, Any]) -> Placement:
        """Build from the plain dict of the compiled module.

        Example:
            >>> Placement.from_core({"sessions": [], "not_used": [], "events": [], "failures": 0})
            no session is alive
        """
        return cls(
            sessions=tuple(SessionPlacement(**one) for one in values["sessions"]),
            not_used=tuple(UnusedProvider(**one) for one in values["not_used"]),
            events=tuple(ProviderEvent(**one) for one in values["events"]),
            failures=values["failures"],
        )

    def as_dict(self) -> dict[str, Any]:
        """The same as a plain dict of numbers, strings, lists and dicts, ready for `json.dumps`.

        Example:
            >>> Placement(()).as_dict()
            {'sessions': [], 'not_used': [], 'events': [], 'failures': 0}
        """
        return {
            "sessions": [asdict(one) for one in self.sessions],
            "not_used": [asdict(one) for one in self.not_used],
            "events": [asdict(one) for one in self.events],
            "failures": self.failures,
        }

    @overload
    def __getitem__(self, index: int) -> SessionPlacement: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SessionPlacement, ...]: ...
    def __getitem__(self, index: int | slice) -> SessionPlacement | tuple[SessionPlacement, ...]:
        return self.sessions[index]

    def __iter__(self) -> Iterator[SessionPlacement]:
        return iter(self.sessions)

    def __len__(self) -> int:
        return len(self.sessions)

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    __repr__ = __str__


def _lines(placement: Placement) -> Iterable[str]:
    if placement.sessions:
        yield from _table(placement.sessions)
    else:
        yield "no session is alive"
    for unused in placement.not_used:
        yield f"not used: {unused.provider}: {unused.reason}"
    if placement.failures:
        yield f"failures in use: {placement.failures:,}"
    for event in placement.events:
        when = datetime.fromtimestamp(event.unix_time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        what = "the call failed" if event.next is None else f"{event.texts:,} texts went to {event.next}"
        yield f"  {when}  {event.provider}: {event.message}; {what}"


def _table(sessions: Iterable[SessionPlacement]) -> Iterable[str]:
    """A line for each provider of a session, with its nodes and its share of the work."""
    rows = [["session", "provider", "device", "dtype", "threads", "nodes", "work", "runs on"]]
    for one in sessions:
        head = [one.session, one.provider, one.device, one.dtype, str(one.threads)]
        for name, nodes in one.providers.items():
            share = one.work.get(name)
            rows.append([*head, f"{nodes:,}", "?" if share is None else f"{share:.1%}", name])
            head = [""] * len(head)
    yield from aligned(rows, numbers=(4, 5, 6))
