"""Drills that run by themselves: made by command, page and JSON; due once; passed over with why."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client
from django.utils import timezone

from regions.deployment import Deployment, Drills
from tenants import drill_schedules
from tenants.drill_schedules import start_due
from tenants.models import AuditEntry, DrillSchedule
from tests.tenants.workers import until

URL = "/console/drills/"
MADE = {
    "name": "nightly",
    "scenario": "cut-link",
    "cells": ["console-eu"],
    "timetable": "0 3 * * mon",
}
JSON = {"HTTP_ACCEPT": "application/json"}


@pytest.fixture
def drills(registry: Deployment, settings, tmp_path: Path) -> Iterator[Deployment]:
    """Drills are possible, and all tenants are made for them."""
    tool = Drills(("false",), ("*",), tmp_path / "drills")  # a folder that no drill has made yet
    settings.MERIDIAN_DEPLOYMENT = replace(registry, drills=tool)
    yield settings.MERIDIAN_DEPLOYMENT
    DrillSchedule.objects.all().delete()
    AuditEntry.objects.filter(verb__startswith="drill").delete()


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in which what was started writes its words, instead of breaking something."""
    file = tmp_path / "started"
    write = f"import sys; open({str(file)!r}, 'a').write(' '.join(sys.argv[1:]) + chr(10))"
    monkeypatch.setattr(drill_schedules, "AS_OPERATOR", (sys.executable, "-c", write))
    return file


def drill(*words: str) -> Any:
    with redirect_stdout(StringIO()) as out:
        call_command("drill", *words, "--json")
    return json.loads(out.getvalue())


def schedule(timetable: str = "0 3 * * mon") -> dict[str, Any]:
    made: dict[str, Any] = drill(
        *("schedule", "nightly", "--scenario", "cut-link", "--cell", "console-eu"),
        *("--at", timetable, "--rto", "7"),
    )
    return made


def seen_at(**ago: float) -> None:
    DrillSchedule.objects.update(seen=timezone.now() - timedelta(**ago))


def test_a_schedule_is_made_shown_changed_and_removed_and_each_is_in_the_audit(
    drills: Deployment,
) -> None:
    made = schedule()
    assert (made["next"][11:], made["objectives"]["rto_seconds"]) == ("03:00+00:00", 7.0)
    assert schedule("  30 4   * * * ")["timetable"] == "30 4 * * *"
    assert [one["name"] for one in drill("schedules")] == ["nightly"]
    assert drill("unschedule", "nightly")["removed"]
    with pytest.raises(CommandError, match="No schedule is called 'nightly'"):
        drill("unschedule", "nightly")
    verbs = AuditEntry.objects.filter(subject="nightly").values_list("verb", flat=True)
    assert sorted(verbs) == ["drill schedule", "drill schedule", "drill unschedule"]


@pytest.mark.parametrize("timetable", ["3 o'clock", "61 3 * * *", "0 0 30 2 *", "0 3 * *"])
def test_a_timetable_that_never_comes_is_refused(drills: Deployment, timetable: str) -> None:
    with pytest.raises(CommandError, match="is no timetable of drills"):
        schedule(timetable)
    assert not DrillSchedule.objects.exists()


def test_customers_are_never_drilled_by_themselves(drills: Deployment, settings) -> None:
    tool = drills.drills
    assert tool
    settings.MERIDIAN_DEPLOYMENT = replace(drills, drills=replace(tool, synthetic=("drill-*",)))
    with pytest.raises(CommandError, match=r"1 real tenants would notice.*console-acme"):
        schedule()
    settings.MERIDIAN_DEPLOYMENT = drills
    schedule()
    # A customer moved in since.
    settings.MERIDIAN_DEPLOYMENT = replace(drills, drills=replace(tool, synthetic=("drill-*",)))
    (outcome,) = drill("rehearse", "nightly")
    assert outcome["outcome"] == "skipped"


def test_however_many_look_at_once_what_is_due_starts_once(
    drills: Deployment, started: Path
) -> None:
    schedule("* * * * *")
    seen_at(minutes=2)
    now = timezone.now()

    def look(_: int) -> int:
        try:
            return start_due(now)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(look, range(4))) == 1
    until(lambda: started.exists() and started.read_text())
    assert started.read_text() == "rehearse nightly --by schedule:nightly\n"
    assert start_due(now) == 0


def test_a_moment_that_nobody_looked_at_is_not_made_up_for_and_that_is_said(
    drills: Deployment, started: Path
) -> None:
    schedule(f"{(timezone.now() - timedelta(minutes=10)).minute} * * * *")
    seen_at(minutes=20)
    assert start_due(timezone.now()) == 0
    (outcome,) = drill("schedules")[0]["outcomes"]
    assert outcome["outcome"] == "skipped"
    assert outcome["reason"].startswith("Nobody looked at")


def test_a_cell_that_is_not_healthy_is_passed_over_with_the_reason(
    drills: Deployment, operator: Client
) -> None:
    schedule()  # nobody made this cell's databases
    (outcome,) = drill("rehearse", "nightly")
    assert outcome["outcome"] == "skipped"
    assert "console-eu is not healthy: its replica in eu-" in outcome["reason"]
    assert "does not answer" in operator.get(URL).content.decode()


def test_the_page_and_json_make_and_remove_schedules(operator: Client, drills: Deployment) -> None:
    assert operator.post("/console/drill-schedule/", MADE).status_code == 302
    assert "nightly" in operator.get(URL).content.decode()
    again = operator.post("/console/drill-schedule/", MADE | {"timetable": "5 4 * * *"}, **JSON)
    assert again.json()["next"][11:16] == "04:05"
    assert [one["name"] for one in operator.get(URL, **JSON).json()["schedules"]] == ["nightly"]
    refused = operator.post("/console/drill-schedule/", MADE | {"timetable": "never"})
    assert refused.status_code == 422
    assert "is no timetable of drills" in refused.content.decode()
    gone = operator.post("/console/drill-schedule/nightly/remove/", **JSON)
    assert gone.json()["removed"]


def test_who_may_only_look_neither_sees_nor_makes_schedules(
    viewer: Client, drills: Deployment
) -> None:
    schedule()
    assert "nightly" not in viewer.get(URL).content.decode()
    assert viewer.get(URL, **JSON).json()["schedules"] == []
    assert viewer.post("/console/drill-schedule/", MADE).status_code == 403
    assert viewer.post("/console/drill-schedule/nightly/remove/").status_code == 403
