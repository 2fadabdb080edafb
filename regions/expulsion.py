"""Takes a region that is lost for good out of a cell.

Guarantees that a region which is still there is left alone, that the cell's other regions keep
nothing for it and end up with the same, that nothing which any of them has of it is lost, and that
a replica which comes back from there is told so and stays shut. What it had committed and none of
them has received is lost; when they heard of it last is known. Safe to repeat.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import psycopg

from regions import cells
from regions.deployment import Deployment
from regions.errors import NotLost, NotSettled
from regions.replication import transport
from regions.replication.verify import verify
from regions.topology import CellSpec

Connection = psycopg.Connection[Any]
Tell = Callable[[str], None]

SILENT_SECONDS = 15.0  # regions beat each three seconds at least
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.02

_HEARD = """
SELECT to_timestamp(nullif(stamp >> 8, 0) / 1000000.0 + 1577836800),
       coalesce(at > clock_timestamp() - make_interval(secs => %s), false),
       EXISTS (SELECT FROM fabric.change c WHERE c.origin = w.origin AND c.arrival > w.arrival)
  FROM fabric.watermark w WHERE w.region = %s
"""
_EXPEL = """
INSERT INTO fabric.expelled (node, region, by, heard_until) VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""
_FORGET = "DELETE FROM fabric.watermark WHERE region = %s"
_EXPELLED = "SELECT max(heard_until) FROM fabric.expelled WHERE region = %s HAVING count(*) > 0"


@dataclass(frozen=True, slots=True)
class Tail:
    """What is known of what a lost region wrote last. `heard_until`, by its own clock: everything
    that it committed before, the region of that name has. None: nothing was heard at all."""

    region: str
    heard_until: Mapping[str, datetime | None]

    @property
    def latest(self) -> datetime | None:
        return max(filter(None, self.heard_until.values()), default=None)

    def sentence(self) -> str:
        if self.latest is None:
            return f"Nothing was ever heard of what {self.region} wrote: all of it is lost."
        until = self.latest.astimezone(UTC).isoformat(timespec="milliseconds")
        return (
            f"What {self.region} committed after {until} and had not sent is lost, unless its disk"
            " turns up; what it committed before is kept."
        )


def foresee(deployment: Deployment, spec: CellSpec, region: str) -> Tail:
    """What will be lost. Raises NotLost when the region answers, or has been heard of lately;
    psycopg.Error when one of the others does not answer."""
    _require_silence(deployment, spec, region)
    with cells.administrators(deployment, _without(spec, region)) as sessions:
        found = {name: _heard(session, region) for name, session in sessions.items()}
    for name, (_, lately, _) in found.items():
        if lately:
            raise NotLost(
                f"{name} has heard of {region} within the last {SILENT_SECONDS:g} s: it is not"
                f" lost. `cell remove-region {spec.name} {region}` takes it out without a loss."
            )
    return Tail(region, {name: until for name, (until, _, _) in found.items()})


def expel(
    deployment: Deployment,
    spec: CellSpec,
    region: str,
    *,
    by: str,
    forget: Callable[[], None],
    tell: Tell,
) -> Tail:
    """The cell without the region; `forget` takes it off the map. Raises NotLost, NotSettled,
    ReplicaDown, RepairRunning."""
    tail = foresee(deployment, spec, region)
    others = _without(spec, region)
    node = deployment.region(region).node
    with cells.administrators(deployment, others) as sessions:
        for name, session in sessions.items():
            tell(f"{name} neither hears {region} nor keeps anything for it")
            session.execute(_EXPEL, (node, region, by, tail.heard_until[name]))
            transport.unsubscribe(session, others, sender=region)
            transport.discard_slot(session, others, to=region)
        for name, session in sessions.items():
            _await_applied(session, region, name)
        forget()
        tell(f"comparing what {', '.join(others.regions)} have of it")
        level(deployment, others)
        for session in sessions.values():
            session.execute(_FORGET, (region,))
    return expelled(deployment, others, region) or tail


def expelled(deployment: Deployment, spec: CellSpec, region: str) -> Tail | None:
    """What was lost when a region that the cell has no more was taken out as lost."""
    with cells.administrators(deployment, spec) as sessions:
        found = {
            name: session.execute(_EXPELLED, (region,)).fetchone()
            for name, session in sessions.items()
        }
    known = {name: row[0] for name, row in found.items() if row is not None}
    return Tail(region, known) if known else None


def level(deployment: Deployment, spec: CellSpec) -> None:
    """What the lost region had sent to one of the replicas, all of them have."""
    if len(spec.regions) < 2:
        return
    verdict = asyncio.run(verify(deployment, spec, repair=True, by="expel"))
    if verdict.refusal:
        raise NotSettled(f"{verdict.refusal}: `cell verify {spec.name} --repair` says more")


def _require_silence(deployment: Deployment, spec: CellSpec, region: str) -> None:
    try:
        with cells.administrator(deployment, region):
            pass
    except psycopg.OperationalError:
        return
    raise NotLost(
        f"PostgreSQL in {region} answers: it is not lost. `cell remove-region {spec.name} {region}`"
        " takes it out without a loss."
    )


def _await_applied(session: Connection, region: str, name: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _heard(session, region)[2]:
        if time.monotonic() > deadline:
            raise NotSettled(f"{name} does not apply what it has received: is its agent up?")
        time.sleep(PAUSE_SECONDS)


def _heard(session: Connection, region: str) -> tuple[datetime | None, bool, bool]:
    """(until when, whether lately, whether something of it waits)"""
    row = session.execute(_HEARD, (SILENT_SECONDS, region)).fetchone()
    return (None, False, False) if row is None else (row[0], row[1], row[2])


def _without(spec: CellSpec, region: str) -> CellSpec:
    return replace(spec, regions=tuple(name for name in spec.regions if name != region))
