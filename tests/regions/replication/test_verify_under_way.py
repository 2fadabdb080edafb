"""`cell verify` while writers write, regions are down, structures differ, and on its schedule."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from regions.deployment import AGENT_ROLE, OWNER_ROLE
from regions.errors import NotSettled, RepairRunning, ReplicaDown
from regions.failover.keeping import Kept, keep
from regions.failover.link import Link
from regions.failover.verifying import Verifier
from regions.replication import verify
from regions.replication.session import Session, open_session
from regions.replication.verification import repair as repairing
from regions.replication.verification.verdict import Verdict
from tests.regions.replication.looking import (
    DE,
    EU,
    REGIONS,
    US,
    applied,
    behind_its_back,
    look,
)
from tests.regions.replication.mesh import Mesh


def test_rows_that_writers_write_are_no_differences_and_a_real_one_is_found(notes: Mesh) -> None:
    behind_its_back(notes, US, "UPDATE note SET title = 'forged' WHERE id = 599")

    written = dict.fromkeys(REGIONS, 0)

    async def write(region: str, stop: asyncio.Event) -> None:
        dsn = notes.deployment.dsn(region, notes.spec.database, OWNER_ROLE)
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as session:
            while not stop.is_set():
                done = written[region] = written[region] + 1
                await session.execute(
                    "UPDATE note SET votes = votes + 1, body = %s WHERE id = %s",
                    (region, 1 + done % 40),
                )
                key = 10_000 + done * 32 + notes.node(region)
                await session.execute("INSERT INTO note (id, title) VALUES (%s, '-')", (key,))
                await session.execute("DELETE FROM note WHERE id = %s", (100 + done % 50,))
                await asyncio.sleep(0.01)

    async def run() -> list[Verdict]:
        stop = asyncio.Event()
        async with applied(notes):
            writers = [asyncio.create_task(write(region, stop)) for region in REGIONS]
            while min(written.values()) < 10 and not any(task.done() for task in writers):
                await asyncio.sleep(0.01)
            found = [await verify.verify(notes.deployment, notes.spec) for _ in range(2)]
            found.append(await verify.verify(notes.deployment, notes.spec, repair=True))
            found.append(await verify.verify(notes.deployment, notes.spec))
            stop.set()
            await asyncio.gather(*writers)
            return found

    found = notes.loop.run_until_complete(run())
    keys = [[one.key for one in verdict.differences] for verdict in found]
    assert keys == [[{"id": "599"}]] * 3 + [[]], [verdict.document() for verdict in found]
    assert found[2].equal
    notes.settle()
    notes.assert_equal()


def test_a_row_that_cannot_be_applied_is_told_from_a_corrupt_one_and_left_alone(
    mesh: Mesh,
) -> None:
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (1, 'x')")
    mesh.settle()
    with mesh.administrator(US) as admin:
        admin.execute("ALTER TABLE note ADD CONSTRAINT short CHECK (length(title) < 3) NOT VALID")
        try:
            mesh.write(EU, "UPDATE note SET title = 'longer' WHERE id = 1")
            verdict = look(mesh, repair=True)
        finally:
            admin.execute("ALTER TABLE note DROP CONSTRAINT short")
    (found,) = verdict.differences
    assert found.reason.startswith("a change of it is a dead letter in us-east: a change of it is")
    assert (verdict.equal, found.repaired) == (False, False)
    assert mesh.rows(US, "SELECT title FROM note") == [("x",)]


def test_with_a_region_down_the_others_are_compared_and_nothing_is_repaired(notes: Mesh) -> None:
    behind_its_back(notes, EU, "UPDATE note SET title = 'forged' WHERE id = 77")
    # What the lost region may have sent to one of the others only is no difference.
    behind_its_back(notes, DE, "UPDATE note SET votes = 7 WHERE id = 3")
    gone = replace(notes.deployment.region(US), postgres=replace(
        notes.deployment.region(US).postgres, port=1))  # fmt: skip
    without = replace(notes.deployment, regions={**notes.deployment.regions, US: gone})

    async def run(**options: Any) -> Verdict:
        async with applied(notes):
            return await verify.verify(without, notes.spec, **options)

    verdict = notes.loop.run_until_complete(run())
    assert (verdict.equal, verdict.regions, verdict.unreachable) == (False, (EU, DE), (US,))
    assert [one.key for one in verdict.differences] == [{"id": "77"}]
    assert verdict.in_flight == 1
    with pytest.raises(ReplicaDown, match="us-east does not answer, so it cannot be repaired"):
        notes.loop.run_until_complete(run(repair=True))
    behind_its_back(notes, EU, "UPDATE note SET title = 't77' WHERE id = 77")
    verdict = notes.loop.run_until_complete(run())
    assert verdict.refusal == (
        "lab: us-east did not answer; only eu-west, eu-central were compared, and are equal"
    )


def test_a_replica_that_does_not_catch_up_is_an_error_that_names_it(notes: Mesh) -> None:
    notes.write(EU, "UPDATE note SET title = 'under way' WHERE id = 77")
    with pytest.raises(NotSettled, match=r"has not applied what .* wrote"):
        notes.loop.run_until_complete(
            verify.verify(notes.deployment, notes.spec, patience=0.2, by="me")
        )
    last = "SELECT by, problem LIKE '%%has not applied%%' FROM fabric.verification ORDER BY id DESC"
    assert notes.rows(US, f"{last} LIMIT 1") == [("me", True)]


def test_of_two_repairs_at_once_one_is_refused_and_two_looks_do_not_mind(notes: Mesh) -> None:
    behind_its_back(notes, US, "UPDATE note SET title = 'forged' WHERE id = 77")

    async def run() -> list[Any]:
        async with applied(notes):
            session = await open_session(notes.deployment.dsn(DE, notes.spec.database, AGENT_ROLE))
            async with repairing.alone({DE: session}):
                found = await asyncio.gather(
                    verify.verify(notes.deployment, notes.spec, repair=True),
                    verify.verify(notes.deployment, notes.spec),
                    verify.verify(notes.deployment, notes.spec),
                    return_exceptions=True,
                )
            await session.close()
            both = await asyncio.gather(
                verify.verify(notes.deployment, notes.spec, repair=True),
                verify.verify(notes.deployment, notes.spec, repair=True),
                return_exceptions=True,
            )
            return [*found, *both]

    refused, one, other, *both = notes.loop.run_until_complete(run())
    assert isinstance(refused, RepairRunning)
    assert "eu-central says" in str(refused)
    assert (one.found, other.found) == (1, 1)
    assert sum(isinstance(each, Verdict) and each.repaired for each in both) == 1
    notes.assert_equal()


def test_a_repair_that_is_over_is_in_nobodys_way_although_its_sessions_end_later(
    notes: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server takes its time to end a session that was closed."""
    left: list[psycopg.AsyncConnection[Any]] = []

    async def leave(session: Session) -> None:
        left.append(session.connection)

    with monkeypatch.context() as slow:
        slow.setattr(Session, "close", leave)
        assert look(notes, repair=True).equal
        assert look(notes, repair=True).equal
    for connection in left:
        notes.loop.run_until_complete(connection.close())


