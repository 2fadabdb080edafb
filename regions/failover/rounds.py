"""Renewals that several ask for at a time are one round of votes: fifty cells that are handed over
at once would otherwise ask the acceptors fifty times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from regions.failover.gathering import Gathering, Take
from regions.failover.lease import Held, Leases


class Rounds:
    """Of one region's proposer."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._turn = asyncio.Lock()
        self._asked = Gathering(self._round)

    async def renew(self, held: Iterable[Held]) -> dict[str, Held]:
        """Those of the round's leases that live on, by cell; others' may be among them."""
        return await self._asked.add(*held)

    async def _round(self, take: Take[Held]) -> dict[str, Held]:
        async with self._turn:
            asked = {lease.cell: lease for lease in take()}
            return await self._leases.renew(asked.values())
