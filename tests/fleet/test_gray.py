"""Regions that are neither well nor lost: each loses its writers, once, to one that is well.

What is broken answers questions, and its health checks, all along.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql

from infra.fleet.state import saved_plan
from regions.deployment import ADMIN_ROLE, Deployment, load
from regions.topology import read_leases
from tests.fleet.conftest import Fleet
from tests.fleet.test_story import eventually, post

# Of the heartbeat only: a commit that takes longer than anybody should wait.
SLOW = """
CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN PERFORM pg_sleep(1.6); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON fabric.change DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.slow()
"""
WELL_AGAIN = "DROP TRIGGER slow ON fabric.change; DROP FUNCTION public.slow()"


@dataclass(frozen=True)
class Ground:
    """Two tenants in two cells, at home in eu-west, with a standby in eu-central."""

    fleet: Fleet
    deployment: Deployment
    tenants: list[dict[str, Any]]

    def writer(self, cell: str) -> str | None:
        lease = read_leases(self.deployment.map_dirs).get(cell)
        return lease.writer if lease else None

    def writers(self) -> set[str | None]:
        return {self.writer(tenant["cell"]) for tenant in self.tenants}

    def database(self, tenant: dict[str, Any], region: str = "eu-west") -> str:
        (spec,) = (
            one
            for one in self.fleet.json("cell", "show", tenant["cell"])["replicas"]
            if one["region"] == region
        )
        return self.deployment.dsn(region, spec["database"], ADMIN_ROLE)

    def takes_writes_of(self, tenant: dict[str, Any]) -> bool:
        return bool(post(self.fleet, tenant, "gray").status_code == 201)


@pytest.fixture(scope="module")
def ground(fleet: Fleet) -> Ground:
    tenants = [
        fleet.json("tenant", "create", f"gray-{mode}", "--mode", mode, "--residency", "EU")
        for mode in ("shared", "schema")
    ]
    return Ground(fleet, load(fleet.folder / "deployment.json"), tenants)


@pytest.fixture(autouse=True)
def at_home(ground: Ground) -> Iterator[None]:
    """All cells, for these tests and for those that come after."""

    def home() -> bool:
        done = ground.fleet.manage("region", "failback", "--region", "eu-west", check=False)
        return done.returncode == 0 and ground.writers() == {"eu-west"}

    if ground.writers() != {"eu-west"}:
        eventually(home)
    yield
    eventually(home)


@contextmanager
def statements(dsn: str, before: str, after: str) -> Iterator[None]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL(before))
        try:
            yield
        finally:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(sql.SQL(after))


def test_a_database_that_is_slow_and_one_that_takes_no_writes_lose_their_cells(
    ground: Ground,
) -> None:
    slow, read_only = ground.tenants
    of_slow, of_read_only = ground.database(slow), ground.database(read_only)
    name = psycopg.conninfo.conninfo_to_dict(of_read_only)["dbname"]
    refuse = f"""ALTER DATABASE "{name}" SET default_transaction_read_only = on"""
    allow = f"""ALTER DATABASE "{name}" RESET default_transaction_read_only"""
    begin_anew = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with (
        statements(of_slow, SLOW, WELL_AGAIN),
        statements(of_read_only, f"{refuse}; {begin_anew}", f"{allow}; {begin_anew}"),
    ):
        eventually(lambda: ground.fleet.region("eu-west")["up"])
        for tenant in ground.tenants:
            eventually(lambda cell=tenant["cell"]: ground.writer(cell) == "eu-central")
            eventually(lambda tenant=tenant: ground.takes_writes_of(tenant))
        eventually(lambda: ground.fleet.region("eu-west")["up"])


def test_a_full_disk_that_comes_and_goes_moves_the_writers_once(ground: Ground) -> None:
    """Nothing can be written that needs new room; what is there can be read and overwritten."""
    folder = saved_plan(ground.fleet.folder).pgdata("eu-west") / "pg_snapshots"
    seen: list[set[str | None]] = []

    def look(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            seen.append(ground.writers())
            time.sleep(0.1)

    mode = folder.stat().st_mode
    try:
        folder.chmod(0o500)
        eventually(lambda: ground.writers() == {"eu-central"})
        folder.chmod(mode)
        look(1.5)
        folder.chmod(0o500)
        look(4.0)
    finally:
        folder.chmod(mode)
    look(1.0)
    # On a busy machine a lease may end and be got again, there.
    assert not any("eu-west" in writers for writers in seen)
    for tenant in ground.tenants:
        eventually(lambda tenant=tenant: ground.takes_writes_of(tenant))


def test_a_region_that_sees_the_quorum_and_that_clients_do_not_see_hands_its_cells_over(
    ground: Ground,
) -> None:
    ground.fleet.run("break", "process", "eu-west:web", "--how", "freeze")
    try:
        eventually(lambda: ground.writers() == {"eu-central"})
        for tenant in ground.tenants:
            eventually(lambda tenant=tenant: ground.takes_writes_of(tenant))
    finally:
        ground.fleet.run("heal", "process", "eu-west:web")
        # A new agent has nothing against its web: else the cells would leave again for a while.
        ground.fleet.run("break", "process", "eu-west:agent", "--how", "kill")
    shown = ground.fleet.json("cell", "show", ground.tenants[0]["cell"])
    assert shown["writer"] == "eu-central"
