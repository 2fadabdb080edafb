"""Renewals that several ask for at a time are one round of votes.

Guarantees that nobody waits for more than two rounds: the one under way, and the one that all who
asked meanwhile share. Fifty cells that are handed over at once would otherwise ask the acceptors
fifty times, one after the other, and the last of them would be too late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from regions.failover.lease import Held, Leases


class Rounds:
    """Of one region's proposer."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._turn = asyncio.Lock()
        self._asked: dict[str, Held] = {}
        self._next: asyncio.Task[dict[str, Held]] | None = None

    async def renew(self, held: Iterable[Held]) -> dict[str, Held]:
        """Those of the round's leases that live on, by cell; others' may be among them."""
        self._asked |= {lease.cell: lease for lease in held}
        if self._next is None:
            self._next = asyncio.create_task(self._round())
        return await asyncio.shield(self._next)

    async def _round(self) -> dict[str, Held]:
        async with self._turn:
            leases, self._asked, self._next = self._asked, {}, None
            return await self._leases.renew(leases.values())
