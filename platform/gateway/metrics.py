"""Metrics in the Prometheus text format. Labels never name a tenant, a host or a path."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from tenants.backend.pool import process_pool
from tenants.limits.tally import tally_of
from tenants.limits.warned import warnings_of

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


class PoolCollector(Collector):
    """This process' connections to cells, read when somebody asks."""

    def collect(self) -> Iterator[Metric]:
        pool = process_pool()
        used, idle = pool.counts()
        region = settings.MERIDIAN_REGION or "none"
        gauge = GaugeMetricFamily(
            "meridian_pool_connections", "Connections to cells", labels=["region", "state"]
        )
        gauge.add_metric([region, "in_use"], used)
        gauge.add_metric([region, "idle"], idle)
        yield gauge
        for name, text, value in (
            ("waits", "Times that a request waited for a connection", pool.waited),
            ("refusals", "Times that none became free", pool.refused),
            ("recycled", "Connections given up because they knew many schemas", pool.recycled),
        ):
            counter = CounterMetricFamily(f"meridian_pool_{name}", text, labels=["region"])
            counter.add_metric([region], value)
            yield counter


class QuotaCollector(Collector):
    """How many of the region's tenants are near or over a quota."""

    def collect(self) -> Iterator[Metric]:
        region = settings.MERIDIAN_REGION
        gauge = GaugeMetricFamily(
            "meridian_tenants_by_quota", "Tenants near or over a quota", labels=["region", "state"]
        )
        for state, number in warnings_of(region).states().items() if region else ():
            gauge.add_metric([region or "none", state], number)
        yield gauge


REGISTRY.register(PoolCollector())
REGISTRY.register(QuotaCollector())

# Too many requests, and a quota that is used up.
REFUSED_BY_LIMIT = frozenset({429, 507})
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


@cache
def _latency_of(region: str, method: str) -> Histogram:
    return LATENCY.labels(region=region, method=method)


@cache
def _requests_of(region: str, method: str, status: int) -> Counter:
    return REQUESTS.labels(region=region, method=method, status=status)


def count(request: HttpRequest, status: int, seconds: float) -> None:
    """One answered request; a tenant's also for its usage."""
    region = settings.MERIDIAN_REGION or "none"
    method = request.method if request.method in _METHODS else "OTHER"
    _latency_of(region, method or "OTHER").observe(seconds)
    _requests_of(region, method or "OTHER", status).inc()
    tenant = getattr(request, "tenant", None)
    if tenant is not None:
        tally_of(region).count(tenant.id, seconds, refused=status in REFUSED_BY_LIMIT)


def metrics_view(request: HttpRequest) -> HttpResponse:
    """`/metrics`"""
    return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
