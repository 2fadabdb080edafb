"""However long a cell is written, its log takes no more room than a few rounds of writes do."""

from __future__ import annotations

import pytest

from regions.replication import housekeeping
from tests.regions.replication.looking import DE, EU, US
from tests.regions.replication.mesh import Mesh

ROUNDS = 12
LOG = ("fabric.change", "fabric.txn", "fabric.probe")
SIZE = f"SELECT {' + '.join(f'pg_total_relation_size({name!r})' for name in LOG)}"
# Longer than a page takes inline: it lies outside of the log's own pages.
LONG = "SELECT string_agg(md5(n::text || %s), '') FROM generate_series(1, 150) n"


def write(mesh: Mesh) -> None:
    """A round of transactions in every region."""
    for region in (EU, DE, US):
        for number in range(20):
            mesh.write(region, f"INSERT INTO note (title) VALUES (({LONG}))", number)
    mesh.settle()


def clean(mesh: Mesh) -> None:
    """What agents and autovacuum do from time to time."""
    for region in (EU, DE, US):
        while mesh.loop.run_until_complete(housekeeping.prune(mesh.appliers[region])):
            pass
        with mesh.administrator(region) as admin:
            for table in LOG:
                admin.execute(f"VACUUM {table}".encode())


def sizes(mesh: Mesh) -> dict[str, int]:
    """Of each region's log, with its indexes and what lies outside."""
    found = {}
    for region in (EU, DE, US):
        with mesh.administrator(region) as admin:
            ((found[region],),) = admin.execute(SIZE.encode()).fetchall()
    return found


def test_the_room_of_what_was_collected_is_used_again(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "KEEP_LOG", "0 seconds")
    clean(mesh)
    before = sizes(mesh)
    write(mesh)
    first = sizes(mesh)
    for _ in range(ROUNDS):
        clean(mesh)
        write(mesh)
    for region, size in sizes(mesh).items():
        grown = first[region] - before[region]
        assert size - first[region] < ROUNDS / 4 * grown
