"""From a lease that was won to a gate that is open.

Guarantees that what had arrived from a lost writer is applied before its successor writes (unless
that takes longer than DRAIN_SECONDS: then it is merged later), and that where several regions can
take over, the one that has most of the lost writer's log does. So what a peer has confirmed is
there, whoever takes over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg

from regions.failover.decide import Action, Decision
from regions.failover.lease import Held
from regions.failover.link import Unreachable
from regions.failover.surroundings import Log, Replica, Surroundings

DRAIN_SECONDS = 10.0
LEAVES = 2  # so often a cell is left to another that does not take it
UNREACHABLE = (Unreachable, psycopg.Error)


class Promotions:
    """One region's, of all its cells."""

    def __init__(
        self, region: str, around: Surroundings, journal: Log, clock: Callable[[], float]
    ) -> None:
        self._region = region
        self._around = around
        self._journal = journal
        self._clock = clock
        self._epochs: dict[str, int] = {}
        self._left: dict[str, int] = {}
        self._writers: dict[str, str] = {}

    def saw(self, name: str, holder: str | None) -> None:
        """Who holds the cell's lease, as a majority says."""
        if holder is not None and holder != self._region:
            self._writers[name] = holder
            self._left.pop(name, None)

    def before(self, name: str, last: str | None) -> str | None:
        """Who wrote last, as this region saw it. `last`, who was voted for last, may have had one
        vote and no lease; it counts where nothing was seen yet."""
        return self._writers.get(name, last)

    def under_way(self, lease: Held) -> bool:
        """Whether the gate has to stay shut, however often the lease is renewed."""
        return self._epochs.get(lease.cell) == lease.epoch

    async def promote(
        self, lease: Held, before: str | None, held: Callable[[], Held | None]
    ) -> str | None:
        """Open the gate as soon as it may be; or return the region that has more of what `before`
        wrote. `held`: the lease as it is now, None once it is lost."""
        name = lease.cell
        replica = self._around.replica(name)
        self._epochs[name] = lease.epoch
        try:
            better = await self._better(name, before)
            if better is not None:
                self._left[name] = self._left.get(name, 0) + 1
                reason = f"{better} has more of what {before} wrote in {name} than {self._region}."
                await self._journal.event(name, Decision(Action.HAND_OVER, reason, better))
                return better
            if replica is not None:
                await self._drain(name, replica, held)
        finally:
            if self._epochs.get(name) == lease.epoch:
                del self._epochs[name]
        now = held()
        if replica is None or now is None:
            return None
        self._writers[name] = self._region
        self._left.pop(name, None)
        try:
            server_clock = await self._around.server_clock()
            await replica.open_gate(lease.epoch, server_clock(now.until))
        except UNREACHABLE as error:
            self._journal.say(name, f"The promotion waits for the next renewal: {error}")
        reason = f"{self._region} writes {name} now."
        await self._journal.event(name, Decision(Action.ACQUIRE, reason), lease.epoch)
        return None

    async def _better(self, name: str, before: str | None) -> str | None:
        if before in (None, self._region):
            return None
        if self._left.get(name, 0) == LEAVES:
            return None
        return await self._around.ahead(name, before or "")

    async def _drain(self, name: str, replica: Replica, held: Callable[[], Held | None]) -> None:
        patience = self._clock() + DRAIN_SECONDS
        while held() is not None and self._clock() < patience:
            try:
                if await replica.drained():
                    return
            except UNREACHABLE as error:
                self._journal.say(name, f"What has arrived is not applied yet: {error}")
            await asyncio.sleep(0.01)
