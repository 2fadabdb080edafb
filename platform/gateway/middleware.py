"""Host → tenant → cell → may this region serve it? Decided from memory, before the body is read.

Guarantees that a view (and what streams its response) runs with its tenant in context, in a region
that holds the tenant's data, and (for a write) in the region that may write. Works under WSGI and
ASGI alike.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.http.request import split_domain_port
from django.utils.decorators import sync_and_async_middleware

from gateway import handoff
from gateway.admission import admitted, admitted_async
from gateway.consistency import META, consistently, consistently_async, with_age
from gateway.durability import durably, durably_async
from gateway.problems import problem
from gateway.serving import GetResponse, GetResponseAsync
from gateway.streams import in_scope
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
from tenants.work import Label, label, working_on


@sync_and_async_middleware
def tenant_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Finds the tenant of the host, refuses what must not be served here, enters its scope."""
    if iscoroutinefunction(get_response):
        return _asynchronous(get_response)
    return _synchronous(get_response)


def _synchronous(get_response: GetResponse) -> GetResponse:
    def middleware(request: HttpRequest) -> HttpResponseBase:
        tenant, refusal = resolve(request)
        if refusal is not None:
            return refusal
        if tenant is None:
            return get_response(request)
        serve = get_response if request.method in SAFE_METHODS else durably(get_response)
        if META in request.META:
            serve = consistently(serve)
        with tenant_scope(tenant), working_on(_route_of(request)):
            if tenant.limits is UNLIMITED:
                response = serve(request)
            else:
                response = admitted(request, tenant, serve)
            return in_scope(tenant, with_age(response, tenant.cell))

    return middleware


def _asynchronous(get_response: GetResponseAsync) -> GetResponseAsync:
    async def middleware(request: HttpRequest) -> HttpResponseBase:
        tenant, refusal = resolve(request)
        if refusal is not None:
            return refusal
        if tenant is None:
            return await get_response(request)
        serve = get_response if request.method in SAFE_METHODS else durably_async(get_response)
        if META in request.META:
            serve = consistently_async(serve)
        with tenant_scope(tenant), working_on(_route_of(request)):
            if tenant.limits is UNLIMITED:
                response = await serve(request)
            else:
                response = await admitted_async(request, tenant, serve)
            return in_scope(tenant, with_age(response, tenant.cell))

    return middleware


def _route_of(request: HttpRequest) -> Label:
    """The pattern that its path has matched, once that is known; never the path."""

    def route() -> bytes:
        match = request.resolver_match
        return b"" if match is None else label("route", match.route)

    return route


def resolve(request: HttpRequest) -> tuple[TenantRecord | None, HttpResponse | None]:
    """Whose request it is (None: the console's), and why it is not served here."""
    known = region_map()
    host = host_of(request)
    tenant = known.tenant_of(host)
    request.tenant = tenant  # type: ignore[attr-defined]
    if tenant is None and host not in settings.MERIDIAN_CONSOLE_HOSTS:
        unknown = problem("unknown-host", 404, "Check the host name, or onboard the tenant.")
        return None, unknown
    if tenant is not None:
        if tenant.state != "active":
            return tenant, inactive(tenant)
        request.urlconf = settings.MERIDIAN_TENANT_URLCONF
    return tenant, refused(request, tenant, known, here())


def host_of(request: HttpRequest) -> str:
    """The host without its port, in lower case. Raises DisallowedHost for what is none."""
    return (
        _plain_host(request.META.get("HTTP_HOST", "")) or split_domain_port(request.get_host())[0]
    )


@lru_cache(maxsize=20_000)
def _plain_host(header: str) -> str:
    """ "" for what Django has to judge."""
    return split_domain_port(header)[0].rstrip(".")


def inactive(tenant: TenantRecord) -> HttpResponse:
    """The answer for a tenant that is not in use."""
    match tenant.state:
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
    cell = known.cell(name)
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
