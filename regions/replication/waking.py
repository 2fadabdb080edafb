"""Who calls an applier: what arrives, unless there is so much of it that it looks by itself.

A call costs the worker that fills the inbox as much as the rest of what it does for a small
transaction. An applier that has begun to listen again looks once more before it waits. A
transaction that had passed the trigger by then and has not committed yet calls nobody: so its first
wait is short, and each one after that twice as long.
"""

from __future__ import annotations

import asyncio

from regions.replication.session import Session

MANY = 100  # rows a turn, from which on calls are not worth their price
IDLE_SECONDS = 3.0  # an applier that no call wakes looks anyway
UNSURE_SECONDS = 0.01
GATHER_SECONDS = 0.02  # a step costs the same for one transaction as for hundreds
ENOUGH = 1_000  # rows a turn, from which on that price is little beside the rest

_LISTEN = "LISTEN fabric"
_TURN = "SELECT setval('fabric.attentive', 1, $1)"


class Waker:
    """Of one applying session, which it makes listen."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._looking = False
        self._patience = IDLE_SECONDS

    async def start(self) -> None:
        """An applier before this one may have ended in the middle of its work."""
        await self._session.execute(_LISTEN)
        await self._turn(looking=False)

    async def rest(self, *, rows: int, busy: bool) -> None:
        """After a turn that applied `rows`: returns when the next one is due; at once, if it is
        `busy`. One that looks by itself lets some transactions gather first, unless enough
        have gathered while it worked."""
        if self._looking:
            if not rows and not busy:
                await self._turn(looking=False)
            elif not busy and rows < ENOUGH:
                await asyncio.sleep(GATHER_SECONDS)
        elif rows >= MANY:
            await self._turn(looking=True)
        elif not busy:
            connection = self._session.connection
            async for _ in connection.notifies(timeout=self._patience, stop_after=1):
                pass
            self._patience = min(2 * self._patience, IDLE_SECONDS)

    async def _turn(self, *, looking: bool) -> None:
        await self._session.execute(_TURN, (looking,))
        self._looking = looking
        self._patience = UNSURE_SECONDS
