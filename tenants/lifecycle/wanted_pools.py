"""Which pools of spares there shall be: from the settings, and from what customers have already.

MERIDIAN_SPARES says how many: `schema` in each schema cell, `dedicated` wherever customers have
cells of their own, `schema:CELL` and `dedicated:RESIDENCY:POLICY` where it is to be another number.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from django.conf import settings

from regions.errors import ResidencyDenied
from regions.models import Cell
from regions.topology import TenancyMode, WritePolicy
from tenants.models import Tenant
from tenants.placement import lawful_regions, parse_policy, require_lawful
from tenants.pools import Pool, schema_pool
from tenants.seams import spec_for

log = logging.getLogger("tenants.pools")


def wanted_pools(*, using: str) -> list[Pool]:
    """Each pool that is kept, also if no spare is wanted in it. A place where the law lets no
    tenant be has none."""
    sizes: Mapping[str, int] = settings.MERIDIAN_SPARES
    return [*_schema_pools(sizes, using), *_dedicated_pools(sizes, using)]


def _schema_pools(sizes: Mapping[str, int], using: str) -> list[Pool]:
    cells = Cell.objects.using(using).prefetch_related("replicas")
    specs = map(spec_for, cells.filter(mode=Cell.Mode.SCHEMA, state=Cell.State.READY))
    return [
        Pool(
            spec.mode,
            spec.name,
            spec.regions,
            spec.policy,
            sizes.get(schema_pool(spec.name), sizes.get(TenancyMode.SCHEMA, 0)),
        )
        for spec in specs
    ]


def _dedicated_pools(sizes: Mapping[str, int], using: str) -> list[Pool]:
    wanted: dict[tuple[tuple[str, ...], WritePolicy], int] = {}
    for name, size in sizes.items():
        mode, _, place = name.partition(":")
        if mode == TenancyMode.DEDICATED and place:
            residency, _, policy = place.rpartition(":")
            try:
                wanted[lawful_regions(residency), parse_policy(policy)] = size
            except ResidencyDenied as denied:
                log.warning("No pool for %s: %s", name, denied)
    for regions, policy, residency in _places_in_use(using):
        try:
            require_lawful(residency, regions)
        except ResidencyDenied:
            continue
        wanted.setdefault((regions, policy), sizes.get(TenancyMode.DEDICATED, 0))
    return [
        Pool(TenancyMode.DEDICATED, None, regions, policy, size)
        for (regions, policy), size in wanted.items()
    ]


def _places_in_use(using: str) -> set[tuple[tuple[str, ...], WritePolicy, str]]:
    tenants = Tenant.objects.using(using).filter(cell__mode=Cell.Mode.DEDICATED)
    rows = tenants.exclude(state=Tenant.State.ERASED).select_related("cell")
    specs = [
        (spec_for(tenant.cell), tenant.residency)
        for tenant in rows.prefetch_related("cell__replicas")
    ]
    return {(spec.regions, spec.policy, residency) for spec, residency in specs if spec.regions}
