"""What goes wrong: for one tenant, for too many, for a while."""

from __future__ import annotations

import re
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
from django.core.management import CommandError
from django.db import connections
from psycopg import sql

from tenants.claim import control_session
from tenants.rollout import locks
from tenants.rollout.models import RolloutUnit
from tests.tenants.migrating.conftest import EU, HOME, brought, migrate, run_with
from tests.tenants.migrating.looking import applied, columns, out_of_reach, owner, run

UNIQUE = (
    'migrations.AddField("book", "pages", models.IntegerField(null=True)),'
    'migrations.AddConstraint("book", models.UniqueConstraint(fields=["title"], name="one_title")),'
)


PAGES = 'migrations.AddField("book", "pages", models.IntegerField(null=True)),'


WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = to_regclass(%s))"


def spoil(tenant) -> None:
    """Its rows can't bear what comes."""
    run(tenant, "INSERT INTO shelf_book (title) VALUES ('twice'), ('twice')")


def test_a_tenant_that_fails_stays_as_it_was_in_every_replica_and_the_others_go_on(place, shelf):
    where = place("schema", EU, tenants=4)
    bad = where.tenants[2]
    spoil(bad)
    name = shelf.add(UNIQUE)
    report = migrate(where.cell, "--contract")
    assert (report["status"], report["migrated"], report["failed"]) == (1, 3, 1)
    for region in EU:
        assert "pages" not in columns(bad, region)
        assert applied(bad, region) == {"0001_initial"}
        assert all(name in applied(t, region) for t in where.tenants if t.slug != bad.slug)
    run(bad, "INSERT INTO shelf_book (title) VALUES ('still served')")
    row = RolloutUnit.objects.get(slug=bad.slug)
    assert (row.state, row.attempt) == ("failed", 1)
    assert row.error == "UniqueViolation 23505 shelf_book one_title in shelf.0002_next, eu-west"
    assert "twice" not in row.error
    again = migrate(where.cell, "--contract")
    assert (again["quarantined"], again["units"], again["status"]) == ([bad.slug], [], 1)
    run(bad, "DELETE FROM shelf_book")
    brought(where.cell, "--contract", "--retry-quarantined")
    assert name in applied(bad, EU[1])
    assert brought(where.cell)["state"] == "nothing"


def test_too_many_failures_end_the_run_and_the_rest_is_untouched(place, shelf):
    where = place(tenants=8)
    for tenant in where.tenants[:4]:
        spoil(tenant)
    shelf.add(UNIQUE)
    pace = ("--contract", "--canary", "0", "--wave", "2", "--halt-after", "2", "--parallel", "1")
    report = migrate(where.cell, *pace)
    assert (report["state"], report["status"]) == ("halted", 1)
    assert (report["failed"], report["migrated"], report["untouched"]) == (4, 0, 4)
    resumed = migrate(where.cell, "--resume", *pace)
    assert (resumed["run"], resumed["migrated"]) == (report["run"], 4)
    assert len(resumed["quarantined"]) == 4


def test_when_the_canary_fails_hardly_anybody_is_touched(place, shelf):
    where = place(tenants=5)
    for tenant in where.tenants:
        spoil(tenant)
    shelf.add(UNIQUE)
    report = migrate(where.cell, "--contract", "--canary", "1")
    assert (report["state"], report["failed"], report["untouched"]) == ("halted", 2, 3)


def test_a_long_reader_is_not_queued_behind_and_the_change_is_tried_again(place, shelf):
    where = place(tenants=1)
    (tenant,) = where.tenants
    shelf.add(PAGES)
    table = sql.Identifier(tenant.schema, "shelf_book")
    with ExitStack() as stack:
        reader, another, watcher = (stack.enter_context(owner(where.cell, HOME)) for _ in range(3))
        reader.execute("BEGIN")
        reader.execute(sql.SQL("SELECT count(*) FROM {}").format(table))
        another.execute("SET lock_timeout = '240s'")  # for the reader, and so for ever
        outcome: list[dict] = []

        def work() -> None:
            try:
                outcome.append(migrate(where.cell, "--lock-timeout", "2"))
            finally:
                connections.close_all()  # this thread's

        worker = threading.Thread(target=work)
        worker.start()
        deadline = time.monotonic() + 240
        seen = waits = False
        while not seen or waits:  # until its first attempt has given up
            assert time.monotonic() < deadline
            (waits,) = watcher.execute(WAITS, (table.as_string(),)).fetchone()
            seen = seen or waits
            another.execute(sql.SQL("SELECT count(*) FROM {}").format(table))
            time.sleep(0.01)
        reader.execute("COMMIT")
        worker.join()
    assert outcome[0]["status"] == 0, outcome
    assert outcome[0]["units"][0]["attempts"] > 1