def test_a_table_or_a_column_that_one_region_lacks_is_said_and_the_rest_is_compared(
    notes: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regions.replication.verification.run.MAKING_SECONDS", 0.0)
    behind_its_back(notes, US, "UPDATE note SET title = 'f77' WHERE id = 77")
    with notes.administrator(DE) as admin:
        admin.execute("INSERT INTO fabric.relation (rel, key, columns) SELECT 'public.page', key,"
                      " columns FROM fabric.relation WHERE rel = 'public.note'")  # fmt: skip
        admin.execute("CREATE TABLE page (LIKE note INCLUDING ALL)")
        try:
            found = look(notes).differences
            nobodys = look(notes, is_lived_in=lambda schema: schema != "public").differences
        finally:
            admin.execute("DROP TABLE page")
            admin.execute("DELETE FROM fabric.relation WHERE rel = 'public.page'")
    assert [(one.table, one.reason) for one in found] == [
        ("public.page", "there is no such table in eu-west, us-east"),
        ("public.note", "differs in title"),
    ]
    assert [one.table for one in nobodys] == ["public.note"]
    with notes.administrator(DE) as admin:
        admin.execute("ALTER TABLE note ADD COLUMN more text")
        try:
            found = look(notes).differences
        finally:
            admin.execute("ALTER TABLE note DROP COLUMN more")
    assert [one.reason for one in found] == ["its columns are not the same in every region"]


def test_an_agent_compares_when_it_is_time_and_repairs_nothing(
    notes: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regions.failover.verifying.LOOK_SECONDS", 0.05)
    behind_its_back(notes, US, "UPDATE note SET title = 'forged' WHERE id = 77")
    for region in REGIONS:
        notes.write(region, "UPDATE fabric.member SET verify_every = '10 ms'")
        notes.write(region, "DELETE FROM fabric.verification")
    kept = "SELECT by, differences, repaired, problem FROM fabric.verification ORDER BY id LIMIT 1"

    async def run() -> None:
        dsn = notes.deployment.dsn(EU, notes.spec.database, AGENT_ROLE)
        link = Link("lab", dsn, timeout=60.0)
        async with applied(notes):
            replica = Kept(notes.deployment, EU, notes.spec, link)
            agent = asyncio.create_task(keep(replica, [Verifier(replica)]))
            # It is kept in one region after the other.
            while not all(notes.rows(region, kept) for region in REGIONS):
                await asyncio.sleep(0.05)
            agent.cancel()
            await asyncio.gather(agent, return_exceptions=True)
        await link.close()

    try:
        notes.loop.run_until_complete(asyncio.wait_for(run(), 300))
    finally:
        for region in REGIONS:
            notes.write(region, "UPDATE fabric.member SET verify_every = '1 day'")
    assert {notes.rows(region, kept)[0] for region in REGIONS} == {("agent:eu-west", 1, 0, None)}
    assert notes.rows(US, "SELECT title FROM note WHERE id = 77") == [("forged",)]


def test_a_server_that_answers_nothing_is_an_error_that_names_it(
    notes: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regions.replication.verification.asking.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("regions.replication.verification.record.PATIENCE_SECONDS", 0.5)
    with notes.administrator(DE) as admin, admin.transaction():
        admin.execute("LOCK TABLE fabric.member IN ACCESS EXCLUSIVE MODE")
        # On a busy machine another one may have been silent for so long, and is named.
        for _ in range(100):
            with pytest.raises(ReplicaDown, match=r"has not answered for 0.5 s") as refusal:
                notes.loop.run_until_complete(verify.verify(notes.deployment, notes.spec))
            if DE in str(refusal.value):
                break
    assert DE in str(refusal.value)


def test_a_row_that_somebody_inserts_where_the_repair_puts_one_is_his(notes: Mesh) -> None:
    behind_its_back(notes, DE, "DELETE FROM note WHERE id = 77")
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted"
    dsn = notes.deployment.dsn(DE, notes.spec.database, OWNER_ROLE)

    async def run() -> Verdict:
        async with applied(notes), await psycopg.AsyncConnection.connect(dsn) as writer:
            await writer.execute("INSERT INTO note (id, title) VALUES (77, 'his')")
            repair = asyncio.create_task(verify.verify(notes.deployment, notes.spec, repair=True))
            while not notes.rows(DE, waiting)[0][0] and not repair.done():
                await asyncio.sleep(0.02)
            await writer.commit()
            return await repair

    notes.loop.run_until_complete(run())
    notes.settle()
    found = [notes.rows(region, "SELECT title FROM note WHERE id = 77") for region in REGIONS]
    assert found == [[("his",)]] * 3
