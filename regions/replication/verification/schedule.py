"""When a cell's replicas are compared without anybody asking.

Each replica knows how often (`every`) and when it last was. The home's agent does it; another
region's, only if nobody has for TURN_SECONDS longer: no agent need know which of the others is up.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import psycopg

from regions.deployment import AGENT_ROLE, Deployment
from regions.errors import ReplicaDown
from regions.topology import CellSpec

TURN_SECONDS = 600.0
CONNECT_SECONDS = 5

# Of when a comparison ended, whether or not it had a result: a cell that can't be compared is not
# tried all the time.
LAST = """
SELECT m.verify_every, (SELECT max(at) FROM fabric.verification), clock_timestamp()
  FROM fabric.member m
"""


def due(
    every: timedelta | None, last: datetime | None, now: datetime, *, since: datetime, turn: int
) -> bool:
    """`since`: when this agent began, for a cell that has never been compared. `turn`: this
    region's place among the cell's, the home's is 0."""
    if not every:
        return False
    waited = now - (last or since)
    return waited >= every + timedelta(seconds=TURN_SECONDS * turn)


def set_interval(deployment: Deployment, spec: CellSpec, every: timedelta | None) -> None:
    """How often from now on; None: never by itself. Raises ReplicaDown before it changes any."""
    asyncio.run(_set_interval(deployment, spec, every))


async def _set_interval(deployment: Deployment, spec: CellSpec, every: timedelta | None) -> None:
    sessions: list[psycopg.AsyncConnection[tuple[object, ...]]] = []
    try:
        for region in spec.regions:
            dsn = deployment.dsn(region, spec.database, AGENT_ROLE)
            try:
                sessions.append(
                    await psycopg.AsyncConnection.connect(
                        dsn, autocommit=True, connect_timeout=CONNECT_SECONDS
                    )
                )
            except psycopg.OperationalError as error:
                raise ReplicaDown(
                    f"{spec.name} in {region} does not answer, so its interval cannot be set"
                ) from error
        for session in sessions:
            await session.execute("UPDATE fabric.member SET verify_every = %s", (every,))
    finally:
        for session in sessions:
            await session.close()
