"""Requests of tenants with limits: let in, or 429 with what the limit is and when to come back.

Guarantees that the answer to a flood costs one exchange with the region's store and no database,
that the slot of a request is freed when its last byte is out, and that every answer says how much
is left: `RateLimit-Policy` and `RateLimit` as in draft-ietf-httpapi-ratelimit-headers-10, and
`X-Quota` from 80 % of a quota on.
"""

from __future__ import annotations

import math
from functools import cache

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from gateway.metrics import COUNTED_ALONE, LIMITED
from gateway.problems import problem
from gateway.serving import GetResponse, GetResponseAsync
from tenants.directory import TenantRecord
from tenants.limits.admission import Gate, Outcome, Verdict
from tenants.limits.store import store_of
from tenants.limits.values import Limits
from tenants.limits.warned import warnings_of
from tenants.maps import here


def admitted(
    request: HttpRequest, tenant: TenantRecord, get_response: GetResponse
) -> HttpResponseBase:
    """The view's answer, or the refusal."""
    if not tenant.limits.admission:
        return _warned(get_response(request), tenant)
    gate = gate_of(here())
    verdict = gate.enter(tenant)
    if refusal := _refused(tenant, verdict):
        return refusal
    try:
        response = get_response(request)
    except BaseException:
        gate.leave(verdict)
        raise
    if not _leaves_later(response, gate, verdict):
        gate.leave(verdict)
    return _with_headers(_warned(response, tenant), tenant.limits, verdict)


async def admitted_async(
    request: HttpRequest, tenant: TenantRecord, get_response: GetResponseAsync
) -> HttpResponseBase:
    """The same for an event loop, which does not wait for the region's store."""
    if not tenant.limits.admission:
        return _warned(await get_response(request), tenant)
    gate = gate_of(here())
    enter = sync_to_async(gate.enter, thread_sensitive=False)
    leave = sync_to_async(gate.leave, thread_sensitive=False)
    verdict = await enter(tenant)
    if refusal := _refused(tenant, verdict):
        return refusal
    try:
        response = await get_response(request)
    except BaseException:
        await leave(verdict)
        raise
    if not _leaves_later(response, gate, verdict):
        await leave(verdict)
    return _with_headers(_warned(response, tenant), tenant.limits, verdict)


def _refused(tenant: TenantRecord, verdict: Verdict) -> HttpResponseBase | None:
    if not verdict.shared:
        COUNTED_ALONE.labels(region=here()).inc()
    if verdict.outcome is Outcome.ADMITTED:
        return None
    return _with_headers(_refusal(tenant, verdict, here()), tenant.limits, verdict)


def _leaves_later(response: HttpResponseBase, gate: Gate, verdict: Verdict) -> bool:
    """Whether the request goes on as a stream: its slot is freed when that ends."""
    if response.streaming:
        # Django calls these when the server has sent the body, or has given it up.
        response._resource_closers.append(  # type: ignore[attr-defined]
            lambda: gate.leave(verdict)
        )
    return response.streaming


@cache
def gate_of(region: str) -> Gate:
    return Gate(store_of(region))


def _refusal(tenant: TenantRecord, verdict: Verdict, region: str) -> HttpResponse:
    limits = tenant.limits
    if verdict.outcome is Outcome.TOO_OFTEN:
        limit = "requests_per_minute"
        kind, retry_after = "too-many-requests", max(1, math.ceil(verdict.wait))
        detail = (
            f"{limits.requests_per_minute} requests a minute, {limits.burst_size} of them at once, "
            f"are allowed in each region. Try again in {retry_after} s."
        )
    else:
        limit = "concurrent_requests"
        kind, retry_after = "too-many-at-once", 1
        detail = (
            f"{limits.concurrent_requests} requests at the same time are allowed in each region. "
            "Wait for those under way, then try again."
        )
    LIMITED.labels(region=region, limit=limit).inc()
    return problem(
        kind,
        429,
        detail,
        retry_after=retry_after,
        limit=limit,
        allowed=getattr(limits, limit),
        plan=tenant.plan,
        region=region,
    )


def _warned(response: HttpResponseBase, tenant: TenantRecord) -> HttpResponseBase:
    if tenant.limits.quota and (text := warnings_of(here()).of(tenant.id)):
        response["X-Quota"] = text
    return response


def _with_headers(response: HttpResponseBase, limits: Limits, verdict: Verdict) -> HttpResponseBase:
    if limits.requests_per_minute:
        burst = limits.burst_size
        window = math.ceil(burst * 60 / limits.requests_per_minute)
        response["RateLimit-Policy"] = f'"requests";q={burst};w={window}'
        response["RateLimit"] = f'"requests";r={verdict.left};t={math.ceil(verdict.full)}'
    return response
