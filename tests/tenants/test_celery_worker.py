"""Tasks through a real broker, in real workers: whose they are, in whatever way they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
from celery import chain, chord, group

from config.celery import app
from desk.models import Tag
from regions import cells
from regions.deployment import APP_ROLE
from tenants.celery.message import stamp
from tenants.context import tenant_scope
from tenants.errors import NoTenantError, WrongTenantError
from testkit.control import forget_maps, publish_maps
from tests.tenants import jobs
from tests.tenants.workers import until, worker

PATIENCE = 240
AT_ONCE = 2


@pytest.fixture(scope="module", params=["threads", "prefork"])
def running(request, valkeys, tenants, deployment, tmp_path_factory) -> Iterator[Path]:
    """A worker of eu-west with two at a time; yields its log."""
    publish_maps(deployment)
    folder = tmp_path_factory.mktemp("worker")
    with worker("eu-west", folder, "--pool", request.param, "--concurrency", str(AT_ONCE)):
        yield folder / "worker-eu-west.log"
    forget_maps(deployment)


def tags() -> set[str]:
    return set(Tag.objects.values_list("name", flat=True))


def test_a_shared_task_of_an_unmodified_app_works_for_its_sender(running, pair):
    for tenant in pair:
        with tenant_scope(tenant):
            assert jobs.note.delay(f"plain {tenant.slug}").get(timeout=PATIENCE) == tenant.slug
    for tenant in pair:
        with tenant_scope(tenant):
            assert {name for name in tags() if name.startswith("plain")} == {f"plain {tenant.slug}"}


def test_a_tasks_statements_name_it(running, pair, deployment):
    for tenant in pair:
        with tenant_scope(tenant):
            for _ in range(2):
                jobs.note.delay("named").get(timeout=PATIENCE)
        with cells.administrator(deployment, "eu-west") as admin:
            until(partial(is_named, admin, tenant.slug), PATIENCE)


def is_named(admin: psycopg.Connection, slug: str) -> bool:
    told = admin.execute("SELECT query FROM pg_stat_activity WHERE usename = %s", (APP_ROLE,))
    comment = f"/*task='{jobs.note.name}',tenant='{slug}'*/"
    return any(comment in row[0] for row in told)


def test_tasks_of_two_tenants_at_once_do_not_mix(running, shared_pair):
    sent = []
    for number in range(40):
        tenant = shared_pair[number % 2]
        with tenant_scope(tenant):
            sent.append((tenant, jobs.note.delay(f"mixed {number}")))
    for tenant, result in sent:
        with tenant_scope(tenant):
            assert result.get(timeout=PATIENCE) == tenant.slug
    for parity, tenant in enumerate(shared_pair):
        with tenant_scope(tenant):
            mine = {name for name in tags() if name.startswith("mixed")}
        assert mine == {f"mixed {number}" for number in range(parity, 40, 2)}


def test_tasks_of_many_tenants_share_few_sessions_and_no_process_has_anothers(
    running, tenants, deployment
):
    everyone = [tenant for pair in tenants.values() for tenant in pair]
    sent = []
    for _ in range(6):
        for tenant in everyone:
            with tenant_scope(tenant):
                sent.append((tenant, jobs.session.delay(f"session-of {tenant.slug}")))
    processes: dict[int, set[int]] = {}
    for tenant, result in sent:
        with tenant_scope(tenant):
            found = result.get(timeout=PATIENCE)
        assert found["tenant"] == tenant.slug
        names = [name for name in found["names"] if name.startswith("session-of")]
        assert names == [f"session-of {tenant.slug}"]
        processes.setdefault(found["session"], set()).add(found["process"])
    assert all(len(owners) == 1 for owners in processes.values()), processes
    # Not the processes that answered here: one that only earlier tests used keeps its session too.
    # One that was closed ends a moment later.
    with cells.administrator(deployment, "eu-west") as admin:
        held = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE usename = %s AND datname LIKE 'cell%%' AND application_name = %s"
            " GROUP BY datname ORDER BY 1 DESC LIMIT 1"
        )
        name = [APP_ROLE, "meridian@eu-west"]
        until(lambda: admin.execute(held, name).fetchone() in [(n + 1,) for n in range(AT_ONCE)])


def test_every_way_of_sending_carries_the_tenant(running, shared_pair):
    one, other = shared_pair
    with tenant_scope(one):
        sent = {
            "by name": app.send_task("tests.tenants.jobs.whose"),
            "a signature": jobs.whose.s().apply_async(),
            "a chain": chain(jobs.whose.s(), jobs.whose.s(), jobs.whose.s()).delay(),
            "later": jobs.whose.apply_async(countdown=0.3),
            "a retry": jobs.fail_once.delay("retried"),
            "an own id": jobs.whose.apply_async(task_id="chosen-by-the-app"),
        }
        assert {way: result.get(timeout=PATIENCE) for way, result in sent.items()} == dict.fromkeys(
            sent, one.slug
        )
        several = group(jobs.whose.s() for _ in range(3)).delay()
        assert several.get(timeout=PATIENCE) == [one.slug] * 3
        gathered = chord([jobs.whose.s(), jobs.whose.s()], jobs.gather.s()).delay()
        assert gathered.get(timeout=PATIENCE) == ",".join([one.slug] * 3)
        assert jobs.whose.chunks([(1,), (2,)], 1)().get(timeout=PATIENCE) == [
            [one.slug],
            [one.slug],
        ]
    with tenant_scope(other):
        assert not tags() & {"retried", "gathered 2"}


def test_callbacks_belong_to_the_tenant(running, shared_pair):
    one, other = shared_pair
    with tenant_scope(one):
        jobs.whose.apply_async(link=jobs.note.si("linked"))
        jobs.fail.apply_async(link_error=jobs.note.si("after the error"))
        until(lambda: {"linked", "after the error"} <= tags(), PATIENCE, running.read_text)
    with tenant_scope(other):
        assert not tags() & {"linked", "after the error"}


def test_a_result_can_be_read_by_its_tenant_only(running, shared_pair):
    one, other = shared_pair
    with tenant_scope(one):
        result = jobs.whose.delay()
        assert result.get(timeout=PATIENCE) == one.slug
    with tenant_scope(other):
        assert app.AsyncResult(result.id).state == "PENDING"
        with pytest.raises(WrongTenantError):
            result.get(timeout=PATIENCE)
    assert app.AsyncResult(result.id).state == "PENDING"
    with tenant_scope(one):
        assert app.AsyncResult(result.id).result == one.slug


@pytest.mark.parametrize("attack", ["no tenant", "forged", "re-addressed", "another task"])
def test_a_message_that_is_not_the_tenants_own_is_refused(running, shared_pair, attack):
    """Whoever can write to the broker still can't make a task work for somebody else."""
    one, other = shared_pair
    name, task_id = "tests.tenants.jobs.note", f"attack {attack}"
    headers = headers_of(name, task_id, one)
    if attack == "no tenant":
        headers = {}
    elif attack == "forged":
        headers |= {"meridian_tenant": other.id.hex, "meridian_signature": "0" * 64}
    elif attack == "re-addressed":
        headers |= {"meridian_tenant": other.id.hex}
    else:
        headers = headers_of("tests.tenants.jobs.whose", task_id, one)
    before = running.stat().st_size
    publish_raw(name, task_id, [attack], headers)
    expected = b"NoTenantError" if attack == "no tenant" else b"WrongTenantError"
    until(lambda: expected in running.read_bytes()[before:], PATIENCE, running.read_text)
    for tenant in shared_pair:
        with tenant_scope(tenant):
            assert attack not in tags()


