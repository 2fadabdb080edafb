"""Who works on what, across processes: locks of one session in the control cell.

They end with the process, however that ends. A tenant's lock is the one that moves and onboarding
take (`tenants.claim`), so that neither happens to a tenant that is being migrated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.db import connections

from tenants.claim import claim_name, control_session
from tenants.databases import control_writer_alias
from tenants.errors import CellBusy
from tenants.models import Tenant
from tenants.rollout.units import Work

_TAKE = """
SELECT name, pg_try_advisory_lock(hashtextextended(name, 0)) FROM unnest(%s::text[]) AS name
"""
_LEAVE = "SELECT pg_advisory_unlock(hashtextextended(name, 0)) FROM unnest(%s::text[]) AS name"

_WHERE = "SELECT id, cell_id FROM public.tenants_tenant WHERE state <> %s AND id = ANY(%s)"


class Locks:
    def __init__(self, session: psycopg.Connection[Any]) -> None:
        self._session = session

    def take(self, slugs: Collection[str]) -> set[str]:
        """Those of the tenants that nobody else works on; they are ours until `leave`."""
        names = {claim_name(slug): slug for slug in slugs}
        rows = self._session.execute(_TAKE, (list(names),)).fetchall()
        return {names[name] for name, got in rows if got}

    def leave(self, slugs: Collection[str]) -> None:
        if slugs:
            self._session.execute(_LEAVE, ([claim_name(slug) for slug in slugs],))


@contextmanager
def claimed(cells: Collection[str]) -> Iterator[Locks]:
    """Nobody else migrates these cells within the block. Raises CellBusy, naming one."""
    with control_session() as session:
        try:
            names = {f"migrate {cell}": cell for cell in sorted(cells)}
            for name, got in session.execute(_TAKE, (list(names),)).fetchall():
                if not got:
                    raise CellBusy(
                        f"Cell {names[name]!r} is being migrated by another process now: watch it "
                        "with `cell migrate --status`."
                    )
            yield Locks(session)
        finally:
            # A session that is closed ends a moment later, and who comes next would be refused.
            with suppress(psycopg.Error):
                session.execute("SELECT pg_advisory_unlock_all()")


def still_there(works: Collection[Work]) -> set[str]:
    """The keys of those whose tenants are where the plan found them and are not moving. Ask when
    their locks are taken."""
    by_tenant = {
        tenant.id: work
        for work in works
        for tenant in ((work.unit.tenant,) if work.unit.tenant else work.unit.sharers)
    }
    with connections[control_writer_alias()].cursor() as cursor:
        cursor.execute(_WHERE, [Tenant.State.MOVING, list(by_tenant)])
        cells = dict(cursor.fetchall())
    away = {
        work.unit.key
        for tenant, work in by_tenant.items()
        if cells.get(tenant) != work.unit.spec.name
    }
    return {work.unit.key for work in works} - away
