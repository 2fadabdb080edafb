"""Comparing the mesh's replicas, and corrupting them behind the fabric's back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from regions.replication import apply, verify
from regions.replication.verification.verdict import Verdict
from tests.regions.replication.mesh import Mesh

EU, DE, US = REGIONS = ("eu-west", "eu-central", "us-east")


@asynccontextmanager
async def applied(mesh: Mesh) -> AsyncIterator[None]:
    """What is sent is applied, as agents do."""
    stop = asyncio.Event()

    async def pump() -> None:
        while not stop.is_set():
            for receiver in REGIONS:
                for sender in REGIONS:
                    if sender != receiver:
                        await apply.step(mesh.appliers[receiver], mesh.node(sender))
            await asyncio.sleep(0.005)

    task = asyncio.create_task(pump())
    try:
        yield
    finally:
        stop.set()
        await task


def look(mesh: Mesh, **options: Any) -> Verdict:
    async def run() -> Verdict:
        async with applied(mesh):
            return await verify.verify(mesh.deployment, mesh.spec, **options)

    return mesh.loop.run_until_complete(run())


def behind_its_back(mesh: Mesh, region: str, *statements: str) -> None:
    """A superuser's change that no trigger sees."""
    with mesh.administrator(region) as admin:
        admin.execute("SET session_replication_role = replica")
        for statement in statements:
            admin.execute(statement)


def ledger(mesh: Mesh, region: str) -> list[Any]:
    return mesh.rows(region, "SELECT field, loser, winner, rule FROM fabric.conflict ORDER BY 1")


def sent(mesh: Mesh) -> list[int]:
    """What each region has written into its log, heartbeats apart."""
    return [
        mesh.rows(region, "SELECT count(*) FROM fabric.change WHERE op <> 'H'")[0][0]
        for region in REGIONS
    ]
