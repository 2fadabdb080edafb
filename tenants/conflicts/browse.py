"""Reads the ledger of the tenant in scope from each region of its cell.

A loss is recorded where it was seen, at least in the loser's region: so all of them are asked. All
are lawful for the tenant, or its cell would not be there. The database's own function shows nobody
another tenant's entries.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import OperationalError, connections

from regions.current import deployment
from tenants.conflicts.entries import Entry, Wanted
from tenants.context import current_tenant
from tenants.databases import cell_alias
from tenants.errors import UnknownConflict
from tenants.seams import cell_spec

_ASK = "SELECT * FROM tenancy.conflicts(%s, %s, %s, %s, %s, %s, %s, %s)"
_JSON = (4, 8, 10)


@dataclass(frozen=True, slots=True)
class Page:
    """Entries with the regions that have a record of them; `unreachable` ones were not asked."""

    entries: tuple[tuple[Entry, tuple[str, ...]], ...]
    more: bool
    unreachable: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        nodes = {site.node: site.name for site in deployment().regions.values()}
        last = self.entries[-1][0] if self.entries else None
        return {
            "items": [entry.document(nodes, list(regions)) for entry, regions in self.entries],
            "next": str(last.cursor) if self.more and last else None,
            "unreachable": list(self.unreachable),
        }


def browse(wanted: Wanted) -> Page:
    """A page of the ledger of the tenant in scope. Raises NoTenantError."""
    found: dict[UUID, tuple[Entry, list[str]]] = {}
    unreachable = []
    cell = current_tenant().cell
    for region in cell_spec(cell).regions:
        try:
            entries = _ask(cell_alias(cell, region=region), wanted)
        except OperationalError:
            unreachable.append(region)
            continue
        for entry in entries:
            known, regions = found.setdefault(entry.id, (entry, []))
            regions.append(region)
            if entry.restored_at and not known.restored_at:
                found[entry.id] = (entry, regions)
    ordered = sorted(found.values(), key=lambda one: (one[0].stamp, one[0].id), reverse=True)
    return Page(
        entries=tuple((entry, tuple(regions)) for entry, regions in ordered[: wanted.most]),
        more=len(ordered) > wanted.most,
        unreachable=tuple(unreachable),
    )


def find(id_: UUID) -> tuple[Entry, tuple[str, ...]]:
    """One entry. Raises UnknownConflict."""
    page = browse(Wanted(id=id_))
    if not page.entries:
        also = f"; {', '.join(page.unreachable)} did not answer" if page.unreachable else ""
        raise UnknownConflict(f"The ledger has no entry {id_}{also}.")
    return page.entries[0]


def _ask(alias: str, wanted: Wanted) -> list[Entry]:
    with connections[alias].cursor() as cursor:
        cursor.execute(_ASK, wanted.arguments)
        return [Entry(*(_value(n, value) for n, value in enumerate(row))) for row in cursor]


def _value(place: int, value: Any) -> Any:
    """Django leaves JSON of raw statements as text."""
    return json.loads(value) if place in _JSON and isinstance(value, str) else value
