"""Tasks wait for a tenant that moves, follow one that has moved, and outlive their workers."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.celery import app
from regions import cells
from regions.topology import CellSpec, Lease, TenancyMode, WritePolicy
from tenants.celery.message import stamp
from tenants.celery.place import place_of
from tenants.context import tenant_scope
from tenants.models import Tenant
from tenants.seams import record_for
from testkit.control import forget_maps, publish_maps
from testkit.servers import start_valkey
from tests.tenants import jobs
from tests.tenants.conftest import onboard
from tests.tenants.kept import Leased
from tests.tenants.workers import HASTY, until, worker

PATIENCE = 240
FLOOD = 2_000


@pytest.fixture
def folder(tmp_path: Path, valkeys, tenants, deployment) -> Iterator[Path]:
    publish_maps(deployment)
    yield tmp_path
    forget_maps(deployment)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def set_state(slug: str, state: str, deployment) -> None:
    Tenant.objects.filter(slug=slug).update(state=state)
    publish_maps(deployment)


def test_a_quiet_tenant_waits_for_a_few_tasks_of_a_flood_of_thousands(folder, shared_pair):
    """Few are those that the worker takes from the queue first, however fast it then works."""
    loud, quiet = shared_pair
    path, log = folder / "order", folder / "worker-eu-west.log"
    sent = flood(loud, path, 0)
    with worker("eu-west", folder):
        until(lambda: len(lines(path)) > 50, PATIENCE)
        waited: list[int] = []
        while len(waited) < 5:
            if len(received(log)) > sent - FLOOD / 2:
                sent = flood(loud, path, sent)
            with tenant_scope(quiet):
                result = jobs.log.delay(str(path), f"quiet {len(waited)}")
                before = len(received(log))
                result.get(timeout=PATIENCE)
            if len(received(log)) < sent:  # or the flood was over, and nothing was shown
                waited.append(received(log).index(result.id) - before)
    app.control.purge()
    assert max(waited) <= 4, f"so many tasks of the flood came first: {waited}"


def received(log: Path) -> list[str]:
    """The tasks' ids, in the order in which the worker took them."""
    return re.findall(r"Task \S+\[(.+?)\] received", log.read_text())


def test_tasks_of_a_moving_tenant_wait_until_it_has_moved(folder, shared_pair, deployment):
    tenant, _ = shared_pair
    set_state(tenant.slug, "moving", deployment)
    try:
        with worker("eu-west", folder):
            with tenant_scope(tenant):
                result = jobs.note.delay("after the move")
            log = folder / "worker-eu-west.log"
            until(lambda: "sent on: moving" in log.read_text(), PATIENCE, log.read_text)
            with tenant_scope(tenant):
                assert result.state == "PENDING"
            set_state(tenant.slug, "active", deployment)
            with tenant_scope(tenant):
                assert result.get(timeout=PATIENCE) == tenant.slug
    finally:
        set_state(tenant.slug, "active", deployment)


def test_a_task_waits_while_its_tenant_has_all_of_its_connections_in_use(
    folder, tenants, deployment
):
    """The worker has a thread for it, and another tenant's task gets that."""
    tenant, other = tenants["shared"][0], tenants["schema"][0]
    Tenant.objects.filter(slug=tenant.slug).update(limits={"connections": 1})
    publish_maps(deployment)
    try:
        with worker("eu-west", folder):
            with tenant_scope(tenant):
                holding = jobs.hold.delay(str(folder / "enough"))
            until(lambda: held(tenant, deployment), PATIENCE)
            with tenant_scope(tenant):
                waiting = jobs.note.delay("waited")
            log = folder / "worker-eu-west.log"
            full = "sent on: the tenant has all of its connections in use"
            until(lambda: full in log.read_text(), PATIENCE, log.read_text)
            with tenant_scope(other):
                assert jobs.note.delay("not theirs").get(timeout=PATIENCE) == other.slug
            with tenant_scope(tenant):
                assert waiting.state == "PENDING"
                (folder / "enough").touch()
                assert holding.get(timeout=PATIENCE) == tenant.slug
                assert waiting.get(timeout=PATIENCE) == tenant.slug
    finally:
        (folder / "enough").touch()
        Tenant.objects.filter(slug=tenant.slug).update(limits={})
        publish_maps(deployment)


def held(tenant, deployment) -> bool:
    """Whether a transaction of the tenant's is open in its cell."""
    with cells.administrator(deployment, "eu-west") as admin:
        row = admin.execute(
            "SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE %s",
            [f"%{tenant.id}%"],
        ).fetchone()
    return row is not None


