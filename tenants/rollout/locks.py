"""Who works on what, across processes: locks of one session in the control cell.

They end with the process, however that ends. A tenant's lock is the one that moves and onboarding
take (`lifecycle.claim`), so that neither happens to a tenant that is being migrated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tenants.errors import CellBusy
from tenants.lifecycle.claim import claim_name, control_session

_TAKE = """
SELECT name, pg_try_advisory_lock(hashtextextended(name, 0)) FROM unnest(%s::text[]) AS name
"""
_LEAVE = "SELECT pg_advisory_unlock(hashtextextended(name, 0)) FROM unnest(%s::text[]) AS name"


class Locks:
    def __init__(self, session: psycopg.Connection[Any]) -> None:
        self._session = session

    def take(self, slugs: Collection[str]) -> set[str]:
        """Those of the tenants that nobody else works on; they are ours until `leave`."""
        names = {claim_name(slug): slug for slug in slugs}
        rows = self._session.execute(_TAKE, (list(names),)).fetchall()
        return {names[name] for name, got in rows if got}

    def leave(self, slugs: Collection[str]) -> None:
        self._session.execute(_LEAVE, ([claim_name(slug) for slug in slugs],))


@contextmanager
def claimed(cells: Collection[str]) -> Iterator[Locks]:
    """Nobody else migrates these cells within the block. Raises CellBusy, naming one."""
    with control_session() as session:
        names = {f"migrate {cell}": cell for cell in sorted(cells)}
        for name, got in session.execute(_TAKE, (list(names),)).fetchall():
            if not got:
                raise CellBusy(
                    f"Cell {names[name]!r} is being migrated by another process now: watch it with "
                    "`cell migrate --status`."
                )
        yield Locks(session)
