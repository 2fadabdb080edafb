"""Emptying a region, and bringing its cells home, from the console."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
import redis
from django.test import Client

from console.tasks import empty_region, fail_back
from regions.deployment import Deployment
from regions.failover.aside import aside_now, stand_aside
from regions.models import Replica
from tenants.models import Operation
from tests.gateway import maps

EMPTY = "/console/region/eu-west/evacuate/"
HOME = "/console/region/eu-west/failback/"


@pytest.fixture
def set_aside(registry: Deployment) -> Iterator[None]:
    stand_aside(registry, "eu-west", True, by="me")
    yield
    stand_aside(registry, "eu-west", False, by="me")


@pytest.fixture
def written_elsewhere(registry: Deployment) -> None:
    maps.publish(
        registry.region("eu-west").map_dir,
        cells=[maps.cell("control", *registry.regions)],
        writers={"control": "eu-west", "console-eu": "eu-central"},
    )


def form(**more: object) -> dict[str, object]:
    return {"operation": str(uuid4()), "confirm": "eu-west", "step": 10, **more}


def test_before_it_is_emptied_it_says_what_moves_where_and_for_whom(operator: Client) -> None:
    html = operator.get(EMPTY).content.decode()
    for text in ("console-eu", "eu-central", "console-acme", "region drain eu-west"):
        assert text in html
    assert "region maintenance eu-west" in operator.get(f"{EMPTY}?aside=on").content.decode()


def test_what_no_other_region_may_write_stays_and_its_tenants_are_named(operator: Client) -> None:
    Replica.objects.filter(cell_id="console-eu", region_id="eu-central").delete()
    html = operator.get(EMPTY).content.decode()
    assert "no other region is lawful" in html
    assert "console-acme" in html


def test_where_there_is_nothing_to_do_nothing_is_queued(
    operator: Client, queue: redis.Redis
) -> None:
    idle = EMPTY.replace("eu-west", "us-east")
    for page, name in ((idle, "us-east"), (HOME, "eu-west")):
        assert operator.post(page, form(confirm=name)).status_code == 422
    assert not Operation.objects.filter(verb__in=("evacuate", "failback")).exists()
    # Setting it aside is something to do.
    assert operator.post(idle, form(confirm="us-east", aside="on")).status_code == 302


@pytest.mark.parametrize("page", [EMPTY, HOME])
def test_the_regions_name_has_to_be_typed_and_a_double_click_starts_it_once(
    operator: Client, queue: redis.Redis, page: str, request: pytest.FixtureRequest
) -> None:
    if page == HOME:
        request.getfixturevalue("written_elsewhere")
    refused = operator.post(page, form(confirm="eu"))
    assert refused.status_code == 422
    assert "Type eu-west to confirm" in refused.content.decode()
    asked = form(step=3)
    first, second = (operator.post(page, asked) for _ in range(2))
    assert first["Location"] == second["Location"]
    operation = Operation.objects.get(slug="eu-west")
    assert operation.arguments["step"] == 3
    assert queue.llen("eu-west") + queue.llen("celery") == 1
    assert "eu-west" in operator.get(first["Location"]).content.decode()


def test_a_step_of_no_cells_is_refused(operator: Client, queue: redis.Redis) -> None:
    answer = operator.post(EMPTY, form(step=0))
    assert answer.status_code == 422
    assert "greater than or equal to 1" in answer.content.decode()
    assert not Operation.objects.filter(verb="evacuate").exists()


def test_what_has_its_home_there_is_shown_and_that_it_stands_aside(
    operator: Client, set_aside: None, written_elsewhere: None
) -> None:
    html = operator.get(HOME).content.decode()
    for text in ("console-eu", "stands aside", "region maintenance eu-west --end"):
        assert text in html


def test_who_brings_its_cells_home_ends_its_standing_aside(
    operator: Client, registry: Deployment, set_aside: None
) -> None:
    operation = Operation.objects.create(
        verb="failback", slug="eu-west", actor="me", arguments={"region": "eu-west", "step": 1}
    )
    fail_back(str(operation.id))
    operation.refresh_from_db()
    assert operation.state == Operation.State.DONE, operation.error
    assert aside_now(registry) == frozenset()


def test_what_is_refused_ends_as_failed_with_the_reason(operator: Client) -> None:
    asked = {"region": "mars", "step": 1, "aside": False}
    operation = Operation.objects.create(verb="evacuate", slug="mars", actor="me", arguments=asked)
    empty_region(str(operation.id))
    operation.refresh_from_db()
    assert operation.state == Operation.State.FAILED
    assert "mars" in operation.error


def test_who_may_only_look_can_do_neither(viewer: Client) -> None:
    for page in (EMPTY, HOME):
        assert viewer.get(page).status_code == 403
        assert viewer.post(page, form()).status_code == 403
