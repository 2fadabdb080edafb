"""An operation whose worker is no more is not done later by surprise, and can be tried again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from console import tasks
from console.operations import recorder
from console.operations.claiming import LATE, SILENCE
from console.operations.queue import start
from regions.deployment import Deployment
from regions.errors import SwitchoverFailed
from regions.failover.aside import aside_now
from tenants.models import Operation
from tests.tenants.mortal import mortals
from tests.tenants.workers import until

ASIDE = {"region": "eu-west", "step": 1, "aside": True}


def asked(**values: Any) -> Operation:
    """To set a region aside."""
    made = {"verb": "evacuate", "slug": "eu-west", "actor": "me", "arguments": ASIDE}
    return Operation.objects.create(**(made | values))


def aged(operation: Operation, age: timedelta) -> None:
    Operation.objects.filter(id=operation.id).update(updated_at=timezone.now() - age)


def now(operation: Operation) -> Operation:
    operation.refresh_from_db()
    return operation


def test_what_a_killed_worker_had_begun_is_not_begun_again_when_its_message_comes_again(
    registry: Deployment, operator: Client
) -> None:
    operation = asked()
    with mortals("tests.console.mortal") as mortal:
        assert mortal.killed_at(0, "empty_region", operation_id=str(operation.id))
    assert now(operation).state == Operation.State.RUNNING
    for age in (timedelta(0), timedelta(minutes=10)):
        aged(operation, age)
        tasks.empty_region(str(operation.id))
        assert aside_now(registry) == frozenset()
    assert tasks.end_lost_operations() == 1
    assert now(operation).state == Operation.State.FAILED
    html = operator.get(f"/console/operation/{operation.id}/").content.decode()
    for text in ("was not heard from", "Try again"):
        assert text in html


def test_what_no_worker_took_up_in_time_is_not_done_any_more(registry: Deployment) -> None:
    operation = asked()
    aged(operation, LATE + timedelta(seconds=1))
    tasks.empty_region(str(operation.id))
    assert aside_now(registry) == frozenset()
    assert tasks.end_lost_operations() == 1
    assert "nothing was done" in now(operation).error


def test_who_tries_again_is_heeded_however_old_it_is(
    registry: Deployment, operator: Client, queue: Any
) -> None:
    arguments = {"region": "mars", "step": 1, "aside": False}
    operation = asked(state="failed", arguments=arguments)
    aged(operation, 2 * LATE)
    operator.post(f"/console/operation/{operation.id}/retry/")
    assert now(operation).state == Operation.State.QUEUED
    tasks.empty_region(str(operation.id))
    assert "mars" in now(operation).error


def test_what_is_asked_for_from_a_machine_whose_clock_is_behind_is_done(
    registry: Deployment, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = timezone.now() - 2 * LATE
    monkeypatch.setattr(timezone, "now", lambda: behind)
    arguments = {"region": "mars", "step": 1, "aside": False}
    operation = start(uuid4(), "evacuate", "mars", arguments, actor="me")
    monkeypatch.undo()
    tasks.empty_region(str(operation.id))
    assert "mars" in now(operation).error


def test_only_what_nobody_works_on_is_ended(registry: Deployment) -> None:
    asked(state="running")
    asked()
    aged(asked(state="done"), 2 * SILENCE)
    aged(asked(verb="provision", state="running"), 2 * SILENCE)
    assert tasks.end_lost_operations() == 0


def test_a_worker_is_heard_from_though_it_has_nothing_to_tell(
    registry: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "BEAT_SECONDS", 0.01)
    operation = asked(state="running")
    aged(operation, 2 * SILENCE)
    with recorder.Recorder(str(operation.id)):
        until(lambda: timezone.now() - now(operation).updated_at < SILENCE, 120)
    assert now(operation).state == Operation.State.RUNNING


def test_who_was_given_up_and_comes_back_goes_no_further(
    registry: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "BEAT_SECONDS", 0.01)
    operation = asked(state="failed")

    def refused(work: recorder.Recorder) -> bool:
        try:
            work.step("the next cell")
        except SwitchoverFailed:
            return True
        return False

    with recorder.Recorder(str(operation.id)) as work:
        until(lambda: refused(work), 120)
    assert now(operation).state == Operation.State.FAILED
    connections.close_all()
