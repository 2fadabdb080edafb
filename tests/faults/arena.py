"""The fabric under fire: an active-active cell of three regions with a tenant in shared tables.

Clients go in by `FabricDoor`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar

import psycopg
from django.db import DatabaseError, connections
from psycopg import sql

from regions.deployment import ADMIN_ROLE
from regions.errors import RegionsError
from regions.replication.budget import Budget, Over
from regions.replication.declared import set_budget
from regions.replication.housekeeping import BEAT
from regions.replication.verify import verify
from tenants.databases import control_writer_alias
from tenants.errors import TenantsError
from tenants.isolation.base import protect
from tenants.isolation.owner import owner
from tenants.lifecycle import create_cell
from tenants.lifecycle.add_region import add_region
from tenants.lifecycle.expel_region import expel_region
from tenants.lifecycle.remove_region import remove_region
from tenants.seams import cell_spec, find_cell, record_for, spec_for
from testkit.control import end_cell, onboard, silent
from tests.faults import readout
from tests.faults.doors import FabricDoor
from tests.faults.history import Discarded, Replica
from tests.faults.world import World, wait_for

T = TypeVar("T")

CATCH_UP_SECONDS = 150.0
GAP_SECONDS = 150.0  # two looks, a comparison, and a second one if the first was disturbed
CARDS = 20
LITTLE = 400_000


class Arena:
    """One run's cell. `seed` statements have been carried out, and everybody has heard of them.
    `over`: what happens beyond a log budget of LITTLE bytes."""

    name = "the fabric"

    def __init__(self, world: World, cell: str, seed: Sequence[str], *, over: str = "") -> None:
        self.world = world
        for agent in world.agents.values():
            agent.start()
        place: dict[str, Any] = {"regions": list(world.regions), "policy": "active_active"}
        insist(lambda: create_cell(cell, mode="shared", actor="faults", progress=silent, **place))
        slug = f"tenant-of-{cell}"
        self._tenant = insist(lambda: onboard(slug, "shared", cell=cell, residency="UNRESTRICTED"))
        self.spec = cell_spec(cell)
        self.door = FabricDoor(cell, record_for(self._tenant))
        with self.door.transaction(world.regions[0]) as cursor:
            for statement in (CARDS_THERE, *seed):
                cursor.execute(statement)
        if stalls := self.quiesce():
            raise TimeoutError(f"The agents do not work: {'; '.join(stalls)}")
        if over:
            set_budget(world.deployment, self.spec, Budget(LITTLE, Over(over)))

    @property
    def database(self) -> str:
        return self.spec.database

    def dsn(self, region: str) -> str:
        return self.world.deployment.dsn(region, self.database, ADMIN_ROLE)

    def quiesce(self) -> list[str]:
        """Wait until everybody has applied all that anybody has committed, and what could not be
        applied has been tried again; who does not catch up with whom."""
        stalls = []
        with ExitStack() as stack:
            sessions = {
                region: stack.enter_context(psycopg.connect(self.dsn(region), autocommit=True))
                for region in self.spec.regions
            }
            try:
                wait_for("trust", lambda: all(map(_is_trusted, sessions.values())), GAP_SECONDS)
            except TimeoutError as late:
                return [f"not as it should be by now: {late}"]
            deadline = time.monotonic() + CATCH_UP_SECONDS
            for sender in sessions:
                node = self.world.deployment.region(sender).node
                mark = _one(sessions[sender], BEAT, node)
                for receiver in sessions:
                    while sender != receiver and not _heard(sessions[receiver], node, mark):
                        if time.monotonic() > deadline:
                            stalls.append(f"{receiver} does not catch up with {sender}")
                            break
                        time.sleep(0.02)
            try:
                for what, is_so in _TO_END.items():
                    mended = lambda so=is_so: not any(map(so, sessions.values()))  # noqa: E731
                    wait_for(what, mended, GAP_SECONDS)
            except TimeoutError as late:
                stalls.append(f"not as it should be by now: {late}")
        return stalls or self._verified()

    def _verified(self) -> list[str]:
        """What the fabric's own comparison says, which looks at tombstones, too."""
        try:
            verdict = asyncio.run(verify(self.world.deployment, self.spec))
        except RegionsError as error:
            return [f"cell verify: {error}"]
        found = [f"cell verify: {one.table} {one.key}: {one.reason}" for one in verdict.differences]
        return found or [f"cell verify: {verdict.refusal}"] * bool(verdict.refusal)

    def readings(self) -> tuple[list[Replica], list[Discarded]]:
        """Each region's replica, and all their records of what was discarded."""
        replicas: list[Replica] = []
        records: list[Discarded] = []
        for region in self.spec.regions:
            with psycopg.connect(self.dsn(region), autocommit=True) as session:
                replicas.append(readout.replica(session, region))
                records += readout.discarded(session)
        return replicas, records

    def widen(self, region: str, column: str) -> None:
        """A migration reaches this region: cards have one more column. Safe to repeat."""
        with owner(self.spec, region) as session, session.transaction():
            session.execute("SET LOCAL lock_timeout = '2s'")
            session.execute(
                sql.SQL(
                    "ALTER TABLE board_card ADD COLUMN IF NOT EXISTS {} text DEFAULT 'new'"
                ).format(sql.Identifier(column))
            )
            protect(session, "public", None)

    def leave(self, region: str, peer: str) -> str:
        """A cell's home can't: then it is the peer."""
        gone = peer if region == self.spec.regions[0] else region
        insist(partial(self._change, remove_region, gone, there=True))
        return gone

    def close(self, region: str) -> None:
        """No client comes in there, and every other region has all that was committed there. Raises
        TimeoutError."""
        self.door.close(region)
        node = self.world.deployment.region(region).node
        with ExitStack() as stack:
            here, *others = (
                stack.enter_context(psycopg.connect(self.dsn(name), autocommit=True))
                for name in sorted(self.spec.regions, key=lambda name: name != region)
            )
            wait_for("trust", lambda: all(map(_is_trusted, (here, *others))), GAP_SECONDS)
            mark = _one(here, BEAT, node)
            for other in others:
                wait_for("word", partial(_heard, other, node, mark), CATCH_UP_SECONDS)
            # What nobody else has yet, since it is being repaired there, this one still has.
            wait_for("gaps", lambda: not any(map(_has_gap, (here, *others))), GAP_SECONDS)

    def expel(self, region: str) -> None:
        insist(partial(self._change, expel_region, region, there=True))

    def join(self, region: str) -> None:
        """Unless it is there. Its door is open."""
        insist(partial(self._change, add_region, region, there=False))
        self.spec = cell_spec(self.spec.name)
        self.door.open(region)

    def _change(self, change: Callable[..., Any], region: str, *, there: bool) -> None:
        members = spec_for(find_cell(self.spec.name, using=control_writer_alias())).regions
        if (region in members) is there:
            change(self.spec.name, region, actor="faults", progress=silent)

    def end(self) -> None:
        """Nothing of it is left, and nobody works for it."""
        insist(lambda: end_cell(self.spec.name))