def test_tasks_of_a_suspended_tenant_are_refused(folder, shared_pair, deployment):
    tenant, _ = shared_pair
    set_state(tenant.slug, "suspended", deployment)
    try:
        with (
            worker("eu-west", folder),
            tenant_scope(tenant),
            pytest.raises(Exception, match="which is suspended"),
        ):
            jobs.note.delay("while suspended").get(timeout=PATIENCE)
    finally:
        set_state(tenant.slug, "active", deployment)


def test_a_task_follows_its_tenant_to_the_region_that_writes_its_cell(folder, deployment, appliers):
    """It was sent in eu-west; by the time it is taken the cell is written in eu-central."""
    tenant = record_for(onboard("follows", "dedicated", policy="active_passive"))
    sent_and_handed_over(Leased(deployment, tenant), path := folder / "order", "followed")
    with worker("eu-west", folder):
        log = folder / "worker-eu-west.log"
        until(lambda: "runs in eu-central" in log.read_text(), PATIENCE, log.read_text)
        assert lines(path) == []
        with worker("eu-central", folder):
            until(lambda: lines(path), PATIENCE)
    assert lines(path) == [f"{tenant.slug} followed"]


def test_a_task_waits_while_the_region_that_it_follows_to_is_away(
    folder, deployment, appliers, valkey_servers
):
    tenant = record_for(onboard("waits", "dedicated", policy="active_passive"))
    sent_and_handed_over(Leased(deployment, tenant), path := folder / "order", "arrived")
    central, tmp = deployment.region("eu-central").valkey_url(), folder
    valkey_servers["eu-central"].terminate()
    valkey_servers["eu-central"].wait(timeout=60)
    try:
        with worker("eu-west", folder):
            log = folder / "worker-eu-west.log"
            until(lambda: "eu-central does not answer" in log.read_text(), PATIENCE, log.read_text)
            valkey_servers["eu-central"] = start_valkey(central, tmp)
            with worker("eu-central", folder):
                until(lambda: lines(path), PATIENCE, log.read_text)
    finally:
        if valkey_servers["eu-central"].poll() is not None:
            valkey_servers["eu-central"] = start_valkey(central, tmp)
    assert lines(path) == [f"{tenant.slug} arrived"]


def sent_and_handed_over(leased: Leased, path: Path, text: str) -> None:
    leased.grant("eu-west")
    with tenant_scope(leased.tenant):
        jobs.log.delay(str(path), text)
    leased.arrived(1, "eu-central")
    leased.grant("eu-central")


def test_a_task_whose_worker_was_killed_is_run_by_the_next(folder, shared_pair):
    tenant, _ = shared_pair
    with worker("eu-west", folder) as process:
        with tenant_scope(tenant):
            result = jobs.die_once.delay(str(folder / "died"))
        assert process.wait(timeout=PATIENCE) == -signal.SIGKILL
    with worker("eu-west", folder, settings=HASTY), tenant_scope(tenant):
        assert result.get(timeout=PATIENCE) == tenant.slug


LEASED = CellSpec("c", TenancyMode.SHARED, WritePolicy.ACTIVE_PASSIVE, ("eu-west", "eu-central"))
FREE = replace(LEASED, policy=WritePolicy.ACTIVE_ACTIVE)


@pytest.mark.parametrize(
    ("cell", "writer", "here", "expected"),
    [
        (LEASED, "eu-west", "eu-west", "eu-west"),
        (LEASED, "eu-central", "eu-west", "eu-central"),
        (LEASED, None, "eu-west", None),
        (LEASED, "eu-central", "us-east", "eu-central"),
        (LEASED, None, "us-east", "eu-west"),
        (LEASED, "us-east", "eu-west", None),
        (FREE, None, "eu-central", "eu-central"),
        (FREE, None, "us-east", "eu-west"),
    ],
)
def test_a_task_runs_where_its_cell_is_written(cell, writer, here, expected):
    lease = Lease(writer, 1) if writer else None
    assert place_of(cell, lease, here).region == expected


def flood(tenant, path: Path, sent: int) -> int:
    """Tasks of ten milliseconds, after those that were sent before; how many that makes."""
    name = jobs.log.name
    with app.connection_for_write() as connection, tenant_scope(tenant):
        producer = app.amqp.Producer(connection)
        for number in range(sent, sent + FLOOD):
            task_id = f"flood {number}"
            task = app.amqp.create_task_message(task_id, name, [str(path), task_id, 0.01], {})
            headers = stamp(name, task_id)
            app.amqp.send_task_message(producer, name, task, headers=headers, queue="eu-west")
    return sent + FLOOD
