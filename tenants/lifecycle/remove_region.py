"""Takes a cell's replica out of a region.

Guarantees that the cell's other regions have all that was written there, before it is off the map
and its database goes; a run that fails before leaves everything as it was.
"""

from __future__ import annotations

from django.db import transaction

from regions import membership
from regions.current import deployment
from regions.models import Cell, Replica
from regions.topology import CellSpec
from tenants import audit
from tenants.claim import claim
from tenants.databases import control_writer_alias, leases
from tenants.errors import CellBusy, InvalidRequest
from tenants.isolation.base import Progress
from tenants.seams import find_cell, spec_for


def remove_region(name: str, region: str, *, actor: str, progress: Progress) -> Cell:
    """Raises UnknownCell, UnknownRegion, InvalidRequest, NotSettled, CellBusy; nothing is changed
    then."""
    deployment().region(region)
    using = control_writer_alias()
    busy = CellBusy(f"Cell {name!r} is being made or changed by another process.")
    with claim(f"cell {name}", busy):
        spec = spec_for(find_cell(name, using=using))
        _require_dispensable(spec, region)
        membership.leave(
            deployment(),
            spec,
            region,
            forget=lambda: forget(name, region, verb="remove_region", actor=actor, using=using),
            tell=lambda step: progress(step, 50),
        )
    return find_cell(name, using=using)


def forget(cell: str, region: str, *, verb: str, actor: str, using: str) -> None:
    """Take the replica off the map; `verb` is what the audit says was done."""
    with transaction.atomic(using=using):
        Replica.objects.using(using).filter(cell=cell, region=region).delete()
        audit.record(verb, cell, actor=actor, using=using, region=region)


def _require_dispensable(spec: CellSpec, region: str) -> None:
    if region not in spec.regions:
        raise InvalidRequest(f"Cell {spec.name!r} has no replica in {region}.")
    if region == spec.regions[0]:
        raise InvalidRequest(
            f"{region} is the home of cell {spec.name!r}: its tenants' files are there. Move them"
            " to another cell (`tenant move`)."
        )
    lease = leases().get(spec.name)
    if spec.policy.leased and lease and lease.writer == region:
        raise InvalidRequest(
            f"{region} writes cell {spec.name!r}: first"
            f" `region switchover {spec.name} --to {spec.regions[0]}`."
        )
