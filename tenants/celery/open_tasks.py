"""What is to be done in the cells, for operators: shown, told of again, dropped, taken over.

Guarantees that a change is made where the cell is written, so that every region gets it, and that
tasks are taken from a region of a cell with a lease by the lease only.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import psycopg

from regions import cells
from regions.current import deployment
from regions.errors import NoWriter
from regions.topology import CellSpec
from tenants.databases import CONTROL_ALIAS, leases
from tenants.errors import InvalidRequest, UnknownTask
from tenants.models import Tenant
from tenants.seams import all_specs, cell_spec, find_tenant

STATES = ("waiting", "running", "parked")

_LIST = """
SELECT tenant_id, id, name, region, claims, lost, sent_at, claimed_at, worker,
       CASE WHEN ring_at = 'infinity' THEN 'parked' WHEN claimed_at IS NULL THEN 'waiting'
            ELSE 'running' END
  FROM fabric.task WHERE %(tenant)s::uuid IS NULL OR tenant_id = %(tenant)s
 ORDER BY sent_at LIMIT %(most)s
"""
_AGAIN = """
UPDATE fabric.task SET ring_at = now(), claimed_at = NULL, worker = NULL, lost = 0
 WHERE tenant_id = %s AND id = %s
"""
_DROP = "DELETE FROM fabric.task WHERE tenant_id = %s AND id = %s"
_TAKE_OVER = """
UPDATE fabric.task SET region = m.region, ring_at = now(), claimed_at = NULL, worker = NULL
  FROM fabric.member m WHERE task.region = %s AND ring_at <> 'infinity'
"""


def listed(*, cell: str | None, tenant: str | None, most: int) -> list[dict[str, Any]]:
    """The oldest first, cell by cell. Raises UnknownTenant, UnknownCell."""
    who = find_tenant(tenant) if tenant else None
    name = who.cell_id if who else cell
    specs: Sequence[CellSpec] = [cell_spec(name)] if name else all_specs()
    slugs = dict(Tenant.objects.using(CONTROL_ALIAS).values_list("id", "slug"))
    found: list[dict[str, Any]] = []
    for spec in specs:
        bind = {"tenant": who.id if who else None, "most": most - len(found)}
        with _written(spec) as session:
            for (
                id_,
                task,
                label,
                region,
                claims,
                lost,
                sent,
                claimed,
                worker,
                state,
            ) in session.execute(_LIST, bind).fetchall():
                found.append(
                    {
                        "cell": spec.name,
                        "tenant": slugs.get(id_, str(id_)),
                        "id": task,
                        "task": label,
                        "state": state,
                        "region": region,
                        "sent_at": sent.isoformat(),
                        "claimed_at": claimed.isoformat() if claimed else None,
                        "worker": worker,
                        "claims": claims,
                        "lost": lost,
                    }
                )
    return found


def again(tenant: str, task: str) -> None:
    """A broker is told of it at once, also if it was parked. Raises UnknownTask."""
    _change(_AGAIN, tenant, task)


def drop(tenant: str, task: str) -> None:
    """It is not to be done; a worker that does it can't commit. Raises UnknownTask."""
    _change(_DROP, tenant, task)


def take_over(cell: str, *, lost: str, by: str) -> int:
    """In a cell that every region writes, `by` does what `lost` had not done; returns how many.
    Raises InvalidRequest."""
    spec = cell_spec(cell)
    if spec.policy.leased:
        raise InvalidRequest(
            f"Cell {cell!r} has a lease: whoever gets it takes its tasks over by itself."
        )
    if lost == by or by not in spec.regions:
        others = ", ".join(region for region in spec.regions if region != lost)
        raise InvalidRequest(f"Another region of the cell can do it: {others or 'there is none'}.")
    with cells.administrator(deployment(), by, spec.database) as session:
        return int(session.execute(_TAKE_OVER, (lost,)).rowcount)


def _change(statement: str, slug: str, task: str) -> None:
    tenant = find_tenant(slug)
    with _written(cell_spec(tenant.cell_id)) as session:
        if not session.execute(statement.encode(), (tenant.id, task)).rowcount:
            raise UnknownTask(f"Tenant {slug!r} has no task {task} that is to be done.")


def _written(spec: CellSpec) -> AbstractContextManager[psycopg.Connection[Any]]:
    """A session where it is written. Raises NoWriter, OperationalError."""
    region = spec.regions[0]
    if spec.policy.leased:
        lease = leases().get(spec.name)
        if lease is None:
            raise NoWriter(f"Cell {spec.name!r} has no writer now: try again in a few seconds.")
        region = lease.writer
    return cells.administrator(deployment(), region, spec.database)
