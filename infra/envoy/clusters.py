"""Envoy's clusters: one for each order of regions, one for each region alone. Pure.

The regions of an order are priorities: traffic goes to the first that passes its health checks,
so a dead region is skipped before anybody has changed the map.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from infra.envoy.maps import Ordered

TYPE = "type.googleapis.com/envoy."
Targets = Mapping[str, tuple[str, int]]
Resource = dict[str, Any]

CONNECT_SECONDS = 0.5
CHECK_SECONDS = 0.8  # a region that takes longer over a health check has failed it


def region_cluster(region: str) -> str:
    """The cluster of one region: what `x-replay-region` names."""
    return "region_" + region.replace("-", "_")


def order_cluster(order: Ordered) -> str:
    """The cluster that tries these regions in this order."""
    return "order:" + ",".join(order)


def clusters(orders: Iterable[Ordered], targets: Targets) -> list[Resource]:
    """All clusters; `targets` is where each region's web is."""
    single = [_cluster(region_cluster(region), (region,), targets) for region in targets]
    return single + [_cluster(order_cluster(order), order, targets) for order in orders]


def _cluster(name: str, order: Ordered, targets: Targets) -> Resource:
    return {
        "@type": TYPE + "config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": f"{CONNECT_SECONDS}s",
        "lb_policy": "ROUND_ROBIN",
        # With the default threshold Envoy would go on sending to a region that is down.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "health_checks": [_health_check()],
        "circuit_breakers": {
            "thresholds": [
                {"max_connections": 512, "max_pending_requests": 512, "max_requests": 1024}
            ]
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {
                    "priority": priority,
                    "locality": {"region": region},
                    "lb_endpoints": [{"endpoint": {"address": address(*targets[region])}}],
                }
                for priority, region in enumerate(order)
            ],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": TYPE + "extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {}},
                # Shorter than the web server's own, so that it never closes one in our hands.
                "common_http_protocol_options": {"idle_timeout": "20s"},
            }
        },
    }


def _health_check() -> Resource:
    return {
        "timeout": f"{CHECK_SECONDS}s",
        "interval": "0.5s",
        "no_traffic_interval": "0.5s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "http_health_check": {"path": "/healthz/ready", "host": "localhost"},
    }


def address(host: str, port: int) -> Resource:
    return {"socket_address": {"address": host, "port_value": port}}
