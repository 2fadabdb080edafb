"""Attacks on `cell verify`: rows corrupted behind the fabric's back, under load, regions down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from regions.deployment import AGENT_ROLE, OWNER_ROLE
from regions.errors import NotSettled, RepairRunning, ReplicaDown
from regions.failover.link import Link
from regions.failover.verifying import Verifier
from regions.replication import apply, verify
from regions.replication.session import open_session
from regions.replication.verification import repair as repairing
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


@pytest.fixture
def notes(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> Mesh:
    """Some hundred rows, the same everywhere, in trees that are two branches deep."""
    monkeypatch.setattr("regions.replication.verification.tree.LEAF_ROWS", 20)
    mesh.write(EU, "INSERT INTO note (id, title, body, doc) SELECT n, 't' || n, repeat('b', 50),"
                   " '{\"a\": 1}' FROM generate_series(1, 600) n")  # fmt: skip
    mesh.settle()
    mesh.write(US, "UPDATE note SET votes = 1, raw = '\\x00ff' WHERE id % 3 = 0")
    mesh.settle()
    return mesh


def test_equal_replicas_are_equal(notes: Mesh) -> None:
    verdict = look(notes)
    assert (verdict.equal, verdict.refusal, verdict.differences) == (True, None, [])
    assert (verdict.tables, verdict.rows, verdict.regions) == (1, 600, REGIONS)


@pytest.mark.parametrize(
    ("region", "statement", "reason", "fields"),
    [
        (DE, "UPDATE note SET title = 't78' WHERE id = 77", "differs in title", ("title",)),
        (EU, "UPDATE note SET raw = '\\x00fe' WHERE id = 81", "differs in raw", ("raw",)),
        (US, "UPDATE note SET _stamp = _stamp - 256 WHERE id = 80", "differs in _stamp",
         ("_stamp",)),
        (US, "UPDATE note SET body = NULL WHERE id = 80", "differs in body", ("body",)),
        (US, "UPDATE note SET label = 'NULL' WHERE id = 80", "differs in label", ("label",)),
        (DE, "DELETE FROM note WHERE id = 500", "missing in eu-central", ()),
        (EU, "DELETE FROM note WHERE id = 500", "missing in eu-west", ()),
        (US, "INSERT INTO note (id, title) VALUES (5000, 'new')",
         "missing in eu-west, eu-central", ()),
    ],
)  # fmt: skip
def test_one_flipped_byte_one_missing_one_extra_row_is_found_where_it_is_and_mended(
    notes: Mesh, region: str, statement: str, reason: str, fields: tuple[str, ...]
) -> None:
    before = notes.rows(EU if region != EU else DE)
    behind_its_back(notes, region, statement)
    verdict = look(notes)
    (found,) = verdict.differences
    key = statement.partition("id = ")[2] or "5000"
    assert (found.table, found.key, found.reason, found.fields) == (
        "public.note", {"id": key}, reason, fields,
    )  # fmt: skip
    digests = set(found.regions.values())
    assert (len(digests), list(found.regions.values()).count(found.regions[region])) == (2, 1)
    assert (verdict.equal, verdict.found) == (False, 1)
    assert verdict.refusal is not None
    assert "one row differs" in verdict.refusal

    log = sent(notes)
    mended = look(notes, repair=True)
    assert (mended.equal, mended.repaired) == (True, 1), mended.document()
    assert look(notes).equal
    assert sent(notes) == log
    notes.assert_equal()
    if key != "5000":
        assert notes.rows(EU) == before


def test_what_a_replica_loses_is_in_its_ledger_alone(notes: Mesh) -> None:
    behind_its_back(notes, DE, "UPDATE note SET title = 'forged' WHERE id = 77")
    look(notes, repair=True)
    assert ledger(notes, DE) == [
        ("title", "forged", "t77", "repair: most replicas have it"),
    ]
    assert ledger(notes, EU) == ledger(notes, US) == []
    # The same again is another loss, not the first one's repetition.
    behind_its_back(notes, DE, "UPDATE note SET title = 'again' WHERE id = 77")
    look(notes, repair=True)
    assert [row[1] for row in ledger(notes, DE)] == ["again", "forged"] or [
        row[1] for row in ledger(notes, DE)
    ] == ["forged", "again"]


def test_two_rows_that_are_exchanged_or_differ_alike_do_not_cancel_out(notes: Mesh) -> None:
    exchange = (
        "CREATE TEMP TABLE kept AS SELECT * FROM note WHERE id IN (7, 8)",
        "UPDATE note n SET title = k.title FROM kept k WHERE n.id + k.id = 15",
    )
    behind_its_back(notes, US, *exchange)
    assert [one.key for one in look(notes).differences] == [{"id": "7"}, {"id": "8"}]
    behind_its_back(notes, US, "DELETE FROM note WHERE id IN (9, 10)")
    assert look(notes, repair=True).repaired == 4
    notes.assert_equal()


def test_a_lost_update_is_caught_up_with_and_the_old_value_kept(notes: Mesh) -> None:
    stale = notes.rows(DE, "SELECT note::text FROM note WHERE id = 77")[0][0]
    notes.write(US, "UPDATE note SET title = 'newer' WHERE id = 77")
    notes.settle()
    behind_its_back(
        notes, DE,
        "UPDATE note n SET title = o.title, _stamp = o._stamp, _fields = o._fields, _base = o._base"
        f" FROM (SELECT ($${stale}$$::note).*) o WHERE n.id = 77",
    )  # fmt: skip
    verdict = look(notes, repair=True)
    assert verdict.differences[0].reason.endswith("the newest write")
    assert notes.rows(DE, "SELECT title FROM note WHERE id = 77") == [("newer",)]
    assert ledger(notes, DE) == [("title", "t77", "newer", "repair: the newest write")]
    notes.assert_equal()


def test_a_lost_delete_is_judged_by_the_tombstone(notes: Mesh) -> None:
    notes.write(EU, "DELETE FROM note WHERE id = 77")
    row = notes.rows(DE, "SELECT note::text FROM note WHERE id = 77")[0][0]
    notes.settle()
    columns = "id, title, body, votes, doc, _born, _stamp, _fields, _base"
    back = f"INSERT INTO note ({columns}) SELECT {columns} FROM (SELECT ($${row}$$::note).*) o"
    behind_its_back(notes, DE, back, "DELETE FROM fabric.tombstone")
    (found,) = look(notes).differences
    assert found.reason == "deleted, and still there in eu-central"
    assert look(notes, repair=True).equal
    assert notes.rows(DE, "SELECT * FROM note WHERE id = 77") == []
    assert [row[0] for row in notes.rows(DE, "SELECT pk FROM fabric.tombstone")] == [["77"]]
    ((field, loser, winner, rule),) = ledger(notes, DE)
    assert (field, loser["title"], winner) == ("*", "t77", None)
    assert rule == "repair: its deletion is the newest write"
    notes.assert_equal()


def test_a_row_that_was_written_after_its_deletion_is_no_lost_delete(notes: Mesh) -> None:
    notes.write(EU, "DELETE FROM note WHERE id = 77")
    notes.write(EU, "INSERT INTO note (id, title) VALUES (77, 'again')")
    notes.settle()
    behind_its_back(notes, EU, "DELETE FROM note WHERE id = 77")
    assert look(notes).differences[0].reason == "missing in eu-west"
    assert look(notes, repair=True).equal
    assert notes.rows(EU, "SELECT title FROM note WHERE id = 77") == [("again",)]
    notes.assert_equal()


def test_a_stamp_of_the_future_does_not_make_a_forged_value_win(notes: Mesh) -> None:
    behind_its_back(
        notes, DE, "UPDATE note SET title = 'forged', _stamp = _stamp + (1::bigint << 55),"
        " _fields = jsonb_build_object('title', _stamp + (1::bigint << 55)) WHERE id = 77",
    )  # fmt: skip
    assert look(notes, repair=True).equal
    assert notes.rows(DE, "SELECT title FROM note WHERE id = 77") == [("t77",)]


def test_with_two_replicas_the_one_whose_region_wrote_the_value_is_right(notes: Mesh) -> None:
    two = replace(notes.spec, regions=(EU, US))
    # Of the titles EU is the writer, of the votes US.
    behind_its_back(notes, US, "UPDATE note SET title = 'forged', votes = 1 WHERE id = 3")
    behind_its_back(notes, EU, "UPDATE note SET votes = 9 WHERE id = 3")

    async def run() -> Verdict:
        async with applied(notes):
            return await verify.verify(notes.deployment, two, repair=True)

    verdict = notes.loop.run_until_complete(run())
    assert verdict.equal, verdict.document()
    for region in (EU, US):
        assert notes.rows(region, "SELECT title, votes FROM note WHERE id = 3") == [("t3", 1)]


def test_where_nothing_speaks_for_a_side_nothing_is_changed(notes: Mesh) -> None:
    for region in REGIONS:
        behind_its_back(notes, region, f"UPDATE note SET title = '{region}' WHERE id = 77")
    # Whose the value is has another one, and so has everybody: the writer's is taken.
    assert look(notes, repair=True).equal
    for number, region in enumerate((DE, US)):
        behind_its_back(notes, region, f"UPDATE note SET title = '{number}' WHERE id = 77")
    behind_its_back(notes, EU, "DELETE FROM note WHERE id = 77")
    verdict = look(notes, repair=True)
    assert (verdict.equal, verdict.repaired) == (False, 0)
    assert "no replica is better than another about title" in verdict.differences[0].reason
    assert notes.rows(EU, "SELECT * FROM note WHERE id = 77") == []
    behind_its_back(notes, DE, "UPDATE note SET title = '1' WHERE id = 77")
    assert look(notes, repair=True).equal


def test_many_lost_rows_come_back_and_some_of_them_are_named(
    notes: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regions.replication.verification.run.SHOWN", 20)
    behind_its_back(notes, DE, "DELETE FROM note WHERE id > 500")
    verdict = look(notes, repair=True)
    assert (verdict.found, verdict.repaired, verdict.equal) == (100, 100, True)
    assert len(verdict.differences) == 20
    notes.assert_equal()


def test_only_what_differs_is_gone_into(notes: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row of 600: one branch of 256 is read row by row."""
    from regions.replication.verification import digests

    behind_its_back(notes, US, "UPDATE note SET title = '' WHERE id = 77")
    asked: list[int] = []
    leaves = digests.leaves

    def counted(table: Any, tenant: Any, under: Any, depth: int) -> Any:
        asked.append(len(under))
        return leaves(table, tenant, under, depth)

    monkeypatch.setattr(digests, "leaves", counted)
    assert look(notes).found == 1
    assert asked == [1]


