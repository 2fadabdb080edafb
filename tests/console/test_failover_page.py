"""Failing a region over from the console: confirmed by name, queued once, recorded to its end."""

from __future__ import annotations

from uuid import uuid4

import redis
from django.test import Client

from console.tasks import failover_region
from console.templatetags.console import named
from tenants.directory import NAMED
from tenants.models import Operation

URL = "/console/region/eu-west/failover/"


def test_the_page_says_what_moves_before_anything_does(operator: Client) -> None:
    html = operator.get(URL).content.decode()
    assert "console-eu" in html
    assert "eu-central" in html
    assert "console-acme" in html


def test_of_many_tenants_the_first_are_named_and_the_others_counted() -> None:
    many = [f"t{number}" for number in range(NAMED + 3)]
    assert named(many) == f"{', '.join(many[:NAMED])} and 3 more"
    assert named(many[:2]) == "t0, t1"
    assert named([]) == "—"


def test_the_regions_name_has_to_be_typed(operator: Client, queue: redis.Redis) -> None:
    response = operator.post(URL, {"operation": str(uuid4()), "confirm": "eu-central"})
    assert response.status_code == 422
    assert "Type eu-west to confirm" in response.content.decode()
    assert not Operation.objects.filter(verb="failover").exists()


def test_a_double_click_starts_one_failover(operator: Client, queue: redis.Redis) -> None:
    data = {"operation": str(uuid4()), "confirm": "eu-west"}
    first, second = operator.post(URL, data), operator.post(URL, data)
    assert first["Location"] == second["Location"]
    assert Operation.objects.filter(verb="failover", slug="eu-west").count() == 1
    assert queue.llen("eu-west") + queue.llen("celery") == 1


def test_an_unknown_region_is_not_found(operator: Client) -> None:
    assert operator.get("/console/region/mars/failover/").status_code == 404


def test_a_failover_that_is_refused_ends_as_failed_with_the_reason(operator: Client) -> None:
    operation = Operation.objects.create(
        verb="failover", slug="mars", actor="console:me", arguments={"region": "mars"}
    )
    failover_region(str(operation.id))
    operation.refresh_from_db()
    assert operation.state == Operation.State.FAILED
    assert "mars" in operation.error


def test_a_failover_that_ended_is_not_done_again(operator: Client) -> None:
    operation = Operation.objects.create(
        verb="failover", slug="mars", state="done", actor="me", arguments={"region": "mars"}
    )
    failover_region(str(operation.id))
    operation.refresh_from_db()
    assert operation.state == Operation.State.DONE


def shown(operator: Client, result: dict[str, object]) -> str:
    operation = Operation.objects.create(
        verb="failover",
        slug="eu-west",
        state="done",
        percent=100,
        actor="me",
        arguments={"region": "eu-west", "result": result},
    )
    return operator.get(f"/console/operation/{operation.id}/").content.decode()


def test_the_measured_result_is_shown_with_each_cells_own_timeline(operator: Client) -> None:
    cell = {"cell": "console-eu", "from": "eu-west", "to": "eu-central"}
    measured = {"rto_seconds": 1.234, "rpo_writes": 0, "pause_ms": 812}
    first = cell | measured | {"events": ["1.2 s took over"]}
    second = first | {"cell": "console-us", "events": ["3.4 s took over"]}
    result = {**cell, **measured, "events": ["all of them"], "cells": [first, second]}
    html = shown(operator, result)
    for text in ("1.23 s", "812 ms"):
        assert text in html
    timeline = html[html.index("Timeline") :]
    places = [timeline.index(one) for one in ("console-eu", "1.2 s", "console-us", "3.4 s")]
    assert places == sorted(places)


def test_where_nothing_moved_no_time_is_shown(operator: Client) -> None:
    nothing = {"cell": None, "to": None, "rto_seconds": 0.0, "rpo_writes": 0, "pause_ms": 0}
    html = shown(operator, nothing | {"events": [], "cells": []})
    assert "Nothing had to move" in html
    assert "RTO" not in html
