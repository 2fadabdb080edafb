"""The onboarding form: explains, refuses before anything is queued, and never queues twice."""

from __future__ import annotations

from uuid import uuid4

import pytest
import redis
from django.test import Client

from regions.models import Cell
from tenants.models import Operation

URL = "/console/onboarding/"


def form(**values: str) -> dict[str, str]:
    return {
        "operation": str(uuid4()),
        "residency": "EU",
        "mode": "shared",
        "policy": "active_passive",
        "cell": "",
        "slug": "console-new",
        **values,
    }


def sent(queue: redis.Redis) -> int:
    return sum(queue.llen(name) for name in ("eu-west", "celery"))


def test_a_good_form_is_queued_once_however_often_it_is_sent(
    operator: Client, queue: redis.Redis
) -> None:
    data = form()
    first, second = operator.post(URL, data), operator.post(URL, data)
    assert first.status_code == second.status_code == 302
    assert first["Location"] == second["Location"]
    operation = Operation.objects.get(slug="console-new")
    assert str(operation.id) in first["Location"]
    assert operation.arguments == {
        "mode": "shared",
        "cell": None,
        "residency": "EU",
        "policy": "active_passive",
        "plan": "unlimited",
    }
    assert operation.actor == "console:console-root"
    assert sent(queue) == 1


def test_the_cell_can_be_chosen_when_it_is_lawful(operator: Client, queue: redis.Redis) -> None:
    assert operator.post(URL, form(cell="console-eu")).status_code == 302
    assert Operation.objects.get(slug="console-new").arguments["cell"] == "console-eu"


def refused(operator: Client, queue: redis.Redis, **values: str) -> str:
    response = operator.post(URL, form(**values))
    assert response.status_code == 422
    assert not Operation.objects.filter(slug=values.get("slug", "console-new")).exists()
    assert sent(queue) == 0
    return response.content.decode()


def test_an_unlawful_cell_is_not_among_the_choices(operator: Client, queue: redis.Redis) -> None:
    assert "console-eu" in refused(operator, queue, cell="console-eu", residency="US")


@pytest.mark.parametrize("state", ["spare", "provisioning"])
def test_a_cell_that_is_not_ready_is_not_among_the_choices(
    operator: Client, queue: redis.Redis, state: str
) -> None:
    """The verb refuses it; a spare is taken by its regions, never by name."""
    Cell.objects.filter(name="console-eu").update(state=state)
    html = operator.get("/console/onboarding/lawful/", {"residency": "EU"}).content.decode()
    assert "console-eu" not in html
    refused(operator, queue, cell="console-eu")


def test_a_cell_keeps_its_own_write_policy(operator: Client, queue: redis.Redis) -> None:
    html = refused(operator, queue, cell="console-eu", policy="active_active")
    assert "Cell console-eu is active-passive" in html


def test_a_taken_slug_is_refused_by_name(operator: Client, queue: redis.Redis) -> None:
    assert "“console-acme” is taken" in refused(operator, queue, slug="console-acme")


def test_a_slug_that_is_no_host_name_is_refused(operator: Client, queue: redis.Redis) -> None:
    for slug in ("Acme", "a--b", "-a", "a.b", "a b", ""):
        assert "Nothing was started" in refused(operator, queue, slug=slug)


def test_unknown_choices_are_refused(operator: Client, queue: redis.Redis) -> None:
    refused(operator, queue, mode="cloud")
    refused(operator, queue, residency="MARS")
    refused(operator, queue, policy="yolo")
    refused(operator, queue, operation="not-a-key")


def test_each_choice_of_a_law_is_answered_with_regions_rules_and_reasons(operator: Client) -> None:
    html = operator.get("/console/onboarding/lawful/", {"residency": "EU"}).content.decode()
    assert html.index("eu-west") < html.index("us-east")
    assert html.count("allowed") == 2
    assert html.count("refused") == 1
    assert "M01" in html
    assert "console-eu" in html
    html = operator.get("/console/onboarding/lawful/", {"residency": "US"}).content.decode()
    assert "console-eu" not in html


def test_a_failed_onboarding_can_be_tried_again_once(operator: Client, queue: redis.Redis) -> None:
    operation = Operation.objects.create(
        verb="provision", slug="console-new", state="failed", error="no", actor="me", arguments={}
    )
    retry = f"/console/operation/{operation.id}/retry/"
    operator.post(retry)
    operator.post(retry)
    operation.refresh_from_db()
    assert (operation.state, operation.error) == ("queued", "")
    assert sent(queue) == 1


def test_who_may_only_look_cannot_try_again(viewer: Client, queue: redis.Redis) -> None:
    operation = Operation.objects.create(
        verb="provision", slug="console-new", state="failed", error="no", actor="me", arguments={}
    )
    viewer.post(f"/console/operation/{operation.id}/retry/")
    operation.refresh_from_db()
    assert operation.state == "failed"
    assert sent(queue) == 0
