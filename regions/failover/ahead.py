"""Which region has received most of another's log: asked before one takes over from it."""

from __future__ import annotations

import asyncio

import psycopg

from regions.deployment import AGENT_ROLE, Deployment
from regions.failover.link import Link, Unreachable
from regions.replication.transport import subscription_name
from regions.topology import CellSpec

# What two receivers of one sender say can be compared: it is a position in the sender's log.
_RECEIVED = """
SELECT coalesce(max(o.remote_lsn) - '0/0'::pg_lsn, 0)::bigint
  FROM pg_subscription s
  JOIN pg_replication_origin_status o ON o.external_id = 'pg_' || s.oid
 WHERE s.subname = %s
"""
ANSWER_SECONDS = 2.5  # shorter than a fresh lease


async def ahead(deployment: Deployment, spec: CellSpec, region: str, of: str) -> str | None:
    """The region that has more of what `of` wrote than `region` has, and most of all; None if none
    that answers has more, or `region` itself does not answer."""
    asked = [name for name in spec.regions if name != of]
    if len(asked) < 2 or region not in asked:
        return None
    positions = dict(
        zip(
            asked,
            await asyncio.gather(*(_received(deployment, spec, region, at, of) for at in asked)),
            strict=True,
        )
    )
    mine = positions[region]
    if mine is None:
        return None
    better = {name: at for name, at in positions.items() if at is not None and at > mine}
    return max(better, key=lambda name: better[name]) if better else None


async def _received(
    deployment: Deployment, spec: CellSpec, region: str, at: str, of: str
) -> int | None:
    """A position in the log of `of`; 0 where nothing of it has arrived, None without an answer."""
    dsn = deployment.dsn(at, spec.database, AGENT_ROLE, seen_from=region)
    link = Link(f"{spec.name} in {at}", dsn, timeout=ANSWER_SECONDS)
    try:
        rows = await link.fetch(_RECEIVED, (subscription_name(spec, of),))
    except (Unreachable, psycopg.Error):
        return None
    finally:
        await link.close()
    return int(rows[0][0])
