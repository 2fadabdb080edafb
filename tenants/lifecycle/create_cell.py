"""Makes a cell: its databases in exactly its regions, isolated and replicated.

Guarantees that a cell is listed as ready only when tenants can be placed in it, that a failure
leaves neither a row nor a database, and that a making which was stopped, or in which the control
cell lost its writer, is gone on with when it is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from django.db import Error as DjangoError
from django.db import transaction
from psycopg import Error as PostgresError

from regions import cells
from regions.current import deployment
from regions.models import Cell
from regions.topology import CellSpec
from tenants.claim import claim
from tenants.databases import control_writer_alias
from tenants.errors import InvalidRequest
from tenants.isolation import templates
from tenants.isolation.base import Progress
from tenants.isolation.modes import isolation_of
from tenants.lifecycle.across_writers import across_writers, lease_was_lost
from tenants.lifecycle.register import forget_cell, register_cell
from tenants.lifecycle.set_policy import checked_timetable
from tenants.models import Spare, Tenant
from tenants.placement import check_name, known_regions, parse_mode, parse_policy
from tenants.seams import spec_for

# Two tenants may be the first of a kind at the same time: one makes the cell, the other waits.
WAIT_SECONDS = 120.0


def create_cell(
    name: str,
    *,
    mode: str,
    regions: Sequence[str],
    policy: str,
    timetable: str | None = None,
    actor: str,
    progress: Progress,
) -> Cell:
    """Raises InvalidRequest, InvalidTimetable or UnknownRegion before anything is changed, and
    NoWriter if nobody could write the control cell for a minute."""
    check_name(name, "cell's name")
    wanted, places = parse_policy(policy), known_regions(regions)
    hours = checked_timetable(wanted, timetable, places)
    spec = CellSpec(name, parse_mode(mode), wanted, places, hours)

    def attempt() -> Cell:
        using = control_writer_alias()
        made = Cell.objects.using(using).filter(name=name).exclude(state=Cell.State.PROVISIONING)
        if made.exists():
            raise InvalidRequest(f"A cell called {name!r} exists already.")
        return make(spec, actor=actor, progress=progress)

    return across_writers(attempt, progress)


def make(
    spec: CellSpec, *, actor: str, progress: Progress, ready_as: str = Cell.State.READY
) -> Cell:
    """The cell that a valid specification describes. Raises InvalidRequest if the name is another
    cell's."""
    using = control_writer_alias()
    busy = InvalidRequest(f"Cell {spec.name!r} is being made by another process.")
    with claim(f"cell {spec.name}", busy, patience=WAIT_SECONDS):
        with transaction.atomic(using=using):
            cells_now = Cell.objects.using(using).prefetch_related("replicas")
            cell = cells_now.filter(name=spec.name).first()
            if cell is None:
                cell = register_cell(spec, actor=actor, using=using)
            elif spec_for(cell) != spec:
                raise InvalidRequest(f"Another cell is called {spec.name!r}.")
        if cell.state == Cell.State.PROVISIONING:
            try:
                furnish(spec, progress)
            except (DjangoError, PostgresError, OSError) as error:
                if not lease_was_lost(error):
                    discard(spec)
                raise
            cell.state = ready_as
            cell.has_seed = isolation_of(spec).has_seed(spec.regions[0])
            cell.save(using=using, update_fields=["state", "has_seed"])
    return cell


def furnish(spec: CellSpec, progress: Progress) -> None:
    """The databases of a registered cell, in each of its regions. Safe to repeat."""
    progress(f"databases in {', '.join(spec.regions)}", 10)
    begun = tuple(name for name in spec.regions if not templates.copy(spec, name, progress))
    if begun:
        rest = replace(spec, regions=begun)
        cells.create_databases(deployment(), rest)
        isolation_of(rest).prepare_cell(progress)
    progress(f"replication of cell {spec.name}", 75)
    cells.connect_replicas(deployment(), spec)


def discard(spec: CellSpec) -> None:
    """Remove a cell without tenants, as far as it was made; rows that a tenant or a spare refers
    to are left to those who remove these."""
    using = control_writer_alias()
    cells.drop_databases(deployment(), spec)
    with transaction.atomic(using=using):
        referring = (model.objects.using(using).filter(cell=spec.name) for model in (Tenant, Spare))
        if not any(rows.exists() for rows in referring):
            forget_cell(spec.name, using=using)
