"""Metrics in the Prometheus text format. Labels never name a tenant, a host or a path."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from tenants.limits.tally import tally_of

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()

REQUESTS = Counter(
    "meridian_requests", "Requests answered", ["region", "method", "status"], registry=REGISTRY
)
LATENCY = Histogram(
    "meridian_request_seconds",
    "Time to answer a request",
    ["region", "method"],
    registry=REGISTRY,
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
HANDOFFS = Counter(
    "meridian_handoffs", "Writes handed to the writer's region", ["region", "to"], registry=REGISTRY
)
FENCED = Counter(
    "meridian_fenced_writes",
    "Writes that the database refused because the region held no lease",
    ["region"],
    registry=REGISTRY,
)
DURABILITY = Counter(
    "meridian_remote_writes",
    "Writes that asked for a peer's confirmation, by outcome",
    ["region", "outcome"],
    registry=REGISTRY,
)

LIMITED = Counter(
    "meridian_limited_requests",
    "Requests and writes that a tenant's limit refused, by limit",
    ["region", "limit"],
    registry=REGISTRY,
)
COUNTED_ALONE = Counter(
    "meridian_limits_counted_alone",
    "Requests of limited tenants that a process judged without the region's store",
    ["region"],
    registry=REGISTRY,
)

# Too many requests, and a quota that is used up.
REFUSED_BY_LIMIT = frozenset({429, 507})
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
GetResponse = Callable[[HttpRequest], HttpResponseBase]


class MetricsMiddleware:
    """Counts and times every request, refused ones included; tenants' also for their usage."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = self._get_response(request)
        seconds = time.perf_counter() - started
        region = settings.MERIDIAN_REGION or "none"
        method = request.method if request.method in _METHODS else "OTHER"
        LATENCY.labels(region=region, method=method).observe(seconds)
        REQUESTS.labels(region=region, method=method, status=response.status_code).inc()
        tenant = getattr(request, "tenant", None)
        if tenant is not None:
            refused = response.status_code in REFUSED_BY_LIMIT
            tally_of(region).count(tenant.id, seconds, refused=refused)
        return response


def metrics_view(request: HttpRequest) -> HttpResponse:
    """`/metrics`"""
    return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
