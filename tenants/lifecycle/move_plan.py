"""Where a tenant moves to. Decides and changes nothing; residency is asked first of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regions import residency as law
from regions.models import Cell
from regions.topology import CellSpec, TenancyMode
from tenants.errors import InvalidRequest, TenantNotActive
from tenants.models import Tenant
from tenants.placement import choose, known_regions, parse_mode, parse_policy, require_lawful
from tenants.seams import find_cell, spec_for


@dataclass(frozen=True, slots=True)
class MovePlan:
    """From where to where, whether the target must be made first, and the policy afterwards."""

    source: CellSpec
    target: CellSpec
    new: bool
    residency: str


def plan_move(
    tenant: Tenant,
    *,
    cell: str | None,
    mode: str | None,
    regions: Sequence[str] | None,
    policy: str | None,
    residency: str | None,
    using: str,
) -> MovePlan:
    """Raises ResidencyDenied, InvalidRequest, UnknownCell, UnknownRegion or TenantNotActive."""
    if (cell is None) == (mode is None):
        raise InvalidRequest("Say where to: either a cell or a mode.")
    if cell is not None and (regions or policy):
        raise InvalidRequest("A cell has its regions and policy: name them only with a mode.")
    text = str(law.parse_policy(residency)) if residency else tenant.residency
    source = spec_for(tenant.cell)
    if cell is not None:
        row = find_cell(cell, using=using)
        target, new = spec_for(row), False
        require_lawful(text, target.regions, law.Operation.MOVE)
        _refuse_unfit(tenant, row, target, using=using)
    else:
        named = known_regions(regions) if regions else None
        if named:
            require_lawful(text, named, law.Operation.MOVE)
        parse_mode(mode or "")
        if policy:
            parse_policy(policy)
        chosen = choose(
            mode=mode or "",
            cell=None,
            residency_text=text,
            # A change of mode is not a change of who may write.
            policy=policy or source.policy.value,
            regions=named,
            using=using,
        )
        target, new = chosen.spec, chosen.new
        require_lawful(text, target.regions, law.Operation.MOVE)
    if tenant.state != Tenant.State.ACTIVE:
        raise TenantNotActive(
            f"Tenant {tenant.slug!r} is {tenant.state}: only an active one can be moved."
        )
    if target.name == source.name:
        raise InvalidRequest(
            f"Tenant {tenant.slug!r} is in cell {source.name!r} already: name another cell."
        )
    if _same_place(source, target) and new:
        raise InvalidRequest(
            f"Tenant {tenant.slug!r} has a cell like this already: {source.name!r}."
        )
    return MovePlan(source, target, new, text)


def _refuse_unfit(tenant: Tenant, row: Cell, target: CellSpec, *, using: str) -> None:
    if target.mode is TenancyMode.CONTROL:
        raise InvalidRequest(f"Cell {row.name!r} holds no tenants.")
    if row.name == tenant.cell_id:
        return
    if row.state != Cell.State.READY or not target.regions:
        raise InvalidRequest(f"Cell {row.name!r} is not ready: it takes no tenants.")
    holders = Tenant.objects.using(using).filter(cell=row).exclude(state=Tenant.State.ERASED)
    if target.mode is TenancyMode.DEDICATED and holders.exists():
        raise InvalidRequest(f"Cell {row.name!r} is dedicated and has its tenant already.")


def _same_place(one: CellSpec, other: CellSpec) -> bool:
    return (one.mode, one.policy, set(one.regions)) == (
        other.mode,
        other.policy,
        set(other.regions),
    )