def test_rows_that_writers_write_are_no_differences_and_a_real_one_is_found(notes: Mesh) -> None:
    behind_its_back(notes, US, "UPDATE note SET title = 'forged' WHERE id = 599")

    async def write(region: str, stop: asyncio.Event) -> int:
        dsn = notes.deployment.dsn(region, notes.spec.database, OWNER_ROLE)
        done = 0
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as session:
            while not stop.is_set():
                done += 1
                await session.execute(
                    "UPDATE note SET votes = votes + 1, body = %s WHERE id = %s",
                    (region, 1 + done % 40),
                )
                key = 10_000 + done * 32 + notes.node(region)
                await session.execute("INSERT INTO note (id, title) VALUES (%s, '-')", (key,))
                await session.execute("DELETE FROM note WHERE id = %s", (100 + done % 50,))
                await asyncio.sleep(0.01)
        return done

    async def run() -> tuple[list[Verdict], int]:
        stop = asyncio.Event()
        async with applied(notes):
            writers = [asyncio.create_task(write(region, stop)) for region in REGIONS]
            await asyncio.sleep(0.2)
            found = [await verify.verify(notes.deployment, notes.spec) for _ in range(2)]
            found.append(await verify.verify(notes.deployment, notes.spec, repair=True))
            found.append(await verify.verify(notes.deployment, notes.spec))
            stop.set()
            return found, sum(await asyncio.gather(*writers))

    found, written = notes.loop.run_until_complete(run())
    assert written > 50
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
            await repairing.be_alone({DE: session})
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


