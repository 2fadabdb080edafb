"""Envoy's route table: one virtual host for each order of regions, with its hosts. Pure.

A region that must not do a write answers 307 with `x-replay-region`; Envoy then sends the same
request, body included, to that region. The header can't come from outside, and what can't be
replayed becomes a 503 (see `listener`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from infra.envoy.clusters import TYPE, Resource, order_cluster
from infra.envoy.maps import Ordered, RoutingMap

ROUTES = "edge"
# A frozen region holds requests that are on their way until somebody gives up. A read is then
# asked elsewhere, and so is a write with a key, which is carried out once. Any other write may have
# been done: its client gets 504 and decides. A write waits five seconds for its peer (`remote`).
WRITE_SECONDS = 8
KEYED_SECONDS = 20
READ_TRY_SECONDS = 4
READ_SECONDS = 15
BUFFERED_BYTES = 4 * 1024 * 1024
REPLAY_HEADERS = ["x-replay-region", "x-replay-state"]
EDGE_HEADER = "x-meridian-edge"

_NOT_BUFFERED = {
    "envoy.filters.http.buffer": {
        "@type": TYPE + "extensions.filters.http.buffer.v3.BufferPerRoute",
        "disabled": True,
    }
}
_READ = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}
_KEYED = {"name": "idempotency-key", "present_match": True}


def route_table(routing: RoutingMap) -> Resource:
    """The whole RouteConfiguration."""
    tenants = [
        _virtual_host(order_cluster(order), hosts, order) for order, hosts in routing.hosts.items()
    ]
    return {
        "@type": TYPE + "config.route.v3.RouteConfiguration",
        "name": ROUTES,
        # The application sees the host as the client wrote it, port included.
        "ignore_port_in_host_matching": True,
        "internal_only_headers": REPLAY_HEADERS,
        "request_headers_to_add": [
            {
                "header": {"key": EDGE_HEADER, "value": "1"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
        "virtual_hosts": [*tenants, _virtual_host("console", ["*"], routing.console)],
    }


def _virtual_host(name: str, domains: Iterable[str], order: Ordered) -> Resource:
    cluster = order_cluster(order)
    return {
        "name": name,
        "domains": list(domains),
        "routes": [
            _replayed(),
            _unbuffered("websocket", cluster, "upgrade", "websocket"),
            _unbuffered("events", cluster, "accept", "text/event-stream"),
            _ordinary("read", cluster, {"headers": [_READ]}, READ_SECONDS, READ_TRY_SECONDS),
            _ordinary("keyed", cluster, {"headers": [_KEYED]}, KEYED_SECONDS, WRITE_SECONDS),
            _ordinary("write", cluster, {}, WRITE_SECONDS),
        ],
    }


def _replayed() -> Resource:
    """The second pass: a region named another one. It is the last pass, too."""
    named = {
        "name": "x-replay-region",
        "string_match": {"safe_regex": {"regex": "region_[a-z0-9_]+"}},
    }
    return {
        "name": "replayed",
        "match": {"prefix": "/", "headers": [named]},
        "route": {
            "cluster_header": "x-replay-region",
            "timeout": f"{WRITE_SECONDS}s",
            "retry_policy": _retry(None, elsewhere=False),
        },
        "request_body_buffer_limit": BUFFERED_BYTES,
    }


def _unbuffered(name: str, cluster: str, header: str, value: str) -> Resource:
    """Streams have no end to wait for: no buffer, no deadline."""
    route: dict[str, Any] = {"cluster": cluster, "timeout": "0s", "idle_timeout": "3600s"}
    if header == "upgrade":
        route["upgrade_configs"] = [{"upgrade_type": value}]
    match = {"name": header, "string_match": {"contains": value, "ignore_case": True}}
    return {
        "name": name,
        "match": {"prefix": "/", "headers": [match]},
        "route": route,
        "typed_per_filter_config": _NOT_BUFFERED,
    }


def _ordinary(
    name: str, cluster: str, match: Resource, seconds: float, try_seconds: float | None = None
) -> Resource:
    """What may be repeated says how long one try may take."""
    return {
        "name": name,
        "match": {"prefix": "/", **match},
        "route": {
            "cluster": cluster,
            "timeout": f"{seconds}s",
            "retry_policy": _retry(try_seconds, elsewhere=True),
            "internal_redirect_policy": {
                "max_internal_redirects": 1,
                "redirect_response_codes": [307],
                "response_headers_to_copy": REPLAY_HEADERS,
                "allow_cross_scheme_redirect": True,
            },
        },
        "request_body_buffer_limit": BUFFERED_BYTES,
    }


def _retry(try_seconds: float | None, *, elsewhere: bool) -> Resource:
    """Repeat what certainly wasn't applied; what may be repeated also when the region can't serve
    it, or does not answer."""
    conditions = "connect-failure,refused-stream,reset-before-request"
    policy: Resource = {
        "retry_on": conditions,
        "num_retries": 2,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
    }
    if try_seconds is not None:
        policy["retry_on"] = conditions + ",reset,retriable-status-codes"
        policy["retriable_status_codes"] = [503]
        policy["per_try_timeout"] = f"{try_seconds}s"
    if elsewhere:
        policy["retry_priority"] = {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {
                "@type": TYPE
                + "extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                "update_frequency": 1,
            },
        }
    return policy
