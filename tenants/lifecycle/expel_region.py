"""Takes a region that is lost for good out of a cell.

Guarantees that a region which is there, or was heard of a moment ago, is left alone, and that a run
which broke off is gone on with when it is repeated.
"""

from __future__ import annotations

from typing import Any

from regions import expulsion
from regions.current import deployment
from regions.topology import CellSpec
from tenants.claim import claim
from tenants.databases import control_writer_alias, leases
from tenants.errors import CellBusy, InvalidRequest
from tenants.isolation.base import Progress
from tenants.lifecycle.remove_region import forget
from tenants.seams import find_cell, spec_for


def foresee_expulsion(name: str, region: str) -> dict[str, Any]:
    """What would be lost. Raises what `expel_region` raises; nothing is changed."""
    deployment().region(region)
    spec = spec_for(find_cell(name))
    if (earlier := _earlier(spec, region)) is not None:
        return _document(spec, region, earlier)
    _require_others(spec, region)
    return _document(spec, region, expulsion.foresee(deployment(), spec, region))


def expel_region(name: str, region: str, *, actor: str, progress: Progress) -> dict[str, Any]:
    """Raises UnknownCell, UnknownRegion, InvalidRequest, NotLost, NotSettled, ReplicaDown,
    CellBusy."""
    deployment().region(region)
    using = control_writer_alias()
    busy = CellBusy(f"Cell {name!r} is being made or changed by another process.")
    with claim(f"cell {name}", busy):
        spec = spec_for(find_cell(name, using=using))
        if (earlier := _earlier(spec, region)) is not None:
            expulsion.level(deployment(), spec)
            return _document(spec, region, earlier)
        _require_others(spec, region)
        tail = expulsion.expel(
            deployment(),
            spec,
            region,
            by=actor,
            forget=lambda: forget(name, region, verb="expel_region", actor=actor, using=using),
            tell=lambda step: progress(step, 50),
        )
    return _document(spec, region, tail)


def _earlier(spec: CellSpec, region: str) -> expulsion.Tail | None:
    """What an earlier run has lost; None: there was none."""
    if region in spec.regions:
        return None
    earlier = expulsion.expelled(deployment(), spec, region)
    if earlier is None:
        raise InvalidRequest(f"Cell {spec.name!r} has no replica in {region}.")
    return earlier


def _require_others(spec: CellSpec, region: str) -> None:
    if spec.regions == (region,):
        raise InvalidRequest(
            f"{region} is the only region of cell {spec.name!r}: nothing would be left of it."
            " Bring it back from a backup, or erase its tenants."
        )
    lease = leases().get(spec.name)
    if spec.policy.leased and lease and lease.writer == region:
        raise InvalidRequest(
            f"{region} holds the lease of cell {spec.name!r}, as the others see it: wait until"
            " another region has it."
        )


def _document(spec: CellSpec, region: str, tail: expulsion.Tail) -> dict[str, Any]:
    left = [name for name in spec.regions if name != region]
    return {
        "cell": spec.name,
        "lost": region,
        "regions": left,
        "home": left[0],
        "home_was_lost": region == spec.regions[0],
        "heard_until": {
            name: None if at is None else at.isoformat() for name, at in tail.heard_until.items()
        },
        "loss": tail.sentence(),
    }