def insist(work: Callable[[], T]) -> T:
    """The control cell's writer may have changed a moment ago: this thread's connections are gone,
    and the new writer may not have heard yet of what the old one was told."""
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while True:
        connections.close_all()
        try:
            return work()
        except (DatabaseError, TenantsError, RegionsError, psycopg.Error):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


CARDS_THERE = (
    "INSERT INTO board_card (id, title, status, body, votes)"
    f" SELECT n, '', '', '', 0 FROM generate_series(1, {CARDS}) n"
)

_DANGLING = """
SELECT EXISTS (SELECT FROM board_reply r
                WHERE NOT EXISTS (SELECT FROM board_topic t WHERE t.id = r.topic_id))
"""
_HEARD = "SELECT heartbeat FROM fabric.watermark WHERE origin = %s"
# A loser of a unique value stays where it is; whatever else was parked was so for a time.
_WAITING = "SELECT count(*) FROM fabric.dead_letter WHERE reason NOT LIKE %s"


def _heard(session: psycopg.Connection[Any], node: int, mark: int) -> bool:
    return bool(_one(session, _HEARD, node) >= mark)


def _may_go_in(session: psycopg.Connection[Any]) -> bool:
    return bool(_one(session, _WAITING, "23505%"))


def _dangles(session: psycopg.Connection[Any]) -> bool:
    return bool(_one(session, _DANGLING))


def _has_gap(session: psycopg.Connection[Any]) -> bool:
    return bool(_one(session, "SELECT EXISTS (SELECT FROM fabric.watermark WHERE gap IS NOT NULL)"))


# What ends by itself, once everything is mended.
_TO_END = {"gaps": _has_gap, "dead letters": _may_go_in, "references": _dangles}


def _is_trusted(session: psycopg.Connection[Any]) -> bool:
    return _one(session, "SELECT fabric.kept_closed()") is None


def _one(session: psycopg.Connection[Any], statement: str, *params: object) -> Any:
    row = session.execute(statement.encode(), params).fetchone()
    assert row is not None
    return row[0]