def test_a_table_or_a_column_that_one_region_lacks_is_said_and_the_rest_is_compared(
    notes: Mesh,
) -> None:
    behind_its_back(notes, US, "UPDATE note SET title = 'f77' WHERE id = 77")
    with notes.administrator(DE) as admin:
        admin.execute("INSERT INTO fabric.relation (rel, key, columns) SELECT 'public.page', key,"
                      " columns FROM fabric.relation WHERE rel = 'public.note'")  # fmt: skip
        admin.execute("CREATE TABLE page (LIKE note INCLUDING ALL)")
        try:
            found = look(notes).differences
        finally:
            admin.execute("DROP TABLE page")
            admin.execute("DELETE FROM fabric.relation WHERE rel = 'public.page'")
    assert [(one.table, one.reason) for one in found] == [
        ("public.page", "there is no such table in eu-west, us-east"),
        ("public.note", "differs in title"),
    ]
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
        link = Link("lab", dsn, timeout=2.0)
        async with applied(notes):
            agent = asyncio.create_task(Verifier(notes.deployment, EU, notes.spec, link).run())
            while not notes.rows(US, kept):
                await asyncio.sleep(0.05)
            agent.cancel()
            await asyncio.gather(agent, return_exceptions=True)
        await link.close()

    try:
        notes.loop.run_until_complete(asyncio.wait_for(run(), 60))
    finally:
        for region in REGIONS:
            notes.write(region, "UPDATE fabric.member SET verify_every = '1 day'")
    assert {notes.rows(region, kept)[0] for region in REGIONS} == {("agent:eu-west", 1, 0, None)}
    assert notes.rows(US, "SELECT title FROM note WHERE id = 77") == [("forged",)]


def test_a_server_that_answers_nothing_is_an_error_that_names_it(
    notes: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regions.replication.verification.cut.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("regions.replication.verification.record.PATIENCE_SECONDS", 0.5)
    with notes.administrator(DE) as admin, admin.transaction():
        admin.execute("LOCK TABLE fabric.member IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(ReplicaDown, match=r"eu-central has not answered for 0.5 s"):
            notes.loop.run_until_complete(verify.verify(notes.deployment, notes.spec))
