"""The whole examination: settings once, then every replica of every cell, then between them.

Reads only, apart from one entry in each cache. What can't be reached is a finding: a check that
did not run has not passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import psycopg
from django.conf import settings as django_settings

from regions import cells
from regions.current import deployment
from regions.deployment import CONTROL_CELL
from regions.models import Cell
from regions.topology import CellSpec, TenancyMode
from tenants.databases import CONTROL_ALIAS
from tenants.doctor import (
    cache,
    catalog,
    context,
    drift,
    leftovers,
    logs,
    pooler,
    role,
    room,
    settings,
    tables,
)
from tenants.doctor.findings import Finding, Report, Severity
from tenants.isolation.modes import isolation_of
from tenants.isolation.owner import owner
from tenants.models import Tenant
from tenants.seams import all_specs, spec_for
from tenants.spares import spare_schemas

Progress = Callable[[str], None]


def examine(*, cell: str | None = None, progress: Progress) -> Report:
    """`cell` limits it to one cell; settings are looked at in any case."""
    report = Report()
    progress("settings and cache of this process")
    report.add(settings.NAME, "", settings.check())
    report.add(cache.NAME, "", cache.check())
    specs = [spec for spec in all_specs() if cell in (None, spec.name)]
    for spec in specs:
        if spec.mode is not TenancyMode.CONTROL:
            _examine_cell(spec, report, progress)
    if cell is None:
        for region in deployment().regions:
            progress(f"leftovers in {region}")
            report.add(leftovers.NAME, region, _leftovers(region, specs))
    return report


def _examine_cell(spec: CellSpec, report: Report, progress: Progress) -> None:
    shapes: dict[str, dict[str, drift.Shape]] = {}
    for region in spec.regions:
        where = f"{spec.name}@{region}"
        progress(where)
        try:
            shapes[region] = _examine_replica(spec, region, where, report)
        except (psycopg.OperationalError, OSError) as error:
            report.add("reach", where, [_unreachable(where, error)])
    for shape in shapes.values():
        report.add(drift.NAME, spec.name, drift.compare(shape, spec.name))
    for schema in {name for shape in shapes.values() for name in shape}:
        replicas = {
            f"{schema} in {region}": shape[schema]
            for region, shape in shapes.items()
            if schema in shape
        }
        report.add(drift.NAME, f"{spec.name}: {schema}", drift.compare(replicas, spec.name))


def _examine_replica(
    spec: CellSpec, region: str, where: str, report: Report
) -> dict[str, drift.Shape]:
    """Each schema's shape there."""
    place = deployment()
    with owner(spec, region) as owning:
        schemas = isolation_of(spec).schemas(owning)
        for schema, tenant in schemas:
            report.add(
                tables.NAME, f"{where}: {schema}", tables.check(owning, where, schema, tenant)
            )
    with cells.administrator(place, region, spec.database) as administrator:
        report.add(role.NAME, where, role.check(administrator, where))
        report.add(catalog.NAME, where, catalog.check(administrator, where))
        report.add(room.NAME, where, room.check(administrator, where))
        shape = drift.read(administrator, [schema for schema, _ in schemas])
    dsn = place.application_dsn(region, spec.database, seen_from=django_settings.MERIDIAN_REGION)
    with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as application:
        report.add(pooler.NAME, where, pooler.check(application, where))
        report.add(logs.NAME, where, logs.check(application, where))
        refused = context.check(
            application,
            where,
            key=place.context_key(spec.name),
            other_key=place.context_key(CONTROL_CELL),
            tenant=_someone(spec),
        )
        report.add(context.NAME, where, refused)
    return shape


def _someone(spec: CellSpec) -> UUID | None:
    tenant = Tenant.objects.filter(cell=spec.name, state=Tenant.State.ACTIVE).first()
    return tenant.id if tenant else None


def _leftovers(region: str, specs: list[CellSpec]) -> Iterator[Finding]:
    registered = Cell.objects.using(CONTROL_ALIAS).prefetch_related("replicas")
    try:
        with cells.administrator(deployment(), region) as administrator:
            kept = {spec_for(cell).database for cell in registered if region in cell.region_names}
            yield from leftovers.databases(administrator, region, kept)
        for spec in specs:
            if spec.mode is TenancyMode.SCHEMA and region in spec.regions:
                tenants = Tenant.objects.exclude(state=Tenant.State.ERASED).filter(cell=spec.name)
                known = {*tenants.values_list("own_schema", flat=True), *spare_schemas(spec.name)}
                with cells.administrator(deployment(), region, spec.database) as administrator:
                    yield from leftovers.schemas(administrator, f"{spec.name}@{region}", known)
    except (psycopg.OperationalError, OSError) as error:
        yield _unreachable(region, error)


def _unreachable(where: str, error: Exception) -> Finding:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return Finding(
        "reach",
        Severity.WARNING,
        f"It can't be examined: {reason}.",
        "Start it, or repair the link, and ask the doctor again.",
        where,
    )
