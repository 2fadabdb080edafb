"""Throughput of the whole request path beside plain Django and django-tenants.

The same app, view, granian, thread count, CONN_MAX_AGE or pool, driver and PostgreSQL. Meridian
runs its real settings and its real gateway (metrics, health, hosts, leases, durability and the
write transaction included); the peers run what `startproject` gives them. All servers are up at
once and loaded in turn, so that what disturbs the machine disturbs both sides of a pair.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

from bench import load
from bench.frame import Bench
from bench.server import Server, serve
from tenants.directory import TenantRecord

NUMBERS = {"shared": 1000, "schema": 1000, "dedicated": 50}
KEYS = (
    *(f"tenancy.list_rps_vs_plain.{mode}" for mode in NUMBERS),
    *(f"tenancy.list_rps_vs_django_tenants.{mode}" for mode in NUMBERS),
    "tenancy.ping_rps_vs_plain",
    "tenancy.ping_rps_vs_django_tenants",
)
TARGETS = {
    "tenancy.ping_rps_vs_plain": 0.9,
    **{f"tenancy.list_rps_vs_plain.{mode}": 0.92 for mode in NUMBERS},
}
STACK = (
    "granian 1 worker, 4 threads, 8 keep-alive connections; Meridian with its whole gateway, the "
    "peers with startproject's middleware; pairs in turn"
)
SECONDS = 1.5
PAIRS = 15


def run(bench: Bench) -> None:
    modes = [mode for mode in NUMBERS if any(bench.wants(f"{key}.{mode}") for key in _LISTS)]
    pings = [key for key in KEYS if "ping" in key and bench.wants(key)]
    tenants = {
        mode: bench.region.tenants(mode, 8 if bench.quick else NUMBERS[mode])
        for mode in modes or ["shared"]
    }
    for records in tenants.values():
        fill(bench, records)
    slugs = [f"t{number:04}" for number in range(8 if bench.quick else 1000)]
    theirs = [f"{slug}.localhost" for slug in slugs]
    with ExitStack() as stack:
        peers = {}
        for name, settings, of in (
            ("plain", "peer_plain", []),
            # Its thousand schemas take two minutes.
            ("django_tenants", "peer_tenants", slugs),
        ):
            if any(bench.wants(key) for key in KEYS if f"_vs_{name}" in key):
                bench.peers.prepare(settings, *of)
                peers[name] = stack.enter_context(_peer(bench, settings, theirs[0]))
        for mode in modes:
            hosts = [record.hosts[0] for record in tenants[mode]]
            with _meridian(bench, hosts[0]) as ours:
                for name, peer in peers.items():
                    key = f"tenancy.list_rps_vs_{name}.{mode}"
                    _compare(bench, key, "/list/", (ours, hosts), (peer, theirs), TARGETS.get(key))
        if pings:
            hosts = [record.hosts[0] for record in next(iter(tenants.values()))]
            with _meridian(bench, hosts[0]) as ours:
                for name, peer in peers.items():
                    key = f"tenancy.ping_rps_vs_{name}"
                    _compare(bench, key, "/ping/", (ours, hosts), (peer, theirs), TARGETS.get(key))


_LISTS = ("tenancy.list_rps_vs_plain", "tenancy.list_rps_vs_django_tenants")


def _compare(
    bench: Bench,
    key: str,
    path: str,
    ours: tuple[Server, list[str]],
    theirs: tuple[Server, list[str]],
    target: float | None,
) -> None:
    if not bench.wants(key):
        return
    seconds = 0.3 if bench.quick else SECONDS
    (our_server, our_hosts), (their_server, their_hosts) = ours, theirs
    our_requests = [load.get(host, path) for host in our_hosts]
    their_requests = [load.get(host, path) for host in their_hosts]
    # Every tenant once, so that no connection is opened and no catalog read while measuring. What
    # waits for a database has granian start all of its threads on both sides: it starts another
    # only when all are waiting, and a single one has the interpreter to itself.
    for server, hosts in (ours, theirs):
        server.rate([load.get(host, "/list/") for host in hosts], seconds=2 * seconds)
    pairs = bench.paired(
        PAIRS,
        lambda: our_server.rate(our_requests, seconds=seconds),
        lambda: their_server.rate(their_requests, seconds=seconds),
    )
    peer = "plain Django" if target is not None else "django-tenants 4"
    bench.record_ratio(
        key,
        pairs,
        target=target,
        better="higher",
        against=f"{peer}, {len(our_hosts)} tenants; {STACK}",
    )


def fill(bench: Bench, records: list[TenantRecord]) -> None:
    """50 items for each tenant, as the peers have them."""
    from shop.models import Item
    from tenants.context import tenant_scope
    from tenants.databases import cell_alias, close

    bench.say(f"filling {len(records)} tenants")
    for record in records:
        with tenant_scope(record):
            if not Item.objects.exists():
                Item.objects.bulk_create(
                    [Item(title=f"Item {n}", body="What it is. " * 4, price=n) for n in range(50)]
                )
    for record in records:
        close(cell_alias(record.cell))


def _meridian(bench: Bench, host: str):
    return serve(
        Path(sys.executable),
        "config.wsgi:application",
        bench.region.environment(),
        load.get(host, "/ping/"),
    )


def _peer(bench: Bench, settings: str, host: str):
    return serve(
        bench.peers.python,
        "wsgi:application",
        bench.peers.environment(settings),
        load.get(host, "/ping/"),
    )
