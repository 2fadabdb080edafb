"""Compare a cell's replicas, and on demand make them equal again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from django.db import transaction

from regions.current import deployment
from regions.replication.verification.run import LivedIn
from regions.replication.verification.verdict import Verdict
from regions.replication.verify import verify
from regions.topology import CellSpec, TenancyMode
from tenants import audit
from tenants.databases import control_writer_alias
from tenants.models import Tenant
from tenants.seams import find_cell, spec_for


def verify_cell(
    name: str, *, repair: bool = False, actor: str, tell: Callable[[str], None]
) -> Verdict:
    """What came of it; a repair that has changed something is audited. Raises UnknownCell,
    ReplicaDown, NotSettled, RepairRunning."""
    spec = spec_for(find_cell(name))
    verdict = asyncio.run(
        verify(
            deployment(),
            spec,
            repair=repair,
            by=actor,
            tell=tell,
            is_lived_in=_lived_in(spec),
        )
    )
    if verdict.repaired:
        using = control_writer_alias()
        with transaction.atomic(using=using):
            audit.record(
                "repair_cell",
                name,
                actor=actor,
                using=using,
                rows=verdict.repaired,
                left=verdict.found - verdict.repaired,
            )
    return verdict


def _lived_in(spec: CellSpec) -> LivedIn:
    """Not so: spares, and places of tenants who do not have them yet. They may be half there."""
    if spec.mode is not TenancyMode.SCHEMA:
        return lambda schema: True
    tenants = Tenant.objects.filter(cell=spec.name).exclude(state=Tenant.State.PROVISIONING)
    return {"public", *tenants.values_list("own_schema", flat=True)}.__contains__
