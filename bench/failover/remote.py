"""Whether a write that was acknowledged as `remote` is still there when its region is not.

Clients write tickets through the edge with `X-Durability: remote`; the writer's region is killed in
the midst of that. What counts is what the next writer lacks of what was acknowledged as `remote`,
before anything comes back.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psycopg

from bench.failover.fleet import Fleet, fleet, wait_until
from bench.frame import Bench
from infra.fleet import faults
from regions.deployment import ADMIN_ROLE

KEYS = ("failover.rpo_writes.remote",)

RUNS = 20
LANES = 4
WARM_SECONDS = 1.0
SLUG = "bench-active-passive"


def run(bench: Bench) -> None:
    with fleet(bench) as ground:
        lost = [_lose(ground) for _ in range(bench.runs(RUNS))]
    bench.record(
        "failover.rpo_writes.remote",
        lost,
        unit="writes",
        target=0,
        better="lower",
        against="writes acknowledged as remote that the next writer lacks, its region killed",
    )


def _lose(ground: Fleet) -> float:
    home, other = ground.leased.regions
    with _clients(ground) as acknowledged:
        wait_until(lambda: home in acknowledged.values(), f"{home} acknowledges")
        time.sleep(WARM_SECONDS)
        faults.break_region(ground.plan, home, "kill")
        wait_until(lambda: other in acknowledged.values(), f"{other} writes")
    missing = _missing(ground, other, [t for t, by in acknowledged.items() if by == home])
    ground.heal()
    ground.manage("region", "failback", ground.leased.name)
    return float(missing)


@contextmanager
def _clients(ground: Fleet) -> Iterator[dict[str, str]]:
    """What was acknowledged: by title, the region that answered. No peer can confirm what the other
    region writes while home is away: of that, that it was written is enough."""
    token = ground.manage("tenant", "token", SLUG)["api_token"]
    host = ground.manage("tenant", "show", SLUG)["host"]
    headers = {"Host": host, "Authorization": f"Bearer {token}", "X-Durability": "remote"}
    acknowledged: dict[str, str] = {}
    stop = threading.Event()

    def write() -> None:
        url = f"{ground.deployment.edge_url}/api/desk/tickets"
        with httpx.Client(timeout=10.0, headers=headers, trust_env=False) as client:
            while not stop.is_set():
                title = uuid.uuid4().hex
                try:
                    answer = client.post(url, json={"title": title})
                except httpx.HTTPError:
                    continue
                region = answer.headers.get("x-region", "")
                durable = answer.headers.get("x-durability") == "remote"
                if answer.status_code == httpx.codes.CREATED and (
                    durable or region != ground.leased.regions[0]
                ):
                    acknowledged[title] = region

    threads = [threading.Thread(target=write, daemon=True) for _ in range(LANES)]
    for thread in threads:
        thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _missing(ground: Fleet, region: str, titles: list[str]) -> int:
    dsn = ground.deployment.dsn(region, ground.leased.database, ADMIN_ROLE)
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        row = connection.execute(
            "SELECT count(*) FROM public.desk_ticket WHERE title = ANY (%s)", (titles,)
        ).fetchone()
    return len(titles) - (row[0] if row else 0)
