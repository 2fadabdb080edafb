"""Who has most of a lost writer's log, asked of real replicas."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from regions.failover.ahead import ahead
from regions.replication.transport import subscription_name
from tests.regions.replication.mesh import Mesh

LOST = "eu-west"
WORKING = "SELECT FROM pg_stat_subscription WHERE subname = %s AND pid IS NOT NULL"


@contextmanager
def deaf(mesh: Mesh, region: str) -> Iterator[None]:
    """The region receives nothing of what the writer commits within the block."""
    name = sql.Identifier(subscription_name(mesh.spec, LOST))
    with mesh.administrator(region) as admin:
        admin.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(name))
        admin.commit()
        while admin.execute(WORKING, (subscription_name(mesh.spec, LOST),)).fetchone():
            time.sleep(0.05)
    try:
        yield
    finally:
        with mesh.administrator(region) as admin:
            admin.execute(sql.SQL("ALTER SUBSCRIPTION {} ENABLE").format(name))


def who_is_ahead(mesh: Mesh, region: str) -> str | None:
    return asyncio.run(ahead(mesh.deployment, mesh.spec, region, LOST))


def test_a_region_that_lacks_what_another_has_received_says_so(mesh: Mesh) -> None:
    mesh.write(LOST, "INSERT INTO note (id, title) VALUES (1, 'both have it')")
    mesh.settle()
    assert {who_is_ahead(mesh, region) for region in mesh.spec.regions} == {None}
    with deaf(mesh, "us-east"):
        mesh.write(LOST, "INSERT INTO note (id, title) VALUES (2, 'one has it')")
        mesh.await_inbox(LOST, "eu-central")
        assert who_is_ahead(mesh, "us-east") == "eu-central"
        assert who_is_ahead(mesh, "eu-central") is None
    mesh.settle()
    assert who_is_ahead(mesh, "us-east") is None
