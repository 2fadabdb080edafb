"""Makes a cell: its databases in exactly its regions, isolated and replicated.

Guarantees that a cell is listed as ready only when tenants can be placed in it, and that a
failure leaves neither a row nor a database.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import Error as DjangoError
from django.db import transaction
from psycopg import Error as PostgresError

from regions import cells
from regions.current import deployment
from regions.models import Cell, Replica
from regions.topology import CellSpec
from tenants import audit
from tenants.databases import control_writer_alias
from tenants.errors import InvalidRequest
from tenants.isolation.base import Progress
from tenants.isolation.modes import isolation_of
from tenants.placement import check_name, known_regions, parse_mode, parse_policy


def create_cell(
    name: str,
    *,
    mode: str,
    regions: Sequence[str],
    policy: str,
    actor: str,
    progress: Progress,
) -> Cell:
    """Raises InvalidRequest or UnknownRegion before anything is changed."""
    check_name(name, "cell's name")
    spec = CellSpec(name, parse_mode(mode), parse_policy(policy), known_regions(regions))
    using = control_writer_alias()
    if Cell.objects.using(using).filter(name=name).exists():
        raise InvalidRequest(f"A cell called {name!r} exists already.")
    return make(spec, actor=actor, progress=progress)


def make(spec: CellSpec, *, actor: str, progress: Progress) -> Cell:
    """The cell that a valid specification describes."""
    using = control_writer_alias()
    with transaction.atomic(using=using):
        cell = Cell(name=spec.name, mode=spec.mode.value, policy=spec.policy.value)
        cell.save(using=using, force_insert=True)
        for priority, region in enumerate(spec.regions):
            Replica(cell=cell, region_id=region, priority=priority).save(using=using)
        audit.record("create_cell", spec.name, actor=actor, using=using, regions=list(spec.regions))
    try:
        progress(f"databases of cell {spec.name} in {', '.join(spec.regions)}", 10)
        cells.create_databases(deployment(), spec)
        isolation_of(spec).prepare_cell(progress)
        progress(f"replication of cell {spec.name}", 75)
        cells.connect_replicas(deployment(), spec)
    except (DjangoError, PostgresError, OSError):
        discard(spec)
        raise
    cell.state = Cell.State.READY
    cell.save(using=using, update_fields=["state"])
    return cell


def discard(spec: CellSpec) -> None:
    """Remove a cell without tenants, as far as it was made."""
    using = control_writer_alias()
    cells.drop_databases(deployment(), spec)
    with transaction.atomic(using=using):
        Replica.objects.using(using).filter(cell=spec.name).delete()
        Cell.objects.using(using).filter(name=spec.name).delete()