def test_a_lock_that_is_never_free_blocks_its_tenant_and_is_no_quarantine(place, shelf):
    where = place(tenants=3)
    locked = where.tenants[1]
    shelf.add(PAGES)
    table = sql.Identifier(locked.schema, "shelf_book")
    with owner(where.cell, HOME) as reader:
        reader.execute("BEGIN")
        reader.execute(sql.SQL("SELECT count(*) FROM {}").format(table))
        report = migrate(where.cell, "--lock-timeout", "1", "--attempts", "2")
    assert (report["migrated"], report["blocked"], report["status"]) == (2, 1, 1)
    row = RolloutUnit.objects.get(slug=locked.slug)
    assert (row.state, row.attempt) == ("blocked", 2)
    assert row.error.startswith("LockNotAvailable 55P03")
    assert brought(where.cell)["migrated"] == 1


def test_two_runs_never_work_on_one_cell(place, shelf, monkeypatch):
    where = place(tenants=1)
    shelf.add(PAGES)
    refused = []
    from tenants.rollout import crew

    original = crew._ended

    def meanwhile(carrier, work):
        with pytest.raises(CommandError, match="is being migrated by another process"):
            migrate(where.cell)
        refused.append(work)
        return original(carrier, work)

    monkeypatch.setattr(crew, "_ended", meanwhile)
    brought(where.cell)
    assert refused


def test_at_its_end_a_run_lets_its_cells_go_though_its_session_lives_on(control, monkeypatch):
    with ExitStack() as stack:

        @contextmanager
        def lasting():
            yield stack.enter_context(control_session())

        monkeypatch.setattr(locks, "control_session", lasting)
        for _ in range(2):
            with locks.claimed(["nobodys"]):
                pass


def test_a_replica_that_is_down_is_said_before_anything_is_changed(place, shelf):
    where = place("schema", EU, tenants=1)
    shelf.add(PAGES)
    (tenant,) = where.tenants
    with out_of_reach(where.cell, EU[1]):
        with pytest.raises(CommandError, match=f"can't be reached in {EU[1]}.*--without"):
            migrate(where.cell)
        assert "pages" not in columns(tenant, HOME)
        report = brought(where.cell, "--without", EU[1])
    assert report["units"][0]["left_for_later"] == [EU[1]]
    assert "pages" in columns(tenant, HOME)
    assert "pages" not in columns(tenant, EU[1])
    brought(where.cell)
    assert "pages" in columns(tenant, EU[1])


def test_a_replica_that_goes_down_blocks_those_who_come_and_the_run_is_taken_up_again(place, shelf):
    where = place("schema", EU, tenants=3)
    name = shelf.add(PAGES)
    with ExitStack() as stack:
        down = out_of_reach(where.cell, EU[1])
        report = run_with(where.cell, {2: lambda: stack.enter_context(down)})
        assert (report.count("done"), report.count("blocked")) == (1, 2)
    # Whoever was there before has lost its session, the others get none.
    said = rf"(OperationalError|AdminShutdown 57P01) in shelf\.{name}(, {EU[1]})?"
    for unit in RolloutUnit.objects.filter(state="blocked", cell=where.cell):
        assert re.fullmatch(said, unit.error), unit.error
    resumed = brought(where.cell, "--resume")
    assert (resumed["migrated"], resumed["quarantined"]) == (2, [])
    for tenant in where.tenants:
        assert all(name in applied(tenant, region) for region in EU)
