"""Whose rows a migration changes in tables that tenants share.

Guarantees that no tenant is left out: the seed is first, so whoever comes from then on copies what
is changed already, and whoever came, or was coming, before that is found here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from uuid import UUID

from regions.models import Cell
from tenants.claim import claim
from tenants.databases import control_writer_alias
from tenants.directory import TenantRecord
from tenants.errors import CellBusy
from tenants.isolation import seed
from tenants.isolation.modes import isolation_of
from tenants.models import Tenant
from tenants.rollout.survey import tenants_of
from tenants.rollout.units import Unit

PATIENCE_SECONDS = 60.0


def everybody(unit: Unit, home: str) -> Iterator[Sequence[TenantRecord]]:
    """In groups; for whom it is done already must be asked when each comes."""
    yield [seed.record(unit.spec)]
    if isolation_of(unit.spec).has_seed(home):
        cells = Cell.objects.using(control_writer_alias())
        cells.filter(name=unit.spec.name, has_seed=False).update(has_seed=True)
    seen: set[UUID] = set()
    yield from _who_is_there(unit, seen)
    _wait_for_who_is_coming(unit)
    yield from _who_is_there(unit, seen)


def _who_is_there(unit: Unit, seen: set[UUID]) -> Iterator[Sequence[TenantRecord]]:
    """Until nobody has come into the cell meanwhile."""
    name = unit.spec.name
    while waiting := [
        tenant
        for tenant in tenants_of([name], using=control_writer_alias())[name]
        if tenant.id not in seen
    ]:
        seen.update(tenant.id for tenant in waiting)
        yield waiting


def _wait_for_who_is_coming(unit: Unit) -> None:
    """Who is being onboarded may have copied the seed before it was changed."""
    tenants = Tenant.objects.using(control_writer_alias()).filter(cell=unit.spec.name)
    coming = tenants.filter(state=Tenant.State.PROVISIONING)
    for slug in coming.values_list("slug", flat=True):
        busy = CellBusy(f"Tenant {slug!r} is being onboarded.")
        with suppress(CellBusy), claim(slug, busy, patience=PATIENCE_SECONDS):
            pass