def test_a_genuine_message_written_by_hand_is_accepted(running, shared_pair):
    """The attacks above fail for their headers and for nothing else."""
    name = "tests.tenants.jobs.note"
    publish_raw(name, "by hand", ["by hand"], headers_of(name, "by hand", shared_pair[0]))
    with tenant_scope(shared_pair[0]):
        until(lambda: "by hand" in tags(), PATIENCE, running.read_text)


def test_logs_name_the_tenant_and_no_arguments(running, shared_pair):
    secret = "jane.doe@example.org"
    with tenant_scope(shared_pair[0]):
        jobs.note.delay(secret).get(timeout=PATIENCE)
        with pytest.raises(ZeroDivisionError):
            jobs.fail.delay(secret).get(timeout=PATIENCE)
    named = f'"tenant": "{shared_pair[0].slug}"'
    until(lambda: named in running.read_text(), PATIENCE, running.read_text)
    assert secret not in running.read_text()


def test_without_a_tenant_nothing_is_sent(control):
    for send in (jobs.whose.delay, jobs.whose.s().apply_async, jobs.whose.apply):
        with pytest.raises(NoTenantError, match="MERIDIAN_CONTROL_TASKS"):
            send()
    with pytest.raises(NoTenantError):
        app.send_task("tests.tenants.jobs.whose")


def headers_of(name, task_id, tenant):
    """What the platform would sign."""
    with tenant_scope(tenant):
        return stamp(name, task_id)


def publish_raw(name, task_id, args, headers) -> None:
    """As somebody who has the broker, and not this platform's Celery app."""
    message = app.amqp.create_task_message(task_id, name, args, {})
    with app.connection_for_write() as connection:
        app.amqp.send_task_message(
            app.amqp.Producer(connection),
            name,
            message,
            headers=headers,
            queue="eu-west",
        )
