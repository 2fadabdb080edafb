"""Appliers for the cells of a test, without agents: what peers send is merged as in a fleet."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from regions.deployment import APP_ROLE, CONTROL_CELL, Deployment
from regions.failover.replica import ReplicaWorker
from regions.topology import CellSpec, TenancyMode, WritePolicy

LOOK_SECONDS = 0.1
_READY = """
SELECT c.name, c.mode, c.policy, array_agg(r.region_id::text ORDER BY r.priority)
  FROM regions_cell c JOIN regions_replica r ON r.cell_id = c.name
 WHERE c.state = 'ready' AND c.name LIKE ANY (%s) GROUP BY 1, 2, 3
"""


@contextmanager
def applying(deployment: Deployment, home: str, *prefixes: str) -> Iterator[None]:
    """Within the block every cell whose name begins so is replicated, as soon as it is ready."""
    stop = threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_work(deployment, home, prefixes, stop)), name="appliers"
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=240)
        assert not thread.is_alive(), "a worker does not end"


async def _work(
    deployment: Deployment, home: str, prefixes: tuple[str, ...], stop: threading.Event
) -> None:
    running: dict[tuple[str, str], tuple[ReplicaWorker, asyncio.Task[None]]] = {}
    dsn = deployment.dsn(home, CONTROL_CELL, APP_ROLE)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as control:
        while not stop.is_set():
            rows = await (
                await control.execute(_READY, ([f"{prefix}%" for prefix in prefixes],))
            ).fetchall()
            wanted = {}
            for name, mode, policy, regions in rows:
                spec = CellSpec(name, TenancyMode(mode), WritePolicy(policy), tuple(regions))
                wanted |= {(name, region): spec for region in regions}
            for place in [p for p in running if running[p][0].spec != wanted.get(p)]:
                await end_worker(*running.pop(place))
            for place in wanted.keys() - running.keys():
                worker = ReplicaWorker(deployment, place[1], wanted[place])
                running[place] = (worker, asyncio.create_task(worker.run()))
            await asyncio.sleep(LOOK_SECONDS)
    for worker, task in running.values():
        await end_worker(worker, task)


async def end_worker(worker: ReplicaWorker, task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, psycopg.Error):
        await task
    await worker.close()
