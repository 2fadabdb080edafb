"""What agents decided and why is in their regions' control databases; the console shows it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.test import Client
from django.urls import reverse

from console.live.decisions import Decided, merged
from console.live.probing import Answer
from console.live.snapshot import observatory
from regions.deployment import AGENT_ROLE, CONTROL_DATABASE, Deployment
from tests.gateway import maps

DECIDED = "INSERT INTO lease.event (region, cell, action, reason) VALUES (%s, %s, %s, %s)"
FORGET = "DELETE FROM lease.event WHERE cell IN ('console-eu', 'elsewhere')"
SAID = [
    ("eu-west", "console-eu", "step down", "Cell console-eu cannot be written in eu-west."),
    ("eu-central", "console-eu", "acquire", "Nobody holds console-eu."),
    ("eu-central", "elsewhere", "acquire", "Nobody holds elsewhere."),
]


@pytest.fixture
def said(registry: Deployment) -> Iterator[None]:
    """Each by its own region's agent, in this order."""

    def ask(region: str, query: Any, params: tuple[str, ...] = ()) -> None:
        dsn = registry.dsn(region, CONTROL_DATABASE, AGENT_ROLE)
        with psycopg.connect(dsn) as control:
            control.execute(query, params)

    cells = [maps.cell("control", *registry.regions), maps.cell("console-eu", "eu-west")]
    maps.publish(registry.region("eu-west").map_dir, cells=cells, writers={"control": "eu-west"})
    for one in SAID:
        ask(one[0], DECIDED, one)
    observatory.forget()
    yield
    for region in registry.regions:
        ask(region, FORGET)


@pytest.mark.parametrize(
    ("page", "arguments"),
    [("index", ()), ("live", ()), ("cell_live", ("console-eu",))],
)
def test_the_console_shows_what_agents_decided_and_why_the_newest_first(
    operator: Client, said: None, page: str, arguments: tuple[str, ...]
) -> None:
    html = operator.get(reverse(f"console:{page}", args=arguments)).content.decode()
    (stepped_down, acquired, elsewhere) = (html.find(reason) for *_, reason in SAID)
    assert 0 < acquired < stepped_down
    assert (elsewhere > 0) is (page != "cell_live")


def test_a_region_that_does_not_answer_hides_nobody_elses() -> None:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    old, new = (Decided(at.replace(hour=hour), "b", "x", "acquire", "") for hour in (1, 2))
    answers: list[Answer[Any]] = [Answer(None, "no answer"), Answer((old,)), Answer((new,))]
    assert merged(answers) == (new, old)
