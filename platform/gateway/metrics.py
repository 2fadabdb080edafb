"""Metrics in the Prometheus text format. Labels never name a tenant, a host or a path."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter as Counter_
from collections import defaultdict, deque
from collections.abc import Iterator
from itertools import accumulate

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, Counter, disable_created_metrics
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from gateway.fabric import FabricCollector
from tenants.backend.pool import process_pool
from tenants.limits.tally import tally_of
from tenants.limits.warned import warnings_of
from tenants.maps import region_label

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()

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
        region = region_label()
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
REGISTRY.register(FabricCollector())

# Too many requests, and a quota that is used up.
REFUSED_BY_LIMIT = frozenset({429, 507})
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
BOUNDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class RequestCollector(Collector):
    """Requests answered, and how long that took. A request costs one append: the sums are made
    when somebody asks, or when many have come together."""

    FOLD_AT = 10_000

    def __init__(self) -> None:
        self._answered: deque[tuple[str, int, float]] = deque()
        self._folding = threading.Lock()
        self._requests: Counter_[tuple[str, int]] = Counter_()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS) + 1))

    def count(self, method: str, status: int, seconds: float) -> None:
        self._answered.append((method, status, seconds))
        if len(self._answered) > self.FOLD_AT and self._folding.acquire(blocking=False):
            try:
                self._fold()
            finally:
                self._folding.release()

    def collect(self) -> Iterator[Metric]:
        region = region_label()
        with self._folding:
            self._fold()
            requests = CounterMetricFamily(
                "meridian_requests", "Requests answered", labels=["region", "method", "status"]
            )
            for (method, status), number in sorted(self._requests.items()):
                requests.add_metric([region, method, str(status)], number)
            latency = HistogramMetricFamily(
                "meridian_request_seconds", "Time to answer a request", labels=["region", "method"]
            )
            for method, numbers in sorted(self._buckets.items()):
                names = [*(str(float(bound)) for bound in BOUNDS), "+Inf"]
                sums = list(zip(names, accumulate(numbers), strict=True))
                latency.add_metric([region, method], sums, self._seconds[method])
        yield requests
        yield latency

    def _fold(self) -> None:
        while self._answered:
            method, status, seconds = self._answered.popleft()
            if method not in METHODS:
                method = "OTHER"
            self._requests[method, status] += 1
            self._seconds[method] += seconds
            self._buckets[method][bisect_left(BOUNDS, seconds)] += 1


_requests = RequestCollector()
REGISTRY.register(_requests)


def count(request: HttpRequest, status: int, seconds: float) -> None:
    """One answered request; a tenant's also for its usage."""
    _requests.count(request.method or "", status, seconds)
    tenant = getattr(request, "tenant", None)
    if tenant is not None:
        tally_of(region_label()).count(tenant.id, seconds, refused=status in REFUSED_BY_LIMIT)


def metrics_view(request: HttpRequest) -> HttpResponse:
    """`/metrics`"""
    return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
