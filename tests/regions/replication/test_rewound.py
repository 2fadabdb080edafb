"""A region's server is started on an old backup: seen before it serves, mended, nothing lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from regions import cells, expulsion
from regions.deployment import Deployment
from regions.errors import NotLost
from regions.failover.replica import ReplicaWorker
from regions.replication import transport
from regions.replication.collecting import collect
from regions.topology import CellSpec
from testkit.grounds import grounds
from tests.regions.replication.club import DE, EU, ROWS, SPEC, US, Club, founded
from tests.regions.replication.restorable import Restorable, replace_site
from tests.tenants.appliers import end_worker

WAITING = """
SELECT 1 FROM fabric.watermark w JOIN fabric.change c USING (origin)
 WHERE w.region = 'eu-central' AND c.arrival > w.arrival
"""


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
    # Nothing tells of these two any more; then one more is deleted.
    assert set(asyncio.run(collect(club.deployment, club.spec)).tombstones.values()) == {2}
    club.ask(US, "DELETE FROM note WHERE id = -6")
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
    club.until(lambda: any("serves again" in sentence for sentence in club.said))
    assert any("eu-central went back in time" in sentence for sentence in club.said)
    assert club.ask(DE, "SELECT 1 FROM fabric.watermark WHERE gap IS NOT NULL") == []


def test_a_region_that_is_lost_is_taken_out_and_stays_out_when_it_comes_back(
    club: Club, own: Restorable
) -> None:
    """What it had sent to one of the others only, both have; and it is told that it is out."""
    cell, forgotten = club.spec, replace(club.spec, regions=(EU, US))
    with pytest.raises(NotLost, match="answers: it is not lost"):
        expulsion.foresee(club.deployment, cell, DE)
    club.settle()
    with cells.administrator(club.deployment, US, cell.database) as admin:
        transport.unsubscribe(admin, cell, sender=DE)
    club.ask(DE, "INSERT INTO note (id, title) VALUES (-50, 'half sent')")
    club.until(lambda: club.ask(EU, "SELECT 1 FROM note WHERE id = -50") != [])
    with cells.administrator(club.deployment, EU, cell.database) as admin:
        transport.unsubscribe(admin, cell, sender=DE)
    club.ask(DE, "INSERT INTO note (id, title) VALUES (-51, 'never sent')")
    own.server.kill()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expulsion, "SILENT_SECONDS", 300)
        with pytest.raises(NotLost, match="has heard of eu-central within the last"):
            expulsion.foresee(club.deployment, cell, DE)
    for region in forgotten.regions:
        club.until(lambda region=region: club.ask(region, WAITING) == [])  # type: ignore[misc]
        club.ask(region, "UPDATE fabric.watermark SET at = at - interval '1 hour'"
                         " WHERE region = 'eu-central'")  # fmt: skip

    def forget() -> None:
        club.spec = forgotten

    for _ in range(2):  # the second time it is repeated
        tail = expulsion.expel(
            club.deployment, cell, DE, by="test", forget=forget, tell=lambda _: None
        )
    assert tail.latest is not None
    assert "had not sent is lost" in tail.sentence()
    for region in forgotten.regions:
        assert not [name for (name,) in club.links(region) if "eu_central" in name]
        assert club.ask(region, "SELECT id FROM note WHERE id IN (-50, -51)") == [(-50,)]
        assert club.ask(region, "SELECT 1 FROM fabric.watermark WHERE region = 'eu-central'") == []
    known = expulsion.expelled(club.deployment, forgotten, DE)
    assert known is not None
    assert known.latest == tail.latest

    # Its server is back, and its agent, who has heard nothing of it.
    own.start()
    said: list[str] = []
    asyncio.run(work_until_barred(club, replace(cell, regions=(EU, DE, US)), said))
    assert any("was lost, and taken out of the cell" in sentence for sentence in said)
    with pytest.raises(psycopg.Error) as refused:
        club.ask(DE, "UPDATE note SET votes = 1 WHERE id = -1")
    assert "was lost, and taken out of the cell" in str(refused.value.diag.message_hint)
    assert not [name for (name,) in club.links(EU) if "eu_central" in name]
    # It may come back as a new replica, and has then what the cell has.
    club.join(DE)
    club.settle()
    assert club.ask(DE, ROWS) == club.ask(EU, ROWS)
    assert serves(club)


async def work_until_barred(club: Club, spec: CellSpec, said: list[str]) -> None:
    async def tell(sentence: str) -> None:
        said.append(sentence)

    worker = ReplicaWorker(club.deployment, DE, spec, tell=tell)
    task = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(300):
            while not said:
                await asyncio.sleep(0.05)
    finally:
        await end_worker(worker, task)
