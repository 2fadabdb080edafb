"""Made-up time and made-up acceptors.

On a `SimulatedLoop` what would sleep jumps to the moment that it waits for.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from regions.failover.acceptors import Accepted

T = TypeVar("T")


class _Skipping(selectors.SelectSelector):
    """Waits for nothing; counts what it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Seconds cost nothing, and the same work comes to the same end each time."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now


def simulate(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` on a loop of its own, from second 0."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(work)


@dataclass
class Vote:
    """An acceptor's durable state of one cell, as `lease.sql` keeps it."""

    promised: int = 0
    holder: str | None = None
    epoch: int = 0
    expires: float = float("-inf")
    successor: str | None = None
    reserved_until: float = float("-inf")

    def said(self, cell: str, now: float) -> Accepted:
        live, reserved = self.expires > now, self.reserved_until > now
        return Accepted(
            cell, self.promised, self.holder, self.epoch, live, self.successor, reserved
        )

    def prepare(self, cell: str, ballot: int, now: float) -> tuple[bool, Accepted]:
        self.promised = max(self.promised, ballot)
        return self.promised == ballot, self.said(cell, now)

    def accept(self, ballot: int, epoch: int, holder: str, expires: float) -> bool:
        """Nothing, where nothing was ever promised."""
        if not 0 < self.promised <= ballot:
            return False
        self.promised, self.epoch, self.holder, self.expires = ballot, epoch, holder, expires
        self.successor, self.reserved_until = None, float("-inf")
        return True

    def release(self, holder: str, epoch: int, successor: str | None, until: float) -> None:
        if (self.holder, self.epoch) == (holder, epoch):
            self.expires = float("-inf")
            self.successor = successor
            self.reserved_until = until if successor else float("-inf")
