"""A tenant is taken to another place from the console: previewed, confirmed by its slug."""

from __future__ import annotations

from uuid import uuid4

import pytest
import redis
from django.test import Client

from console.tasks import move_tenant
from tenants.models import Operation, Tenant

PAGE = "/console/tenant/console-acme/move/"


def test_it_offers_places_and_says_where_the_tenant_is(operator: Client) -> None:
    html = operator.get(PAGE).content.decode()
    for text in ("console-eu", "mode:dedicated", "mode:schema", "eu-west and eu-central"):
        assert text in html
    assert "cell:console-eu" not in html  # where it is
    assert "cell:control" not in html
    tenant = Tenant.objects.get(slug="console-acme")
    page = operator.get(f"/console/tenants/tenant/{tenant.pk}/change/").content.decode()
    assert PAGE in page


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("cell:console-eu", "is in cell"),
        ("cell:nowhere", "nowhere"),
        ("mode:dedicated", "reached"),  # nobody made this cell's databases
        ("mode:communal", "communal"),
        ("planet:mars", "Where console-acme goes"),
        ("", "Where console-acme goes"),
    ],
)
def test_what_is_refused_is_said_and_nothing_is_queued(
    operator: Client, queue: redis.Redis, to: str, reason: str
) -> None:
    assert reason in operator.get(PAGE, {"to": to}).content.decode()
    data = {"operation": str(uuid4()), "confirm": "console-acme", "to": to}
    answer = operator.post(PAGE, data)
    assert answer.status_code == 422
    assert not Operation.objects.filter(verb="move").exists()
    assert queue.llen("eu-west") + queue.llen("celery") == 0


def test_who_may_only_look_can_not_move(viewer: Client) -> None:
    assert viewer.get(PAGE).status_code == 403
    assert viewer.post(PAGE, {"to": "mode:schema"}).status_code == 403
    tenant = Tenant.objects.get(slug="console-acme")
    assert PAGE not in viewer.get(f"/console/tenants/tenant/{tenant.pk}/change/").content.decode()


def test_a_move_that_is_refused_at_last_ends_as_failed_with_the_reason(operator: Client) -> None:
    operation = Operation.objects.create(
        verb="move", slug="console-acme", actor="me", arguments={"cell": "console-eu"}
    )
    move_tenant(str(operation.id))
    operation.refresh_from_db()
    assert operation.state == Operation.State.FAILED
    assert "is in cell" in operation.error
    html = operator.get(f"/console/operation/{operation.id}/").content.decode()
    assert "Moving console-acme" in html
    assert "Try again" in html
