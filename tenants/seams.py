"""Where the rest of the platform asks about tenants and cells: one function a question.

A region's process answers from its map folder, without a query; an operator's command, which
belongs to no region, reads the control database.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import UUID

from django.conf import settings

from regions.errors import UnknownCell
from regions.models import Cell
from regions.topology import CellSpec, TenancyMode, Topology, WritePolicy
from tenants.databases import CONTROL_ALIAS, control_writer_alias
from tenants.directory import Directory, DirectoryFile, TenantRecord, directory_of
from tenants.errors import UnknownTenant
from tenants.limits.values import resolve
from tenants.maps import region_map
from tenants.models import Tenant

# Each statement of an operator's command asks where its cell is: not a query each time.
REGISTRY_SECONDS = 1.0
_specs: dict[str, tuple[float, CellSpec]] = {}


def record_for(tenant: Tenant, hosts: Sequence[str] | None = None) -> TenantRecord:
    """The row as the request path knows it. `hosts`, the primary one first, if they are known."""
    if hosts is None:
        domains = sorted(tenant.domains.all(), key=lambda domain: not domain.primary)
        hosts = [domain.host for domain in domains]
    return TenantRecord(
        id=tenant.id,
        slug=tenant.slug,
        cell=tenant.cell_id,
        mode=tenant.mode,
        schema=tenant.schema,
        state=tenant.state,
        residency=tenant.residency,
        token_generation=tenant.token_generation,
        hosts=tuple(hosts),
        plan=tenant.plan.name,
        limits=resolve(tenant.plan.limits, tenant.limits),
    )


def unborn(id_: UUID, slug: str, own_schema: str, spec: CellSpec) -> TenantRecord:
    """Whoever will live in a place that is being made, or unmade, as isolation knows him."""
    return TenantRecord(
        id=id_,
        slug=slug,
        cell=spec.name,
        mode=spec.mode.value,
        schema=own_schema if spec.mode is TenancyMode.SCHEMA else "public",
        state="unborn",
        residency="",
        token_generation=0,
        hosts=(),
    )


def spec_for(cell: Cell) -> CellSpec:
    """The row as the fabric knows it."""
    return CellSpec(
        name=cell.name,
        mode=TenancyMode(cell.mode),
        policy=WritePolicy(cell.policy),
        regions=tuple(cell.region_names),
        timetable=cell.timetable,
    )


def cell_spec(name: str) -> CellSpec:
    """The cell as this process knows it. Raises UnknownCell."""
    if settings.MERIDIAN_REGION is not None:
        try:
            return local_topology().cell(name)
        except UnknownCell:
            # It may be seconds old: the map follows the registry.
            pass
    known = _specs.get(name)
    if known is None or time.monotonic() - known[0] > REGISTRY_SECONDS:
        known = _specs[name] = (time.monotonic(), spec_for(find_cell(name, using=_registry())))
    return known[1]


def _registry() -> str:
    """The alias where the registry is read: a region's process asks its own copy. An operator's
    command may outlast the region where it began."""
    return control_writer_alias() if settings.MERIDIAN_REGION is None else CONTROL_ALIAS


def all_specs() -> list[CellSpec]:
    """Every cell that the registry calls ready."""
    cells = Cell.objects.using(_registry()).prefetch_related("replicas")
    return [spec_for(cell) for cell in cells.filter(state=Cell.State.READY)]


def find_cell(name: str, *, using: str = CONTROL_ALIAS) -> Cell:
    """The cell's row. Raises UnknownCell, naming those that are there."""
    cells = Cell.objects.using(using).prefetch_related("replicas")
    cell = cells.filter(name=name).first()
    if cell is None:
        raise unknown_cell(name, using=using)
    return cell


def unknown_cell(name: str, *, using: str) -> UnknownCell:
    """The error that names the cells that are there."""
    known = ", ".join(Cell.objects.using(using).values_list("name", flat=True)) or "none"
    return UnknownCell(f"No cell is called {name!r}. Cells: {known}.")


class ControlDirectory:
    """The directory as the control database has it now, for commands that run in no region."""

    def current(self) -> Directory:
        tenants = Tenant.objects.using(_registry()).select_related("cell", "plan")
        tenants = tenants.prefetch_related("domains")
        present = tenants.exclude(state=Tenant.State.ERASED)
        return directory_of([record_for(tenant) for tenant in present])


def local_topology() -> Topology:
    """The cells as this process' region knows them."""
    return region_map().topology()


def local_directory() -> DirectoryFile | ControlDirectory:
    """The tenants as this process' region knows them; `current()` is the newest good copy."""
    if settings.MERIDIAN_REGION is None:
        return ControlDirectory()
    return region_map().directories


def find_tenant(slug: str, *, using: str = CONTROL_ALIAS) -> Tenant:
    """The tenant's row. Raises UnknownTenant, naming those that are there."""
    tenants = Tenant.objects.using(using).select_related("cell", "plan").prefetch_related("domains")
    tenant = tenants.filter(slug=slug).first()
    if tenant is None:
        known = ", ".join(tenants.values_list("slug", flat=True)[:20]) or "none"
        raise UnknownTenant(f"No tenant is called {slug!r}. Tenants: {known}.")
    return tenant
