"""What a thousand tenants cost in memory: a web process, and one of its PostgreSQL sessions.

The process: what it holds after it has served the same number of requests of one tenant, and after
it has served a thousand. The session: a PostgreSQL process keeps what it has learnt of each
schema's tables for as long as it lives, so the largest of the server's sessions is looked at after
every tenant of a schema cell has been served twice.
"""

from __future__ import annotations

import re
import sys
import time
from itertools import cycle, islice
from pathlib import Path

from bench import load
from bench.frame import Bench
from bench.server import Server, serve
from bench.tenancy.requests import fill

KEYS = ("tenancy.worker_rss_growth", "tenancy.backend_private_mb")
TENANTS = 1000
PAIRS = 3


def run(bench: Bench) -> None:
    number = 8 if bench.quick else TENANTS
    tenants = bench.region.tenants("schema", number)
    fill(bench, tenants)
    hosts = [tenant.hosts[0] for tenant in tenants]
    growth, largest = [], []
    for _ in range(bench.runs(PAIRS)):
        with _server(bench, hosts[0]) as server:
            _ask(server, hosts[:1], 2 * number)
            before = server.worker.memory_info().rss
            _ask(server, hosts, 2 * number)
            growth.append(server.worker.memory_info().rss / before)
            largest.append(_largest_session(bench) / 2**20)
    if bench.wants(KEYS[0]):
        bench.record(
            KEYS[0],
            growth,
            unit="ratio",
            target=1.1,
            better="lower",
            against=f"the same process after as many requests of one of the {number} tenants",
        )
    if bench.wants(KEYS[1]):
        bench.record(
            KEYS[1],
            largest,
            unit="MB",
            target=30,
            better="lower",
            against=f"nothing: the largest session after {number} tenants' schemas, each twice",
        )


def _server(bench: Bench, host: str):
    return serve(
        Path(sys.executable),
        "config.wsgi:application",
        bench.region.environment(),
        load.get(host, "/ping/"),
    )


def _ask(server: Server, hosts: list[str], number: int) -> None:
    """So many requests, of these tenants in turn."""
    requests = [load.get(host, "/list/") for host in islice(cycle(hosts), number)]
    load.answer_all(server.port, requests)
    # What was freed is given back, and what is counted in the background is written down.
    time.sleep(1.5)


def _largest_session(bench: Bench) -> int:
    """Bytes that the largest of the application's sessions in the schema cell has to itself."""
    with bench.region.administrator() as admin:
        found = admin.execute(
            "SELECT pid FROM pg_stat_activity WHERE usename = 'meridian_app'"
            " AND datname = 'cell_bench_schema' AND backend_type = 'client backend'"
        ).fetchall()
    assert found, "the server has no session in the cell"
    return max(_private(pid) for (pid,) in found)


def _private(pid: int) -> int:
    """Without the pages of shared memory that it alone has touched so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    assert found, status
    return int(found[1]) * 1024
