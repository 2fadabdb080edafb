"""A planned switchover, from the writer's side: fence, drain to the last commit, let go. RPO 0."""

from __future__ import annotations

import asyncio
import time

import psycopg

from regions.deployment import AGENT_ROLE, Deployment
from regions.errors import SwitchoverFailed
from regions.failover.lease import RESERVED_SECONDS, Held, Leases
from regions.failover.link import Link, Unreachable
from regions.failover.replica import ReplicaWorker
from regions.failover.surroundings import Renew

APPROACH_SECONDS = 5.0  # until the target is nearly up to date; nothing stops meanwhile
CATCH_UP_SECONDS = 1.5  # with the gate closed; shorter than a fresh lease
SOON_SECONDS, LATER_SECONDS = 0.005, 0.04  # between looks, when many cells are handed over at once
_APPLIED = "SELECT heartbeat FROM fabric.watermark WHERE origin = %s"


async def hand_over(
    deployment: Deployment,
    region: str,
    worker: ReplicaWorker,
    leases: Leases,
    held: Held,
    target: str,
    renew: Renew,
    *,
    forced: bool,
) -> None:
    """Move the cell's lease to `target`; `forced`: even if the target lacks the last commits,
    which then reach it later, through the fabric.

    While `worker.handing_over` nobody else renews the lease, nor opens the gate. Raises
    SwitchoverFailed when the target does not get everything in time; the gate then opens again
    with the next renewal, and `region` goes on writing.
    """
    node = deployment.region(region).node
    dsn = deployment.dsn(target, worker.spec.database, AGENT_ROLE, seen_from=region)
    peer = Link(f"{worker.spec.name} in {target}", dsn, timeout=1.0)
    try:
        # The target must be there, and nearly up to date, before anything stops here.
        await _await_applied(peer, node, await worker.beat(), APPROACH_SECONDS)
        worker.handing_over = True
        if not await renew():
            raise Unreachable("The lease could not be renewed before the fence")
        marker = await worker.close_gate()
        await _await_applied(peer, node, marker, CATCH_UP_SECONDS)
    except (Unreachable, psycopg.Error) as error:
        if not forced:
            raise SwitchoverFailed(
                f"{target} could not take over {worker.spec.name}: {error}"
            ) from error
        worker.handing_over = True
        await worker.shut()
    finally:
        await peer.close()
    await leases.release(held, successor=target, reserved=RESERVED_SECONDS)


async def _await_applied(peer: Link, node: int, marker: int, patience: float) -> None:
    deadline = time.monotonic() + patience
    pause = SOON_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        # What is left, also of the first: to connect takes several round trips.
        rows = await peer.fetch(_APPLIED, (node,), timeout=left)
        if rows and rows[0][0] >= marker:
            return
        await asyncio.sleep(pause)
        pause = min(2 * pause, LATER_SECONDS)
    raise Unreachable(f"{peer.name} did not catch up within {patience:g} s.")
