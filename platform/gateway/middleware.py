"""Host → tenant → cell → may this region serve it? Decided from memory, before the body is read.

Guarantees that a view runs with its tenant in context, in a region that holds the tenant's
data, and (for a write) in the region that may write.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.http.request import split_domain_port

from gateway import handoff
from gateway.admission import admitted
from gateway.problems import problem
from gateway.transactions import SAFE_METHODS
from regions.current import deployment
from regions.deployment import CONTROL_CELL
from regions.residency import Destination, Operation, parse_policy
from regions.residency import decide as decide_residency
from regions.topology import CellSpec
from regions.writers import Action, decide
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.limits.values import UNLIMITED
from tenants.maps import RegionMap, here, region_map

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class RegionMiddleware:
    """Every response names the region that answered."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        response["X-Region"] = here()
        return response


class TenantMiddleware:
    """Finds the tenant of the host, refuses what must not be served here, enters its scope."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        known, region = region_map(), here()
        host = host_of(request)
        tenant = known.directory().by_host.get(host)
        if tenant is None and host not in settings.MERIDIAN_CONSOLE_HOSTS:
            return problem("unknown-host", 404, "Check the host name, or onboard the tenant.")
        refusal = (tenant and inactive(tenant)) or refused(request, tenant, known, region)
        if refusal:
            return refusal
        if tenant is not None:
            request.urlconf = settings.MERIDIAN_TENANT_URLCONF
        request.tenant = tenant  # type: ignore[attr-defined]
        with tenant_scope(tenant):
            if tenant is None or tenant.limits is UNLIMITED:
                return self._get_response(request)
            return admitted(request, tenant, self._get_response)


def host_of(request: HttpRequest) -> str:
    """The host without its port, in lower case."""
    return split_domain_port(request.get_host())[0].rstrip(".")


def inactive(tenant: TenantRecord) -> HttpResponse | None:
    """The answer for a tenant that is not in use."""
    match tenant.state:
        case "active":
            return None
        case "suspended":
            return problem("tenant-suspended", 403, "Ask the operator to resume it.")
        case "moving":
            detail = "It is back in a moment. Nothing was changed: try again."
            return problem("tenant-moving", 503, detail, retry_after=1)
        case "erased":
            return problem("tenant-erased", 410, "Its data no longer exists.")
        case _:
            return problem("tenant-not-ready", 503, "It is being set up.", retry_after=5)


def refused(
    request: HttpRequest, tenant: TenantRecord | None, known: RegionMap, region: str
) -> HttpResponse | None:
    """The answer when this region must not serve the request; None when it may."""
    name = tenant.cell if tenant else CONTROL_CELL
    cell = known.topology().cells.get(name)
    writes = request.method not in SAFE_METHODS
    if cell is None:
        if tenant is None and not writes:
            return None
        return problem("map-not-loaded", 503, f"Cell {name} is not known yet.", retry_after=1)
    if tenant is not None and region not in cell.regions:
        return not_served_here(tenant, cell, region)
    if not writes:
        return None
    decision = decide(cell, known.lease(name), region)
    return (
        None
        if decision.action is Action.ALLOW
        else handoff.answer(request, decision, region=region)
    )


def not_served_here(tenant: TenantRecord, cell: CellSpec, region: str) -> HttpResponse:
    """421, with the residency rule when the law or the contract is the reason."""
    site = deployment().region(region)
    verdict = decide_residency(
        parse_policy(tenant.residency),
        Operation.ROUTE,
        Destination(region=site.name, country=site.country, jurisdiction=site.jurisdiction),
        at=datetime.now(UTC),
    )
    return problem(
        "not-served-here",
        421,
        f"{verdict.reason} The cell's regions: {', '.join(cell.regions)}.",
        region=region,
        regions=list(cell.regions),
        rules=list(verdict.rules),
    )
