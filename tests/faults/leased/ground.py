"""What a round is made on: a running fleet with a tenant in each of two leased cells, one with a
standby and a witness, one with two standbys."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import psycopg

from infra.fleet.plan import Plan
from regions.deployment import ADMIN_ROLE, Deployment, load
from regions.replication.housekeeping import BEAT
from regions.topology import CellSpec, TenancyMode, WritePolicy
from tests.etcd import Cluster
from tests.faults.leased.clients import TICKETS, Tenant, connect
from tests.faults.readout import discarded

CELLS = {"linear-two": ("EU", "eu-west,eu-central"),
         "linear-three": ("UNRESTRICTED", "eu-west,eu-central,us-east")}  # fmt: skip
CATCH_UP_SECONDS = 150.0
# What the control takes away: the database lets every commit pass, and says so of itself.
_FENCE = ("fabric.require_gate()", "fabric.may_write()")
_WITHOUT_FENCE = """
CREATE OR REPLACE FUNCTION fabric.require_gate() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'SELECT epoch FROM fabric.gate';
CREATE OR REPLACE FUNCTION fabric.may_write() RETURNS boolean LANGUAGE sql AS 'SELECT true'
"""


class NotYet(Exception):
    """No region has done it yet."""


class Manage(Protocol):
    """`manage.py ARGUMENTS… --json` for the fleet."""

    def __call__(self, *arguments: str) -> Any: ...


@dataclass(frozen=True)
class Ground:
    """`tenants` by cell. `etcd` grants the leases, if there is one."""

    plan: Plan
    deployment: Deployment
    tenants: Mapping[str, Tenant]
    manage: Manage
    etcd: Cluster | None = None

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(region.name for region in self.plan.regions)

    def spec(self, cell: str) -> CellSpec:
        return CellSpec(
            cell, TenancyMode.DEDICATED, WritePolicy.ACTIVE_PASSIVE, self.tenants[cell].regions
        )

    def session(self, cell: str, region: str) -> psycopg.Connection[Any]:
        dsn = self.deployment.dsn(region, self.spec(cell).database, ADMIN_ROLE)
        return psycopg.connect(dsn, autocommit=True, connect_timeout=5)

    def writer(self, cell: str) -> str:
        """Whose gate is open."""

        def open_gate() -> str:
            for region in self.tenants[cell].regions:
                with self.session(cell, region) as session:
                    if _one(session, "SELECT clock_timestamp() < valid_until FROM fabric.gate"):
                        return region
            raise NotYet

        return str(insist(open_gate))

    def open_tickets(self, cell: str, titles: Sequence[str]) -> dict[str, int]:
        """New tickets by title, which every region of the cell has."""
        tickets: dict[str, int] = {}
        with connect(self.tenants[cell], "edge") as session:
            for title in titles:
                tickets[title] = insist(lambda title=title: _opened(session, title))
        self.quiesce(cell)
        return tickets

    def quiesce(self, cell: str) -> None:
        """Return when every region has all that any had. Raises TimeoutError."""
        regions = self.tenants[cell].regions
        for sender in regions:
            node = self.deployment.region(sender).node

            def marked(sender: str = sender, node: int = node) -> int:
                with self.session(cell, sender) as there:
                    return int(_one(there, BEAT, node))

            mark = insist(marked)
            for receiver in regions:
                if receiver != sender:
                    wait_for(
                        f"{cell}: {receiver} catches up with {sender}",
                        lambda r=receiver, n=node, m=mark: self._heard(cell, r, n, m),
                    )

    def values(self, cell: str, tickets: Mapping[str, int]) -> dict[str, dict[str, str]]:
        """The tickets' bodies by title, by region."""
        found = {}
        for region in self.tenants[cell].regions:
            with self.session(cell, region) as session:
                rows = session.execute(
                    "SELECT title, body FROM desk_ticket WHERE id = ANY (%s)",
                    (list(tickets.values()),),
                ).fetchall()
            found[region] = dict(rows)
        return found

    def recorded(self, cell: str) -> set[str]:
        """Every value in a ledger or a dead letter of the cell."""
        known: set[str] = set()
        for region in self.tenants[cell].regions:
            with self.session(cell, region) as session:
                known.update(*(one.values for one in discarded(session)))
        return known

    @contextmanager
    def without_fence(self, cell: str) -> Iterator[None]:
        """For the negative control: the databases of the cell let every commit pass."""
        definition = "SELECT pg_get_functiondef(%s::regprocedure)"
        fences: dict[str, list[str]] = {}
        for region in self.tenants[cell].regions:
            with self.session(cell, region) as session:
                fences[region] = [_one(session, definition, name) for name in _FENCE]
                session.execute(_WITHOUT_FENCE)
        try:
            yield
        finally:
            for region, fence in fences.items():
                with self.session(cell, region) as session:
                    for function in fence:
                        session.execute(function.encode())

    def _heard(self, cell: str, region: str, node: int, mark: int) -> bool:
        with self.session(cell, region) as session:
            heard = _one(
                session, "SELECT max(heartbeat) FROM fabric.watermark WHERE origin = %s", node
            )
            waiting = _one(session, "SELECT count(*) FROM fabric.dead_letter")
        return bool(heard is not None and heard >= mark and waiting == 0)


def prepare(plan: Plan, manage: Manage, etcd: Cluster | None = None) -> Ground:
    """A tenant in each of the cells, made for this."""
    deployment = load(plan.state / "deployment.json")
    doors = {"edge": f"http://127.0.0.1:{plan.edge_port}"}
    doors |= {one.name: f"http://127.0.0.1:{one.web_port}" for one in plan.regions}
    tenants = {}
    for cell, (residency, regions) in CELLS.items():
        words = ("--mode", "dedicated", "--residency", residency, "--regions", regions)
        made = manage("tenant", "create", cell, *words, "--policy", "active_passive")
        where = tuple(made["regions"])
        mine = {door: url for door, url in doors.items() if door == "edge" or door in where}
        tenants[made["cell"]] = Tenant(made["cell"], made["host"], made["api_token"], where, mine)
    return Ground(plan, deployment, tenants, manage, etcd)


def insist(work: Callable[[], Any]) -> Any:
    """Until it is done: the writer may just be moving. Raises TimeoutError."""
    found: list[Any] = []

    def tried() -> bool:
        with suppress(httpx.HTTPError, psycopg.Error, NotYet):
            found.append(work())
        return bool(found)

    wait_for("what the round needs", tried)
    return found[0]


def wait_for(what: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while True:
        with suppress(psycopg.OperationalError):
            if done():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {CATCH_UP_SECONDS:.0f} s")
        time.sleep(0.1)


def _opened(session: httpx.Client, title: str) -> int:
    answer = session.post(TICKETS, json={"title": title}, headers={"X-Durability": "remote"})
    answer.raise_for_status()
    return int(answer.json()["id"])


def _one(session: psycopg.Connection[Any], statement: str, *params: object) -> Any:
    row = session.execute(statement.encode(), params).fetchone()
    assert row is not None
    return row[0]
