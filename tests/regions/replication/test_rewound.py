"""A region's server is started on an old backup: seen before it serves, mended, nothing lost."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from infra.postgres.account import server_account
from infra.postgres.cluster import Cluster, prepare, wait_until_ready
from regions.deployment import ADMIN_ROLE, Deployment, Endpoint
from testkit.grounds import grounds
from testkit.ports import free_port_base
from testkit.servers import start_cluster
from tests.faults.world import Server
from tests.regions.replication.club import DE, EU, ROWS, SPEC, US, Club, founded


class Restorable:
    """A region's cluster of its own, which goes down for a copy of its files, or for an old one."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        placement = grounds().placement
        self.port = free_port_base(1)
        self.cluster = Cluster(
            folder / "own" / "pgdata", self.port, placement.binaries, server_account()
        )
        self._folder = folder
        self._dsn = replace_site(deployment, self).dsn(DE, "postgres", ADMIN_ROLE)
        prepare(self.cluster, deployment.password(ADMIN_ROLE))
        self.server = Server(self._start, self.cluster.account)

    def _start(self) -> subprocess.Popen[bytes]:
        process = start_cluster(self.cluster, self._folder, durable=False)
        grounds().guard.ends(process.pid)
        return process

    def start(self) -> None:
        self.server.start()
        wait_until_ready(self._dsn)

    def back_up(self) -> Path:
        self.server.stop(signal.SIGINT)
        copy = self.cluster.data.with_name("backup")
        subprocess.run(["cp", "-a", self.cluster.data, copy], check=True)
        self.start()
        return copy

    def restore(self, backup: Path) -> None:
        self.server.kill()
        shutil.rmtree(self.cluster.data)
        backup.rename(self.cluster.data)
        self.start()


def replace_site(deployment: Deployment, own: Restorable) -> Deployment:
    at = Endpoint("127.0.0.1", own.port)
    site = replace(deployment.region(DE), postgres=at, pooler=None)
    links = {pair: at if pair[1] == DE else end for pair, end in deployment.links.items()}
    return replace(deployment, regions={**deployment.regions, DE: site}, links=links)


@pytest.fixture(scope="module")
def own(deployment: Deployment) -> Iterator[Restorable]:
    folder = grounds().placement.data / "restorable"
    own = Restorable(deployment, folder)
    try:
        own.start()
        yield own
    finally:
        own.server.stop(signal.SIGQUIT)


@pytest.fixture(scope="module")
def club(deployment: Deployment, own: Restorable) -> Iterator[Club]:
    spec = replace(SPEC, name="aged", regions=(EU, DE, US))
    with founded(replace_site(deployment, own), spec) as club:
        yield club


def serves(club: Club) -> bool:
    """Whether DE takes a write now."""
    try:
        club.ask(DE, "UPDATE note SET votes = votes WHERE id = -1")
    except psycopg.Error:
        return False
    return True


def test_a_replica_from_an_old_backup_is_seen_mended_and_only_then_serves(
    club: Club, own: Restorable
) -> None:
    club.ask(EU, "INSERT INTO note (id, title) SELECT -n, 'old' FROM generate_series(1, 40) n")
    club.settle()
    club.until(
        lambda: club.ask(DE, "SELECT 1 FROM fabric.gate WHERE trusted_start IS NOT NULL") != []
    )
    backup = own.back_up()
    club.until(lambda: serves(club))
    # After the backup each region writes, and everybody hears of it.
    club.ask(DE, "INSERT INTO note (title) SELECT 'late' FROM generate_series(1, 100)")
    club.ask(DE, "UPDATE note SET title = 'changed' WHERE id = -2")
    club.ask(EU, "UPDATE note SET title = 'changed', votes = 3 WHERE id = -3")
    club.ask(US, "DELETE FROM note WHERE id IN (-4, -5)")
    club.settle()
    drawn = club.ask(DE, "SELECT max(id) FROM note")[0][0]
    before = club.ask(EU, ROWS)
    own.restore(backup)

    early: list[int] = []
    refused: set[str | None] = set()
    while not early:
        try:
            early = [
                i for (i,) in club.ask(DE, "INSERT INTO note (title) VALUES ('new') RETURNING id")
            ]
        except psycopg.Error as error:
            refused.add(error.sqlstate)
    assert refused <= {"MDF01"}
    assert early[0] > drawn, "a number was given out a second time"
    club.settle()
    for region in club.spec.regions:
        assert (
            club.ask(region, "SELECT note::text FROM note WHERE title <> 'new' ORDER BY id")
            == before
        )
        assert club.ask(region, "SELECT id FROM note WHERE title = 'new'") == [(early[0],)]
    # What follows arrives everywhere, in both directions.
    club.ask(DE, "UPDATE note SET votes = 9 WHERE id = -1")
    club.ask(US, "UPDATE note SET title = 'on' WHERE id = -1")
    club.settle()
    for region in club.spec.regions:
        assert club.ask(region, "SELECT title, votes FROM note WHERE id = -1") == [("on", 9)]
    went, came = club.said[-2:]
    assert "eu-central went back in time" in went
    assert "serves again" in came
    assert club.ask(DE, "SELECT 1 FROM fabric.watermark WHERE gap IS NOT NULL") == []
