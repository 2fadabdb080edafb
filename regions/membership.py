"""A replica joins a cell that is in use, or leaves it.

Guarantees that nothing that was committed anywhere is lost or counted twice, that a replica which
is not ready (or is on its way out) accepts no write, and that what was broken off can be begun
again: `join` clears away what an earlier one left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import psycopg

from regions import cells
from regions.deployment import AGENT_ROLE, Deployment, RegionSite
from regions.errors import NotSettled
from regions.replication import apply, seeding, transport
from regions.replication.position import REMEMBERED
from regions.replication.session import open_session
from regions.replication.settle import Mark, mark, wait_heard
from regions.topology import CellSpec

Connection = psycopg.Connection[Any]
Tell = Callable[[str], None]

PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.01
SEEDING = "is being seeded"
LEAVING = "is being taken away"

# Lost once, and taken out of the cell; what is there now is a new replica.
_READMIT = "DELETE FROM fabric.expelled WHERE region = %s"


def nearest(deployment: Deployment, regions: tuple[str, ...], to: str) -> tuple[str, ...]:
    """In the order in which they are asked for a copy: same country, same law, the others."""
    there = deployment.region(to)

    def distance(name: str) -> int:
        site: RegionSite = deployment.region(name)
        if site.country == there.country:
            return 0
        return 1 if site.jurisdiction == there.jurisdiction else 2

    return tuple(sorted(regions, key=distance))


def join(
    deployment: Deployment,
    spec: CellSpec,
    region: str,
    *,
    furnish: Callable[[CellSpec], None],
    enter: Callable[[], None],
    tell: Tell,
) -> None:
    """The cell gets a replica in `region`, too, which has all that the others have before `enter`
    puts it on the map. `furnish` makes the tables of a cell that is in this region alone. On an
    error nothing of it is left. Raises NotSettled, NotAlike."""
    wider = replace(spec, regions=(*spec.regions, region))
    alone = replace(spec, regions=(region,))
    donor = nearest(deployment, spec.regions, region)[0]
    part(deployment, spec, region)
    try:
        tell(f"database in {region}")
        cells.create_databases(deployment, alone)
        with cells.administrator(deployment, region, spec.database) as admin:
            _bar(admin, SEEDING)
        furnish(alone)
        with cells.administrators(deployment, wider) as sessions:
            for session in sessions.values():
                session.execute(_READMIT, (region,))
            _continue_log(sessions, spec, region, deployment.region(region).node)
            tell("slots and subscriptions")
            cells.connect_replicas(deployment, wider, only=region)
            # What the others had committed before there were slots is in the donor's copy.
            marks = mark(sessions, spec.regions)
            _heard(sessions, spec, [donor], marks)
            tell(f"copying from {donor}")
            rows = seeding.copy(
                sessions[donor], sessions[region], node=deployment.region(region).node
            )
            tell(f"{rows} rows; catching up")
            asyncio.run(_catch_up(deployment, spec, region, mark(sessions, spec.regions)))
            _bar(sessions[region], None)
        enter()
    except BaseException:
        part(deployment, spec, region)
        raise


def leave(
    deployment: Deployment,
    spec: CellSpec,
    region: str,
    *,
    forget: Callable[[], None],
    tell: Tell,
) -> None:
    """The cell without its replica in `region`. Nobody writes there any more, and the others have
    all of it, before `forget` takes it off the map and its database goes. Raises NotSettled; then
    everything is as it was."""
    others = replace(spec, regions=tuple(name for name in spec.regions if name != region))
    with cells.administrators(deployment, spec) as sessions:
        tell(f"no more writes in {region}")
        _bar(sessions[region], LEAVING)
        try:
            _heard(sessions, spec, others.regions, mark(sessions, [region]))
            tell(f"{', '.join(others.regions)} have all of it")
            forget()
        except BaseException:
            _bar(sessions[region], None)
            raise
    tell(f"database in {region} goes")
    part(deployment, others, region)


def part(deployment: Deployment, others: CellSpec, region: str) -> None:
    """Whatever there is of a replica in `region`, and what the cell's others have for it, goes."""
    for name in others.regions:
        with cells.administrator(deployment, name, others.database) as admin:
            transport.part(admin, deployment, others, gone=region)
    cells.drop_databases(deployment, replace(others, regions=(region,)))


def _bar(admin: Connection, reason: str | None) -> None:
    """Waits for whoever has passed the gate: afterwards nothing more is committed."""
    with admin.transaction():
        admin.execute("SET LOCAL lock_timeout = '5s'")
        admin.execute("LOCK TABLE fabric.gate IN ACCESS EXCLUSIVE MODE")
        admin.execute("UPDATE fabric.gate SET barred = %s", (reason,))


def _continue_log(
    sessions: Mapping[str, Connection], spec: CellSpec, region: str, node: int
) -> None:
    """An earlier replica's numbers here are not given out again: the others may still know them."""
    known = [row[0] for name in spec.regions for row in sessions[name].execute(REMEMBERED, (node,))]
    sessions[region].execute(
        "SELECT setval('fabric.change_seq', greatest(last_value, %s)) FROM fabric.change_seq",
        (max(known) + 1,),
    )


def _heard(
    sessions: Mapping[str, Connection],
    spec: CellSpec,
    receivers: Iterable[str],
    marks: Mapping[str, Mark],
) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    for receiver in receivers:
        wait_heard(sessions[receiver], marks, cell=spec.name, receiver=receiver, deadline=deadline)


async def _catch_up(
    deployment: Deployment, spec: CellSpec, region: str, marks: Mapping[str, Mark]
) -> None:
    """Apply, as its agent will, what has come since the slots were made. Raises NotSettled."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    session = await open_session(deployment.dsn(region, spec.database, AGENT_ROLE))
    try:
        while True:
            for node, _ in marks.values():
                while (await apply.step(session, node)).more:
                    pass
            heard = dict(await session.fetch("SELECT origin, heartbeat FROM fabric.watermark"))
            behind = [name for name, (node, beat) in marks.items() if heard.get(node, 0) < beat]
            if not behind:
                return
            if time.monotonic() > deadline:
                raise NotSettled(
                    f"{region} hears nothing from {', '.join(behind)}: is the link up?"
                )
            await asyncio.sleep(PAUSE_SECONDS)
    finally:
        await session.close()
