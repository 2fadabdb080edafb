"""One cell as a move sees it: open sessions to its replicas, and the tenant as it is there."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import psycopg
from django.conf import settings
from psycopg import sql

from regions import cells
from regions.current import deployment
from regions.deployment import AGENT_ROLE
from regions.errors import NotSettled, NoWriter
from regions.replication.settle import settle
from regions.topology import CellSpec, TenancyMode
from tenants.directory import TenantRecord
from tenants.errors import MoveFailed
from tenants.isolation import fence
from tenants.isolation.base import Isolation
from tenants.isolation.catalog import read_tables
from tenants.isolation.modes import isolation_of
from tenants.isolation.owner import Connection, owner
from tenants.models import Tenant
from tenants.seams import record_for
from tenants.writers import wait_for_writer

WRITER_SECONDS = 30.0
SETTLE_SECONDS = 30.0


@dataclass(frozen=True)
class Side:
    """`sessions` are administrators' on the cell's database, by region; `home` is where the cell
    is written."""

    spec: CellSpec
    tenant: TenantRecord
    home: str
    sessions: dict[str, Connection]

    @property
    def isolation(self) -> Isolation:
        return isolation_of(self.spec)

    @contextmanager
    def rows(self) -> Iterator[Connection]:
        """A session at home that reads and writes any tenant's rows, captured like all others."""
        dsn = deployment().dsn(
            self.home, self.spec.database, AGENT_ROLE, seen_from=settings.MERIDIAN_REGION
        )
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            yield connection

    def empty(self) -> None:
        """Of the rows that a tenant starts with: it brings its own. Nobody has captured them."""
        if self.spec.mode is TenancyMode.SHARED:
            return
        for session in self.sessions.values():
            tables = read_tables(session, self.tenant.schema)
            with session.transaction():
                session.execute("SET LOCAL session_replication_role = replica")
                for table in tables:
                    name = sql.Identifier(table.schema, table.name)
                    session.execute(sql.SQL("DELETE FROM {}").format(name))

    def freeze(self) -> None:
        """Nothing is read or written for the tenant in any replica when this returns."""
        for session in self.sessions.values():
            fence.put_up(session, self.tenant.id)
        fence.wait_for_those_in_flight(list(self.sessions.values()))

    def thaw(self) -> None:
        for session in self.sessions.values():
            fence.take_down(session, self.tenant.id)

    def settle(self, receivers: Collection[str], *, seconds: float = SETTLE_SECONDS) -> None:
        """Each of `receivers` has applied all that any replica had committed before this call.
        Raises MoveFailed when that takes longer, or when a change can't be applied."""
        try:
            settle(
                self.sessions,
                cell=self.spec.name,
                senders=self.spec.regions,
                receivers=receivers,
                tenant=self.tenant.id,
                seconds=seconds,
            )
        except NotSettled as error:
            raise MoveFailed(str(error)) from error


@contextmanager
def open_side(tenant: Tenant, spec: CellSpec) -> Iterator[Side]:
    """Raises MoveFailed when a replica can't be reached or nobody may write the cell."""
    there = record_in(tenant, spec)
    key = deployment().context_key(spec.name)
    with ExitStack() as stack:
        sessions = {}
        for region in spec.regions:
            try:
                session = stack.enter_context(
                    cells.administrator(deployment(), region, spec.database)
                )
                with owner(spec, region) as connection:
                    fence.ensure(session, connection, key)
            except psycopg.OperationalError as error:
                raise MoveFailed(
                    f"cell {spec.name!r} can't be reached in {region}: a move needs every replica "
                    "of both cells"
                ) from error
            sessions[region] = session
        yield Side(spec, there, _writer(spec, sessions), sessions)


def record_in(tenant: Tenant, spec: CellSpec) -> TenantRecord:
    """The tenant as it is, was or will be in that cell."""
    schema = tenant.own_schema if spec.mode is TenancyMode.SCHEMA else "public"
    return replace(record_for(tenant), cell=spec.name, mode=spec.mode.value, schema=schema)


def _writer(spec: CellSpec, sessions: dict[str, Connection]) -> str:
    try:
        return wait_for_writer(spec, sessions, seconds=WRITER_SECONDS)
    except NoWriter as error:
        raise MoveFailed(str(error)) from error
