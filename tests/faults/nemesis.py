"""Makes go wrong what the schedule says, and mends it.

A region's clock is an argument of the fabric: what its stamps come from and what it compares them
with are two SQL functions. `clock` puts an offset into them, in one region's database.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import psycopg
from django.db import DatabaseError, connections

from infra.wan.conditions import HEALTHY, Condition, LinkState
from regions.errors import RegionsError
from regions.replication import transport
from tenants.errors import TenantsError
from tests.faults.schedule import EXPEL, LEAVE, RESTORE, Fault
from tests.faults.world import World, wait_for

AGENTS = {"kill agent", "freeze agent", "restart agent"}
LIVES = {LEAVE, EXPEL, RESTORE}
CLOCKS = ("fabric.next_stamp()", "fabric.horizon()")
Mend = Callable[[], None]


class Broken(Protocol):
    """What is made to suffer. `widen`: a migration reaches a region. `leave`: the region is taken
    out of the cell, or else the peer; returns who was. `close`: no client comes in there, until it
    joins, and the others have all that it committed. `expel`: of a region that is lost."""

    world: World

    def dsn(self, region: str) -> str: ...

    def widen(self, region: str, column: str) -> None: ...

    def leave(self, region: str, peer: str) -> str: ...

    def close(self, region: str) -> None: ...

    def expel(self, region: str) -> None: ...

    def join(self, region: str) -> None: ...


class Nemesis(threading.Thread):
    """Works off the schedule; `mend_all` leaves nothing broken. `failures` are of its own. Those of
    them that are `undone` fail the run: regions can be changed whatever else is wrong."""

    def __init__(self, ground: Broken, schedule: Sequence[Fault], began: float) -> None:
        super().__init__(daemon=True)
        self.failures: list[str] = []
        self.undone: list[str] = []
        self._ground = ground
        self._world = ground.world
        self._columns: list[str] = []
        self._began = began
        self._kinds = {fault.kind for fault in schedule}
        steps: list[tuple[float, bool, Fault]] = []
        for fault in schedule:
            steps += [(fault.at, True, fault), (fault.at + fault.seconds, False, fault)]
        self._steps = sorted(steps, key=lambda step: step[:2])

    def run(self) -> None:
        try:
            self._work_off()
        finally:
            connections.close_all()

    def _work_off(self) -> None:
        mends: dict[Fault, Mend] = {}
        for at, breaks, fault in self._steps:
            time.sleep(max(0.0, self._began + at - time.monotonic()))
            try:
                if breaks:
                    mends[fault] = getattr(self, f"_{fault.kind.replace(' ', '_')}")(fault)
                else:
                    mends.pop(fault, _nothing)()
            except (psycopg.Error, OSError, DatabaseError, TenantsError, RegionsError) as error:
                # Its target is down: another fault got there first.
                self.failures.append(f"{fault}: {str(error).splitlines()[0]}")
                if fault.kind in LIVES:
                    self.undone.append(f"not done: {self.failures[-1]}")

    def mend_all(self) -> None:
        """Everything runs, every link is whole, every clock is right."""
        world = self._world
        world.heal_links()
        for servers in (world.postgres, world.agents):
            for server in servers.values():
                server.thaw()
        for server in world.postgres.values():
            server.start()
        for region in world.regions:
            world.await_postgres(region)
            wait_for(f"{region} is as it should be", partial(self._put_right, region), 240.0)
            if self._kinds & AGENTS:
                world.agents[region].start()
        if self._kinds & LIVES:
            for region in world.regions:
                self._ground.join(region)

    def _put_right(self, region: str) -> bool:
        """Whether clock and schema are; whoever holds a lock may keep them from it for a time."""
        try:
            if "clock" in self._kinds:
                self._set_clock(region, 0)
            for column in self._columns:
                self._ground.widen(region, column)
        except psycopg.OperationalError:
            return False
        return True

    def _kill_postgres(self, fault: Fault) -> Mend:
        self._world.postgres[fault.region].kill()
        return self._world.postgres[fault.region].start

    def _freeze_postgres(self, fault: Fault) -> Mend:
        self._world.postgres[fault.region].freeze()
        return self._world.postgres[fault.region].thaw

    def _full_disk(self, fault: Fault) -> Mend:
        self._world.postgres[fault.region].fill_disk()
        return self._world.postgres[fault.region].restart

    def _kill_agent(self, fault: Fault) -> Mend:
        self._world.agents[fault.region].kill()
        return self._world.agents[fault.region].start

    def _freeze_agent(self, fault: Fault) -> Mend:
        self._world.agents[fault.region].freeze()
        return self._world.agents[fault.region].thaw

    def _restart_agent(self, fault: Fault) -> Mend:
        self._world.agents[fault.region].restart()
        return _nothing

    def _cut(self, fault: Fault) -> Mend:
        return self._link(fault, Condition(LinkState.CUT))

    def _black_hole(self, fault: Fault) -> Mend:
        return self._link(fault, Condition(LinkState.BLACK_HOLE))

    def _delay(self, fault: Fault) -> Mend:
        return self._link(fault, Condition(latency_ms=fault.amount, jitter_ms=fault.amount / 4))

    def _narrow(self, fault: Fault) -> Mend:
        return self._link(fault, Condition(kilobytes_per_second=fault.amount))

    def _link(self, fault: Fault, condition: Condition) -> Mend:
        link = (fault.region, fault.peer)
        self._world.condition(link, condition)
        return lambda: self._world.condition(link, HEALTHY)

    def _clock(self, fault: Fault) -> Mend:
        self._set_clock(fault.region, fault.amount)
        return lambda: self._set_clock(fault.region, 0)

    def _lost_slot(self, fault: Fault) -> Mend:
        like = f"%_to_{fault.peer.replace('-', '_')}"
        with self._session(fault.region) as session:
            for (slot,) in session.execute(
                "SELECT slot_name FROM pg_replication_slots"
                " WHERE database = current_database() AND slot_name LIKE %s", (like,),
            ).fetchall():  # fmt: skip
                transport.drop_slot(session, slot)
        return _nothing

    def _leave(self, fault: Fault) -> Mend:
        gone = self._ground.leave(fault.region, fault.peer)
        return lambda: self._ground.join(gone)

    def _expel(self, fault: Fault) -> Mend:
        self._ground.close(fault.region)
        self._world.postgres[fault.region].kill()
        self._ground.expel(fault.region)

        def come_back() -> None:
            self._world.postgres[fault.region].start()
            self._world.await_postgres(fault.region)
            self._ground.join(fault.region)

        return come_back

    def _restore(self, fault: Fault) -> Mend:
        backup = self._world.back_up(fault.region)

        def put_back() -> None:
            self._ground.close(fault.region)
            self._world.restore(fault.region, backup)
            # Clients are let in at once: that it is not ready for them is its own affair.
            self._ground.join(fault.region)

        return put_back

    def _lock(self, fault: Fault) -> Mend:
        session = self._session(fault.region)
        session.execute("BEGIN")
        session.execute("SELECT FROM board_card WHERE id <= 4 FOR UPDATE")
        return session.close

    def _schema(self, fault: Fault) -> Mend:
        column = f"extra_{len(self._columns)}"
        self._columns.append(column)
        self._ground.widen(fault.region, column)

        def everywhere() -> None:
            for region in self._world.regions:
                self._ground.widen(region, column)

        return everywhere

    def _set_clock(self, region: str, seconds: float) -> None:
        with self._session(region) as session:
            for function in CLOCKS:
                row = session.execute(
                    "SELECT pg_get_functiondef(%s::regprocedure)", (function,)
                ).fetchone()
                assert row is not None
                session.execute(_with_clock(row[0], seconds).encode())

    def _session(self, region: str) -> psycopg.Connection[Any]:
        options = "-c lock_timeout=2s -c statement_timeout=5s"
        return psycopg.connect(
            self._ground.dsn(region), autocommit=True, connect_timeout=2, options=options
        )


_WRONG = re.compile(r"\(clock_timestamp\(\) \+ interval '[-+.\d]+ s'\)")


def _with_clock(definition: str, seconds: float) -> str:
    plain = _WRONG.sub("clock_timestamp()", definition)
    if not seconds:
        return plain
    wrong = f"(clock_timestamp() + interval '{seconds:+.1f} s')"
    return plain.replace("clock_timestamp()", wrong)


def _nothing() -> None:
    """Mended already."""
