"""Who grants leases: each acceptor is one failure domain's vote in PaxosLease (`lease.py`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from regions.failover.gathering import columns, written
from regions.failover.link import Connection, Link


@dataclass(frozen=True, slots=True)
class Accepted:
    """What one acceptor says about one cell's lease. `live`: it has not ended by its clock.
    `words`: when which region was said to stand aside, or not to any more."""

    cell: str
    promised: int
    holder: str | None
    epoch: int
    live: bool
    successor: str | None = None
    reserved: bool = False
    words: Sequence[tuple[str, float, bool]] = ()


class Acceptor(Protocol):
    """One failure domain's vote. Every call may raise Unreachable."""

    async def state(self) -> Sequence[Accepted]:
        """Of all cells that it knows; the same object as last time if nothing has changed."""
        ...

    async def prepare(self, ballots: Mapping[str, int]) -> dict[str, tuple[bool, Accepted]]: ...

    async def accept(
        self, proposals: Mapping[str, tuple[int, int]], holder: str, ttl: float
    ) -> set[str]: ...

    async def release(
        self, cell: str, holder: str, epoch: int, successor: str | None, reserved: float
    ) -> None: ...


# The cells only where it did not accept all: nearly always it does, and a thousand rows cost time.
_ACCEPT = """
SELECT count(*), CASE WHEN count(*) < %s THEN array_agg(cell) END
  FROM lease.accept(%s::jsonb, %s, make_interval(secs => %s))
"""
_RELEASE = """
SELECT lease.release(c, h, e, s, make_interval(secs => r))
  FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::float8[]) AS u(c, h, e, s, r)
 ORDER BY c
"""

# A cell, who holds it, in which epoch, who is to have it next and for how many seconds alone.
_Release = tuple[str, str, int, str | None, float]


class PostgresAcceptor:
    """An acceptor in a region's control database; see `replication/sql/lease.sql`. Votes have a
    link of their own: what looks must not keep a renewal waiting."""

    def __init__(self, look: Link, vote: Link) -> None:
        self._look = look
        self._vote = vote
        self._mark: str | None = None
        self._known: list[Accepted] = []
        self._proposed: dict[str, tuple[int, int]] = {}
        self._text = "{}"
        self._releases = written(vote, _release_all)

    async def state(self) -> Sequence[Accepted]:
        self._vote.warm()
        ((mark, leases, words),) = await self._look.fetch(
            "SELECT mark, leases, words FROM lease.look(%s)", (self._mark,)
        )
        if leases is not None:
            self._mark, self._known = mark, [Accepted(*(*lease, words)) for lease in leases]
        return self._known

    async def prepare(self, ballots: Mapping[str, int]) -> dict[str, tuple[bool, Accepted]]:
        rows = await self._vote.fetch(
            "SELECT cell, granted, promised, holder, epoch, live"
            " FROM lease.prepare(%s::text[], %s::bigint[])",
            (list(ballots), list(ballots.values())),
        )
        return {cell: (granted, Accepted(cell, *rest)) for cell, granted, *rest in rows}

    async def accept(
        self, proposals: Mapping[str, tuple[int, int]], holder: str, ttl: float
    ) -> set[str]:
        ((count, cells),) = await self._vote.fetch(
            _ACCEPT, (len(proposals), self._text_of(proposals), holder, ttl)
        )
        return set(proposals) if count == len(proposals) else set(cells or ())

    async def release(
        self, cell: str, holder: str, epoch: int, successor: str | None, reserved: float
    ) -> None:
        """What is to be released while others are is one call: no renewal waits behind many."""
        await self._releases.add((cell, holder, epoch, successor, reserved))

    def _text_of(self, proposals: Mapping[str, tuple[int, int]]) -> str:
        """As a document. What is kept is proposed again and again, and written once."""
        if proposals != self._proposed:
            self._proposed, self._text = dict(proposals), json.dumps(proposals)
        return self._text


async def _release_all(connection: Connection, releases: Sequence[_Release]) -> None:
    await connection.execute(_RELEASE, columns(releases))
