"""Who stands where: the cells as they are now, and what is to be done in each.

Guarantees that Django's graph is loaded once, that each starting point is planned once, and that
a replica which somebody migrated by hand is reported and not built upon.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from uuid import UUID

from regions.topology import CellSpec, TenancyMode
from tenants.directory import TenantRecord
from tenants.isolation.recording import Script
from tenants.models import Domain, Tenant
from tenants.rollout.graph import Graph, Progress
from tenants.rollout.lint import concerns_of
from tenants.rollout.looks import Found, begin_look
from tenants.rollout.standing import Standing
from tenants.rollout.steps import Kind, Part
from tenants.rollout.units import Route, Unit, Work, key_of
from tenants.seams import record_for

NOT_THERE = (Tenant.State.ERASED, Tenant.State.PROVISIONING, Tenant.State.FAILED)


@dataclass(frozen=True, slots=True)
class Survey:
    """`works` are those units that have something to be done; `total` counts all."""

    total: int
    works: tuple[Work, ...]
    unknown: Mapping[str, int] = field(default_factory=dict)


def tenants_of(cells: Collection[str], *, using: str) -> dict[str, list[TenantRecord]]:
    """By cell; those that have tables there."""
    found: dict[str, list[TenantRecord]] = {name: [] for name in cells}
    rows = Tenant.objects.using(using).prefetch_related("cell", "plan").filter(cell__in=list(cells))
    # A thousand objects a table cost more than everything else of a run that finds nothing.
    hosts: dict[UUID, list[str]] = {}
    domains = Domain.objects.using(using).filter(tenant__cell__in=list(cells))
    for key, host in domains.order_by("-primary").values_list("tenant_id", "host"):
        hosts.setdefault(key, []).append(host)
    for tenant in rows.exclude(state__in=NOT_THERE):
        found[tenant.cell_id].append(record_for(tenant, hosts.get(tenant.id, ())))
    return found


def keys_of(specs: Collection[CellSpec], *, using: str) -> set[str]:
    """Of the units that there are now."""
    rows = Tenant.objects.using(using).filter(cell__in=[spec.name for spec in specs])
    there = rows.exclude(state__in=NOT_THERE).values_list("cell_id", "id")
    shared = {spec.name for spec in specs if spec.mode is TenancyMode.SHARED}
    return {key_of(cell, None) for cell in shared} | {
        key_of(cell, tenant) for cell, tenant in there if cell not in shared
    }


def units_of(spec: CellSpec, tenants: Iterable[TenantRecord]) -> list[Unit]:
    if spec.mode is TenancyMode.SHARED:
        return [Unit(spec, None, tuple(tenants))]
    return [Unit(spec, tenant) for tenant in tenants]


def survey(
    graph: Graph,
    units: list[Unit],
    *,
    absent: Collection[str] = (),
    forgiven: Collection[str] = (),
    workers: int = 4,
) -> Survey:
    """`absent` regions are left out. Of `forgiven` units (by key) it is known why their replicas
    differ. Raises ReplicaDown, naming the region, when a replica doesn't answer."""
    by_cell: dict[str, list[Unit]] = {}
    for unit in units:
        by_cell.setdefault(unit.spec.name, []).append(unit)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        looks = {
            (name, region): begin_look(
                pool, of_cell[0].spec, region, [each.schema for each in of_cell]
            )
            for name, of_cell in by_cell.items()
            for region in of_cell[0].spec.regions
            if region not in absent
        }
        found = {place: look() for place, look in looks.items()}
    planner = _Planner(graph, max((len(unit.spec.regions) for unit in units), default=1))
    works = []
    unknown: Counter[str] = Counter()
    for unit in units:
        here = {
            region: found[unit.spec.name, region]
            for region in unit.spec.regions
            if region not in absent
        }
        work = planner.plan(unit, here, forgiven=unit.key in forgiven)
        if work.needed:
            works.append(work)
        for standing in work.standings.values():
            unknown.update(graph.unknown(standing.progress))
            break
    return Survey(len(units), tuple(works), unknown)


def presume(graph: Graph, unit: Unit, region: str, progress: Mapping[str, Progress]) -> Work:
    """What is to be done if nobody changed anything by hand, and all replicas are like this one."""
    planner = _Planner(graph, len(unit.spec.regions))
    return planner.plan(unit, {region: Found(progress)}, forgiven=True)


