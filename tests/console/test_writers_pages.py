"""A cell's writer and policy from the console: previewed, confirmed by name, queued once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import import_module
from threading import Event
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.db import Error, connections, transaction
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from console.tasks import change_policy, switch_over
from regions.deployment import Deployment
from regions.failover.preview_policy import preview_policy
from regions.models import Cell
from regions.topology import CellSpec, TenancyMode, WritePolicy
from tenants import audit
from tenants.databases import control_writer_alias
from tenants.errors import InvalidRequest, PolicyPending
from tenants.lifecycle.set_policy import set_policy
from tenants.models import Operation
from tests.tenants.workers import until

WRITER = "/console/cell/console-eu/writer/"
POLICY = "/console/cell/console-eu/policy/"
SUN = "eu-west 08:00 UTC, eu-central 20:00 UTC"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_before_a_switchover_it_says_what_moves_where_and_for_whom(operator: Client) -> None:
    html = operator.get(f"{WRITER}?to=eu-central").content.decode()
    for text in ("eu-west", "eu-central", "console-acme", "region switchover console-eu --to"):
        assert text in html
    assert "writes console-eu already" in operator.get(f"{WRITER}?to=eu-west").content.decode()


def test_an_unlawful_region_is_refused_and_nothing_is_queued(
    operator: Client, queue: redis.Redis
) -> None:
    data = {"operation": str(uuid4()), "confirm": "console-eu", "to": "us-east"}
    answer = operator.post(WRITER, data)
    assert answer.status_code == 422
    assert "B05" in answer.content.decode()
    assert not Operation.objects.filter(verb="switchover").exists()


@pytest.mark.parametrize(
    ("page", "chosen", "verb"),
    [
        (WRITER, {"to": "eu-central"}, "switchover"),
        (POLICY, {"policy": "follow_the_sun", "timetable": SUN}, "policy"),
    ],
)
def test_the_cells_name_has_to_be_typed_and_a_double_click_starts_it_once(
    operator: Client, queue: redis.Redis, page: str, chosen: dict[str, str], verb: str
) -> None:
    data = {"operation": str(uuid4()), "confirm": "eu", **chosen}
    refused = operator.post(page, data)
    assert refused.status_code == 422
    assert "Type console-eu to confirm" in refused.content.decode()
    first, second = (operator.post(page, data | {"confirm": "console-eu"}) for _ in range(2))
    assert first["Location"] == second["Location"]
    operation = Operation.objects.get(verb=verb)
    assert chosen.items() <= operation.arguments.items()
    assert queue.llen("eu-west") + queue.llen("celery") == 1


def test_a_policy_that_not_all_regions_can_hear_of_is_refused(operator: Client) -> None:
    html = operator.get(f"{POLICY}?policy=active_active").content.decode()
    assert "would go on by the old policy" in html  # nobody made this cell's databases
    html = operator.get(f"{POLICY}?policy=follow_the_sun&timetable=never").content.decode()
    assert "is no shift" in html


@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        (switch_over, {"cell": "console-eu", "to": "us-east"}),
        (change_policy, {"cell": "console-eu", "policy": "active_active", "timetable": ""}),
    ],
)
def test_what_is_refused_ends_as_failed_with_the_reason(
    operator: Client, task, arguments: dict[str, str]
) -> None:
    operation = Operation.objects.create(
        verb="policy", slug="console-eu", actor="me", arguments=arguments
    )
    task(str(operation.id))
    operation.refresh_from_db()
    assert operation.state == Operation.State.FAILED
    assert operation.error


def test_a_change_of_policy_that_another_operators_overtakes_is_refused(
    registry: Deployment,
) -> None:
    using = control_writer_alias()

    def somebody_waits() -> bool:
        with connections[using].cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks"
                " WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
            )
            return bool(cursor.fetchone()[0])

    def change() -> None:
        try:
            set_policy(
                "console-eu",
                policy="follow_the_sun",
                timetable=SUN,
                actor="me",
                tell=lambda _: None,
            )
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic(using=using):
            cell = Cell.objects.using(using).select_for_update().get(name="console-eu")
            mine = pool.submit(change)
            until(somebody_waits)
            cell.policy = "active_active"
            cell.save(using=using)
            audit.record("set_policy", "console-eu", actor="bob", using=using)
        with pytest.raises(InvalidRequest, match=r"bob \(.+ UTC\) has just made console-eu"):
            mine.result()
    assert Cell.objects.get(name="console-eu").policy == "active_active"


def test_an_operators_machine_that_dies_in_the_midst_of_it_keeps_nobody_waiting(
    registry: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not close its connection: nobody says that it is gone."""
    module = import_module("tenants.lifecycle.set_policy")
    monkeypatch.setattr(module, "HELD_MS", 50)
    monkeypatch.setattr(module, "IN_FORCE_SECONDS", 0.0)
    how: dict[str, Any] = {"policy": "follow_the_sun", "timetable": SUN, "tell": lambda _: None}
    stands_still, is_over = Event(), Event()
    record = audit.record

    def freeze(*args: Any, **kwargs: Any) -> None:
        if kwargs["actor"] == "dead":
            stands_still.set()
            is_over.wait(120)
        record(*args, **kwargs)

    monkeypatch.setattr(audit, "record", freeze)

    def change() -> None:
        try:
            set_policy("console-eu", actor="dead", **how)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        dead = pool.submit(change)
        try:
            assert stands_still.wait(120)
            with pytest.raises(PolicyPending):  # nobody made this cell's databases
                set_policy("console-eu", actor="bob", **how)
        finally:
            is_over.set()
        with pytest.raises(Error):
            dead.result()
    assert Cell.objects.get(name="console-eu").policy == "follow_the_sun"
    assert audit.last("set_policy", "console-eu", using=control_writer_alias()).startswith("bob")


def test_who_may_only_look_can_change_neither(viewer: Client) -> None:
    for page in (WRITER, POLICY):
        assert viewer.get(page).status_code == 403
        assert viewer.post(page, {"confirm": "console-eu"}).status_code == 403


regions = st.sampled_from([("eu-west",), ("eu-west", "eu-central"), ("eu-west", "eu-central", "x")])


@given(
    regions,
    st.sampled_from(WritePolicy),
    st.sampled_from(WritePolicy),
    st.sampled_from([None, "eu-west", "eu-central"]),
    st.frozensets(st.sampled_from(["eu-west", "eu-central", "x"])),
)
def test_a_preview_names_lawful_writers_only_and_refuses_what_would_leave_two_policies(
    names: tuple[str, ...],
    was: WritePolicy,
    wanted: WritePolicy,
    writer: str | None,
    up: frozenset[str],
) -> None:
    spec = CellSpec("eu", TenancyMode.SHARED, was, names)
    holder = writer if writer in names else None
    if wanted is WritePolicy.FOLLOW_THE_SUN and len(names) < 2:
        return
    change = preview_policy(spec, holder, wanted, SUN, up=up, now=NOON)
    assert set(change.then) <= set(names)
    assert len(change.then) == (1 if wanted.leased else len(names))
    assert (change.dark is not None) == (len(names) == 1)
    differs = was.leased is not wanted.leased
    assert (change.refused is not None) == (differs and not set(names) <= up)
