"""Collects the tombstones that nothing which is still to come can need.

Guarantees that a tombstone only goes when every replica of the cell has applied its deletion, and
everything that was written anywhere before all of them had: no older write of its row can arrive
any more, nor a newer one by somebody who had not heard of the deletion. A region that does not
answer, does not apply, has a gap or is barred holds all of them; a change of the row among the dead
letters holds its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from regions.deployment import Deployment
from regions.errors import NotSettled, ReplicaDown
from regions.replication.position import BEGUN, OLDEST
from regions.replication.session import Session
from regions.replication.verification.asking import everywhere
from regions.replication.verification.cut import barrier
from regions.replication.verify import PATIENCE_SECONDS, replicas
from regions.topology import CellSpec

PAUSE_SECONDS = 0.05
TOGETHER = 10_000

_UNFIT = """
SELECT fabric.kept_closed() IS NOT NULL
       OR EXISTS (SELECT FROM fabric.watermark WHERE gap IS NOT NULL)
"""
# No stamp that is made from now on is as old as this.
_NOW = """
SELECT setval('fabric.clock', greatest(last_value,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - 1577836800000000))
  FROM fabric.clock
"""
_PARKED = "SELECT jsonb_build_array(rel, pk)::text FROM fabric.dead_letter"
_COLLECT = """
DELETE FROM fabric.tombstone WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM fabric.tombstone
     WHERE stamp <= $1 AND jsonb_build_array(rel, pk)::text <> ALL ($2::text[])
     LIMIT $3))
"""
_NOTE = """
UPDATE fabric.member SET collected = greatest(collected, $1), collected_at = clock_timestamp()
"""


@dataclass(frozen=True, slots=True)
class Collected:
    """`horizon`: the stamp up to which tombstones went; how many, by region."""

    horizon: int
    tombstones: Mapping[str, int]


async def collect(
    deployment: Deployment,
    spec: CellSpec,
    *,
    seen_from: str | None = None,
    patience: float = PATIENCE_SECONDS,
) -> Collected:
    """`patience`: seconds that running transactions, and then replicas, may take. Raises
    ReplicaDown, NotSettled; nothing is collected then."""
    async with replicas(deployment, spec, seen_from) as sessions:
        if silent := [region for region in spec.regions if region not in sessions]:
            raise ReplicaDown(f"{', '.join(silent)} does not answer, and holds the tombstones")
        await _require_fitness(sessions)
        horizon = await _passed(sessions, patience)
        # Who had not heard of a deletion by then has written what he could, and all have it.
        await _passed(sessions, patience)
        await _require_fitness(sessions)
        parked = await everywhere(sessions, lambda s: s.fetch(_PARKED))
        held = [key for rows in parked.values() for (key,) in rows]
        # Before any goes: whoever compares replicas takes no notice of those any more.
        await everywhere(sessions, lambda s: s.execute(_NOTE, (horizon,)))
        gone = await everywhere(sessions, lambda s: _collect(s, horizon, held))
    return Collected(horizon, gone)


async def _require_fitness(sessions: Mapping[str, Session]) -> None:
    unfit = await everywhere(sessions, lambda s: s.fetch(_UNFIT))
    if held := [region for region, ((is_unfit,),) in unfit.items() if is_unfit]:
        raise NotSettled(f"{', '.join(held)} is being repaired, and holds the tombstones")


async def _passed(sessions: Mapping[str, Session], patience: float) -> int:
    """A stamp: no region will make one that is not greater, and all that were made are applied."""
    clocks = await everywhere(sessions, lambda s: s.fetch(_NOW))
    begun = await everywhere(sessions, lambda s: s.fetch(BEGUN))
    deadline = time.monotonic() + patience
    for region, session in sessions.items():
        ((newest,),) = begun[region]
        while await _one(session, OLDEST) < newest:
            if time.monotonic() > deadline:
                raise NotSettled(f"a transaction in {region} takes longer than {patience:g} s")
            await asyncio.sleep(PAUSE_SECONDS)
    await barrier(sessions, patience)
    return min(int(clock) for ((clock,),) in clocks.values()) << 8


async def _collect(session: Session, horizon: int, held: list[str]) -> int:
    gone = 0
    while True:
        done = (await session.execute(_COLLECT, (horizon, held, TOGETHER))).rowcount
        gone += done
        if done < TOGETHER:
            return gone


async def _one(session: Session, query: str) -> Any:
    ((value,),) = await session.fetch(query)
    return value