class _Planner:
    """Each starting point once."""

    def __init__(self, graph: Graph, regions: int) -> None:
        self._graph = graph
        self._regions = regions
        self._newest = graph.newest()
        self._routes: dict[object, Route] = {}

    def plan(self, unit: Unit, here: Mapping[str, Found], *, forgiven: bool) -> Work:
        standings = {
            region: found.standing(unit.schema)
            for region, found in here.items()
            if unit.schema in found.progress
        }
        absent = tuple(region for region in unit.spec.regions if region not in here)
        nowhere = Route((unit.spec.mode, frozenset(), "", ""), (), ())
        if missing := [region for region in here if region not in standings]:
            said = f"it has no tables in {', '.join(missing)}"
            return Work(unit, nowhere, standings, absent=absent, trouble=said)
        points = {region: standing.progress for region, standing in standings.items()}
        furthest = max(set(points.values()), key=_length)
        trouble = self._trouble(unit, points, furthest, forgiven=forgiven)
        if not (trouble or forgiven or self._is_current(standings)):
            trouble = _unequal(unit, here, standings)
        if trouble:
            return Work(unit, nowhere, standings, absent=absent, trouble=trouble)
        behind = {
            region: self._route(unit, point, here[region].digests.get(unit.schema, ""), furthest)
            for region, point in points.items()
            if point != furthest
        }
        leading = next(region for region, point in points.items() if point == furthest)
        # Who was behind comes from somewhere else, and is rendered alone from the common way on.
        key = f"after {sorted(behind)} of {unit.key}" if behind else ""
        key = key or here[leading].digests.get(unit.schema, "")
        unlike = any(standing.unlike for standing in standings.values())
        route = self._route(unit, furthest, key, None, mend=unlike)
        return Work(unit, route, standings, behind, absent)

    def _route(
        self,
        unit: Unit,
        start: Progress,
        digest: str,
        until: Progress | None,
        *,
        mend: bool = False,
    ) -> Route:
        # What is rendered for a schema whose name says something is for nobody else.
        only = "" if Script("", unit.schema, None).portable else unit.key
        key = (unit.spec.mode, start, digest, only)
        known = (key, until, mend)
        if known not in self._routes:
            parts = self._graph.parts(start, until)
            if mend and not parts:
                parts = [Part(0, Kind.STRUCTURE)]
            concerns = concerns_of(parts, regions=self._regions)
            self._routes[known] = Route(key, tuple(parts), tuple(concerns))
        return self._routes[known]

    def _is_current(self, standings: Mapping[str, Standing]) -> bool:
        return all(self._newest <= each.progress and not each.unlike for each in standings.values())

    def _trouble(
        self, unit: Unit, points: Mapping[str, Progress], furthest: Progress, *, forgiven: bool
    ) -> str | None:
        if odd := self._graph.out_of_order(furthest):
            return f"somebody applied {odd[0]}"
        for region, point in points.items():
            if point != furthest and not _covers(furthest, point):
                return f"its replicas went different ways: {_names(point - furthest)} in {region}"
        if len(set(points.values())) > 1 and not forgiven:
            ahead = [region for region, point in points.items() if point == furthest]
            least = min(points.values(), key=_length)
            return (
                f"{_names(furthest - least)} is in {', '.join(ahead)} only, and no run of "
                "`cell migrate` left it so: somebody migrated by hand (--level brings the others "
                "to it)"
            )
        return None


def _unequal(
    unit: Unit, here: Mapping[str, Found], standings: Mapping[str, Standing]
) -> str | None:
    """What stands at the same point in all replicas must be the same."""
    digests = {region: found.digests.get(unit.schema, "") for region, found in here.items()}
    if len(set(digests.values())) < 2:
        return None
    tables = sorted({name for each in standings.values() for name in each.unlike})
    which = f" ({', '.join(tables)})" if tables else ""
    return (
        f"its tables in {' and '.join(digests)} differ{which}, and no run of `cell migrate` left "
        "them so: somebody changed them by hand. Make them alike, or say --level to take them as "
        "they are"
    )


def _length(point: Progress) -> tuple[int, int]:
    return len([done for done in point if "#" not in done[1]]), len(point)


def _covers(furthest: Progress, point: Progress) -> bool:
    """A mark of a part gives way to the whole migration."""
    whole = {(app, name.partition("#")[0]) for app, name in furthest}
    return all((app, name.partition("#")[0]) in whole for app, name in point)


def _names(point: Progress) -> str:
    return ", ".join(f"{app}.{name}" for app, name in sorted(point))
