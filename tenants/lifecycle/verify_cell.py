"""Compare a cell's replicas, and on demand make them equal again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from django.db import transaction

from regions.current import deployment
from regions.replication.verification.verdict import Verdict
from regions.replication.verify import verify
from tenants import audit
from tenants.databases import control_writer_alias
from tenants.seams import find_cell, spec_for


def verify_cell(
    name: str, *, repair: bool = False, actor: str, tell: Callable[[str], None]
) -> Verdict:
    """What came of it; a repair that has changed something is audited. Raises UnknownCell,
    ReplicaDown, NotSettled, RepairRunning."""
    spec = spec_for(find_cell(name))
    verdict = asyncio.run(verify(deployment(), spec, repair=repair, by=actor, tell=tell))
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
