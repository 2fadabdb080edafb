"""Ends a move that broke: takes it back, or cleans up after it when it was decided already.

The tenant's cell in the registry is the decision. Guarantees that what is removed is never where
the tenant lives, and that repeating it is safe.
"""

from __future__ import annotations

from contextlib import suppress

from django.db import transaction

from regions import cells
from regions.current import deployment
from regions.errors import UnknownCell
from regions.models import Cell, Replica
from regions.topology import CellSpec, TenancyMode
from tenants import audit
from tenants.claim import claim
from tenants.databases import control_writer_alias
from tenants.errors import MoveFailed, TenantNotActive
from tenants.files import transfer as files
from tenants.files.places import home_of
from tenants.isolation.base import Progress
from tenants.isolation.modes import isolation_of
from tenants.lifecycle.create_cell import discard, furnish
from tenants.lifecycle.move_contents import count_rows, read_contents
from tenants.lifecycle.move_side import Side, open_side, record_in
from tenants.lifecycle.states import set_state
from tenants.models import Move, Tenant
from tenants.seams import find_cell, find_tenant, spec_for


def silent(step: str, percent: int) -> None:
    """Progress that nobody watches."""


def finish_broken_move(slug: str, *, actor: str) -> None:
    """Does nothing where no move is pending. Raises TenantNotActive while one is at work."""
    using = control_writer_alias()
    if Move.objects.using(using).filter(tenant__slug=slug).exists():
        with claim(slug, busy(slug)):
            end_broken_moves(find_tenant(slug, using=using), actor=actor, progress=silent)


def busy(slug: str) -> TenantNotActive:
    return TenantNotActive(
        f"Tenant {slug!r} is being moved, onboarded or migrated by another process now."
    )


def end_broken_moves(tenant: Tenant, *, actor: str, progress: Progress) -> None:
    """The caller has the claim on the slug."""
    using = control_writer_alias()
    for pending in Move.objects.using(using).filter(tenant=tenant):
        if tenant.cell_id == pending.target:
            clean_source(tenant, pending, actor=actor, progress=progress)
        else:
            take_back(tenant, pending, actor=actor, progress=progress)


def take_back(tenant: Tenant, pending: Move, *, actor: str, progress: Progress) -> None:
    """The tenant works where it was; then the copy goes."""
    using = control_writer_alias()
    progress("taking the move back", 90)
    source, target = spec_for(tenant.cell), _spec(pending.target, using=using)
    with open_side(tenant, source) as old:
        _refuse_to_lose_rows(tenant, old, target)
        old.thaw()
    if tenant.state == Tenant.State.MOVING:
        detail = {"move": "taken back", "to": pending.target}
        set_state(
            tenant, Tenant.State.ACTIVE, verb="move_failed", actor=actor, using=using, **detail
        )
    if target is not None:
        if pending.target_made:
            discard(target)
        else:
            clear(tenant, target, progress=progress)
    files.remove(tenant.id, keep=home_of(source))
    pending.delete(using=using)


def clean_source(tenant: Tenant, pending: Move, *, actor: str, progress: Progress) -> None:
    """What is left in the old cell, in each replica, or the old cell itself if it was the
    tenant's own. Shared places keep their fence: a process with an old map must not write there.
    """
    using = control_writer_alias()
    source = _spec(pending.source, using=using)
    if source is not None and source.mode is TenancyMode.DEDICATED:
        _drop(source, using=using)
    elif source is not None:
        isolation_of(source).remove_tenant(record_in(tenant, source), silent)
    files.remove(tenant.id, keep=home_of(spec_for(tenant.cell)))
    with transaction.atomic(using=using):
        pending.delete(using=using)
        audit.record("move_cleaned", tenant.slug, actor=actor, using=using, cell=pending.source)


def clear(tenant: Tenant, target: CellSpec, *, progress: Progress) -> None:
    """Nothing of the tenant is in the target, where it doesn't live."""
    if target.name == tenant.cell_id:
        raise MoveFailed(f"tenant {tenant.slug!r} lives in cell {target.name!r}")
    isolation_of(target).remove_tenant(record_in(tenant, target), silent)
    if target.mode is TenancyMode.DEDICATED:
        furnish(target, silent)


def _drop(source: CellSpec, *, using: str) -> None:
    if Tenant.objects.using(using).filter(cell=source.name).exists():
        # A tombstone of an erased tenant still names the cell: only its databases go.
        cells.drop_databases(deployment(), source)
        Replica.objects.using(using).filter(cell=source.name).delete()
    else:
        discard(source)


def _refuse_to_lose_rows(tenant: Tenant, old: Side, target: CellSpec | None) -> None:
    """A registry that lost the decision (its writer was lost) must not cost the only copy."""
    if target is None or not target.regions or _rows(old):
        return
    with suppress(MoveFailed), open_side(tenant, target) as new:
        if _rows(new):
            raise TenantNotActive(
                f"Tenant {tenant.slug!r} is registered in cell {old.spec.name!r}, but its rows are "
                f"in {target.name!r} only: nothing was changed; find out why first."
            )


def _rows(side: Side) -> int:
    session = side.sessions[side.home]
    found = session.execute(
        "SELECT to_regnamespace(quote_ident(%s)) IS NOT NULL", (side.tenant.schema,)
    ).fetchone()
    if not found or not found[0]:
        return 0
    return count_rows(session, side, read_contents(session, side.tenant.schema))


def _spec(cell: str, *, using: str) -> CellSpec | None:
    try:
        row: Cell = find_cell(cell, using=using)
    except UnknownCell:
        return None
    return spec_for(row)
