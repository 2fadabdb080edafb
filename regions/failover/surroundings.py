"""What leading needs of its region: its replicas, its database's clock, its log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import datetime, timedelta
from typing import Any, Protocol

from regions.failover.decide import Decision
from regions.failover.journal import Request
from regions.failover.lease import Held
from regions.topology import CellSpec

ServerClock = Callable[[float], datetime]
Renew = Callable[[], Coroutine[Any, Any, bool]]


class Replica(Protocol):
    """What leading needs of a cell's replica here. Calls may raise Unreachable."""

    @property
    def writable(self) -> bool: ...
    @property
    def handing_over(self) -> bool: ...
    async def open_gate(self, epoch: int, until: datetime) -> None: ...
    async def drained(self) -> bool: ...


class Surroundings(Protocol):
    """What leading needs of its region."""

    @property
    def reached(self) -> frozenset[str]:
        """The regions where clients are answered; see `reach.py`."""
        ...

    def leased(self) -> Iterable[CellSpec]: ...
    def replica(self, cell: str) -> Replica | None: ...
    async def server_clock(self) -> ServerClock:
        """Reads this region's PostgreSQL's clock: a moment of the monotonic clock as a time there,
        never too late. Raises Unreachable, or the database's own error."""
        ...

    async def ahead(self, cell: str, of: str) -> str | None:
        """Which other region that answers has received more of what region `of` wrote than this
        one; None if none has."""
        ...

    async def hand_over(self, held: Held, target: str, renew: Renew, *, forced: bool) -> None:
        """Let the target have it. Raises RegionsError: then this region goes on writing."""
        ...


class Log(Protocol):
    """What is asked of the region, and what it says; see `journal.py`."""

    async def requests(self) -> list[Request]: ...
    async def begin(self, request: Request) -> bool: ...
    async def settle(self, request: Request, outcome: str) -> None: ...
    async def event(self, cell: str, decision: Decision, epoch: int | None = None) -> None: ...
    def say(self, about: str, sentence: str) -> bool: ...
    async def attempt(self, about: str, call: Awaitable[object]) -> None: ...


def server_clock_of(reading: datetime, at: float) -> ServerClock:
    """From a reading that had come by the monotonic moment `at`, so that it was taken before."""
    return lambda moment: reading + timedelta(seconds=moment - at)
