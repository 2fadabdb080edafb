"""The decision of a move: the tenant's cell in the registry, in one transaction."""

from __future__ import annotations

import time

from django.db import connections, transaction

from tenants import audit
from tenants.errors import MoveFailed
from tenants.lifecycle.move_plan import MovePlan
from tenants.models import Tenant

CONFIRMED_SECONDS = 15.0


def flip(tenant: Tenant, plan: MovePlan, *, actor: str, using: str) -> None:
    """Raises MoveFailed if the tenant is not as the move left it."""
    detail = {
        "from": plan.source.name,
        "to": plan.target.name,
        "residency": [tenant.residency, plan.residency],
    }
    with transaction.atomic(using=using):
        row = Tenant.objects.using(using).select_for_update().get(id=tenant.id)
        if row.state != Tenant.State.MOVING or row.cell_id != plan.source.name:
            raise MoveFailed(f"somebody else made it {row.state} in cell {row.cell_id!r} meanwhile")
        row.cell_id = plan.target.name
        row.residency = plan.residency
        row.state = Tenant.State.ACTIVE
        row.save(using=using, update_fields=["cell", "residency", "state"])
        audit.record("move", tenant.slug, actor=actor, using=using, **detail)


def wait_until_safe(using: str) -> None:
    """Nothing is deleted on the word of a single region. Raises MoveFailed."""
    deadline = time.monotonic() + CONFIRMED_SECONDS
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT fabric.commit_position()::text")
        position = cursor.fetchone()[0]
        while True:
            cursor.execute("SELECT fabric.confirmed_by(%s::pg_lsn)", [position])
            if cursor.fetchone()[0] >= 1:
                return
            if time.monotonic() > deadline:
                raise MoveFailed("no other region has confirmed the decision")
            time.sleep(0.01)
