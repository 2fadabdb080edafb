"""A task has a row from when its transaction commits until it has ended, which its tenant alone can
touch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from django.db import connections, transaction

from config.celery import app
from tenants.celery import open_tasks
from tenants.celery.take_over import tell
from tenants.context import tenant_scope
from tenants.databases import cell_alias
from tenants.errors import InvalidRequest, UnknownTask
from tenants.seams import cell_spec
from testkit.control import forget_maps, publish_maps
from testkit.servers import start_valkey
from tests.tenants import jobs
from tests.tenants.kept import Leased
from tests.tenants.workers import until, worker

PATIENCE = 240
HOME = "eu-west"


@pytest.fixture
def place(valkeys, deployment, shared_pair) -> Iterator[Leased]:
    """The first of two tenants; every region writes, its home runs the tasks."""
    publish_maps(deployment)
    there = Leased(deployment, shared_pair[0])
    forget_tasks(there)
    yield there
    forget_tasks(there)
    forget_maps(deployment)


def forget_tasks(place: Leased) -> None:
    place.ask(HOME, "DELETE FROM fabric.task")
    app.control.purge()


def alias(place: Leased) -> str:
    with tenant_scope(place.tenant):
        return jobs.Tag.objects.all().db


def done(place: Leased, name: str) -> bool:
    with tenant_scope(place.tenant):
        return jobs.Tag.objects.filter(name__startswith=name).exists()


def test_what_is_rolled_back_was_never_sent(place: Leased):
    with tenant_scope(place.tenant):
        with pytest.raises(RuntimeError), transaction.atomic(using=alias(place)):
            jobs.tally.delay("undone")
            raise RuntimeError
        assert place.tasks(HOME) == []
        assert queued() == 0
        with transaction.atomic(using=alias(place)):
            jobs.tally.delay("kept")
            assert queued() == 0, "nobody may begin before the commit"
        assert place.tasks(HOME) == ["tally"]
        assert queued() == 1


def test_a_row_goes_when_its_task_has_ended_however(place: Leased, tmp_path: Path):
    with worker(HOME, tmp_path), tenant_scope(place.tenant):
        revoked = str(uuid4())
        # Before it is sent: the worker may have it first.
        assert app.control.revoke(revoked, reply=True, limit=1, timeout=PATIENCE)
        jobs.tally.delay("ended")
        jobs.fail.delay()
        jobs.retry_within.delay("retried")
        jobs.tally.apply_async(("late",), expires=0.01, countdown=1)
        jobs.tally.apply_async(("revoked",), task_id=revoked)
        until(lambda: place.tasks(HOME) == [], PATIENCE)
    assert done(place, "ended")
    assert done(place, "retried ")
    assert not any(done(place, name) for name in ("late", "revoked", "retried,"))


def test_a_broker_that_is_away_costs_no_task(place: Leased, valkey_servers, tmp_path: Path):
    url = place.deployment.region(HOME).valkey_url()
    valkey_servers[HOME].terminate()
    valkey_servers[HOME].wait(timeout=60)
    try:
        with tenant_scope(place.tenant):
            jobs.tally.apply_async(("told later",), retry=False, ignore_result=True)
    finally:
        valkey_servers[HOME] = start_valkey(url, tmp_path)
    assert tell(cell_spec(place.tenant.cell), HOME) == 0, "it is not long ago"
    place.ask(HOME, "UPDATE fabric.task SET ring_at = now()")
    assert tell(cell_spec(place.tenant.cell), HOME) == 1
    assert tell(cell_spec(place.tenant.cell), HOME) == 0
    with worker(HOME, tmp_path):
        until(lambda: done(place, "told later"), PATIENCE)


def test_a_task_that_takes_its_workers_with_it_is_parked_for_an_operator(
    place: Leased, tmp_path: Path
):
    with tenant_scope(place.tenant):
        sent = jobs.tally.delay("poison")
    lost = "UPDATE fabric.task SET claimed_at = now() - interval '1 day', claims = 5, lost = 4"
    place.ask(HOME, lost)
    with worker(HOME, tmp_path):
        until(lambda: listed(place)[0]["state"] == "parked", PATIENCE)
        assert not done(place, "poison")
        open_tasks.again(place.tenant.slug, sent.id)
        assert tell(cell_spec(place.tenant.cell), HOME) == 1
        until(lambda: done(place, "poison"), PATIENCE)
        until(lambda: listed(place) == [], PATIENCE)
    with pytest.raises(UnknownTask):
        open_tasks.again(place.tenant.slug, sent.id)


def test_an_operator_drops_a_task(place: Leased, tmp_path: Path):
    with tenant_scope(place.tenant):
        open_tasks.drop(place.tenant.slug, jobs.tally.delay("dropped").id)
        with worker(HOME, tmp_path):
            until(lambda: queued() == 0, PATIENCE)
            jobs.tally.delay("next")
            until(lambda: done(place, "next"), PATIENCE)
    assert not done(place, "dropped")


def test_where_every_region_writes_an_operator_says_who_does_what_a_lost_one_left(
    place: Leased, tmp_path: Path
):
    spec = cell_spec(place.tenant.cell)
    with tenant_scope(place.tenant):
        jobs.tally.delay("left")
    place.ask(HOME, "UPDATE fabric.task SET region = 'eu-central'")
    assert tell(spec, HOME) == 0, "it is the other one's"
    with pytest.raises(InvalidRequest):
        open_tasks.take_over(spec.name, lost=HOME, by=HOME)
    assert open_tasks.take_over(spec.name, lost="eu-central", by=HOME) == 1
    assert tell(spec, HOME) == 1
    with worker(HOME, tmp_path):
        until(lambda: done(place, "left"), PATIENCE)


def test_declared_tasks_have_no_row(place: Leased, settings):
    settings.MERIDIAN_UNKEPT_TASKS = ("tests.tenants.jobs.whos*",)
    with tenant_scope(place.tenant):
        jobs.whose.delay()
        assert place.tasks(HOME) == []
        assert queued() == 1


def test_a_tenant_sees_and_touches_its_own_tasks_only(valkeys, deployment, pair, raw):
    publish_maps(deployment)
    place, other = Leased(deployment, pair[0]), pair[1]
    with tenant_scope(place.tenant):
        secret = jobs.tally.delay("secret").id
    session = raw(place.tenant)
    for statement in ("SELECT id FROM fabric.task", "SELECT id FROM fabric.task_due"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(statement)
    assert session.execute("SELECT * FROM tenancy.look_at_task(%s)", [secret]).fetchall() == []
    with tenant_scope(other), connections[cell_alias(other.cell, region=HOME)].cursor() as cursor:
        cursor.execute("SELECT * FROM tenancy.look_at_task(%s)", [secret])
        assert cursor.fetchall() == []
        cursor.execute("SELECT tenancy.claim_task(%s, 0, 'me', 'it', '1 hour')", [secret])
        assert cursor.fetchone() == (None,)
        cursor.execute("SELECT tenancy.drop_task(%s)", [secret])
    assert place.tasks(HOME) == ["tally"]
    forget_tasks(place)
    forget_maps(deployment)


def listed(place: Leased) -> list[dict[str, object]]:
    return open_tasks.listed(cell=None, tenant=place.tenant.slug, most=10)


def queued() -> int:
    """How many messages wait in the home's broker."""
    with app.connection_for_read() as connection:
        return int(connection.default_channel._size(HOME))
