"""A write that is sent again with its key is carried out once, against a real cell."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import psycopg
import pytest
from django.db import connection, connections
from django.http import HttpResponseBase
from django.test import Client

from desk.models import Customer
from gateway.idempotency import once
from regions import cells
from regions.deployment import ADMIN_ROLE, OWNER_ROLE, Deployment
from tests.gateway import live
from tests.gateway.live import count
from tests.gateway.test_transactions import ADA, CUSTOMERS, client_of, customers_in

TICKETS = "/api/desk/tickets"
HELLO = {"title": "Hello"}


def send(
    client: Client, url: str, body: dict[str, str], key: str, **headers: str
) -> HttpResponseBase:
    headers["idempotency-key"] = key
    return client.post(url, body, content_type="application/json", headers=headers)


def test_the_second_time_it_is_answered_as_at_first(served: None, deployment: Deployment) -> None:
    client = client_of("acme")
    first = send(client, TICKETS, HELLO, "k-1")
    again = send(client, TICKETS, HELLO, "k-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again["Content-Type"] == first["Content-Type"]
    assert (first.get(once.REPLAYED), again[once.REPLAYED]) == (None, "true")
    assert count(deployment, "desk_ticket") == 1
    assert send(client, TICKETS, HELLO, "k-2").status_code == 201
    assert count(deployment, "desk_ticket") == 2


def test_a_key_stands_for_one_request(served: None, deployment: Deployment) -> None:
    client = client_of("acme")
    assert send(client, TICKETS, HELLO, "k-1").status_code == 201
    others = [
        send(client, TICKETS, {"title": "Bye"}, "k-1"),
        send(client, CUSTOMERS, ADA, "k-1"),
        send(client, TICKETS, HELLO, "k-1", authorization="Bearer somebody"),
    ]
    assert {other.status_code for other in others} == {422}
    assert count(deployment, "desk_ticket") == 1
    assert customers_in(deployment, live.HERE) == 0


def test_what_was_refused_has_not_used_its_key(served: None, deployment: Deployment) -> None:
    client = client_of("acme")
    assert client.post(CUSTOMERS, ADA, content_type="application/json").status_code == 201
    assert send(client, CUSTOMERS, ADA, "k-1").status_code == 409
    connection.close()
    with cells.administrator(deployment, live.HERE, live.LAB.database) as admin:
        admin.execute("DELETE FROM desk_customer")
    answer = send(client, CUSTOMERS, ADA, "k-1")
    assert (answer.status_code, answer.get(once.REPLAYED)) == (201, None)


def test_what_failed_halfway_has_not_used_its_key(
    served: None, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of("acme")
    client.raise_request_exception = False
    with monkeypatch.context() as patch:
        patch.setattr(Customer.objects, "create", lambda **fields: 1 / 0)
        assert send(client, CUSTOMERS, ADA, "k-1").status_code == 500
    assert count(deployment, "idempotency_answer") == 0
    assert send(client, CUSTOMERS, ADA, "k-1").status_code == 201


def test_of_two_at_once_one_is_carried_out_and_both_are_answered(
    served: None, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of("acme")
    begun, go_on = threading.Event(), threading.Event()
    create = Customer.objects.create

    def slowly(**fields: object) -> Customer:
        begun.set()
        assert go_on.wait(300)
        return create(**fields)

    monkeypatch.setattr(Customer.objects, "create", slowly)
    answers: list[HttpResponseBase] = []

    def ask() -> None:
        answers.append(send(client, CUSTOMERS, ADA, "k-1"))
        connections.close_all()

    both = [threading.Thread(target=ask) for _ in range(2)]
    both[0].start()
    assert begun.wait(300)
    both[1].start()
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = %s AND usename = 'meridian_app'"
    )
    with psycopg.connect(
        deployment.dsn(live.HERE, live.LAB.database, ADMIN_ROLE), autocommit=True
    ) as admin:
        while admin.execute(waiting, [live.LAB.database]).fetchone() == (0,):
            assert not answers
            time.sleep(0.02)
    go_on.set()
    for thread in both:
        thread.join()
    assert [answer.status_code for answer in answers] == [201, 201]
    assert [answer.get(once.REPLAYED) for answer in answers].count("true") == 1
    assert answers[0].content == answers[1].content
    assert customers_in(deployment, live.HERE) == 1


def test_a_key_is_kept_for_its_time_and_then_cleared_away(
    served: None, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of("acme")
    for key in ("k-1", "k-2", "k-3"):
        send(client, TICKETS, HELLO, key)
    assert count(deployment, "idempotency_answer") == 3
    monkeypatch.setattr(once, "KEPT", timedelta())
    assert send(client, TICKETS, HELLO, "k-1").get(once.REPLAYED) is None
    assert count(deployment, "desk_ticket") == 4
    assert count(deployment, "idempotency_answer") == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "k\x00", "k\x7f"])
def test_a_key_that_is_none_is_refused(served: None, deployment: Deployment, key: str) -> None:
    client = client_of("acme")
    assert send(client, TICKETS, HELLO, key).status_code == 400
    assert count(deployment, "desk_ticket") == 0


def test_an_answer_that_is_too_long_to_keep_is_not_made_up(
    served: None, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of("acme")
    monkeypatch.setattr(once, "MAX_BODY", 10)
    assert send(client, TICKETS, HELLO, "k-1").status_code == 201
    again = send(client, TICKETS, HELLO, "k-1")
    assert again.status_code == 409
    assert again.json()["type"] == "urn:meridian:problem:already-done"
    assert count(deployment, "desk_ticket") == 1


def test_a_read_needs_no_key(served: None, deployment: Deployment) -> None:
    client = client_of("acme")
    for _ in range(2):
        answer = client.get(TICKETS, headers={"idempotency-key": "k-1"})
        assert (answer.status_code, answer.get(once.REPLAYED)) == (200, None)
    assert count(deployment, "idempotency_answer") == 0


def test_a_key_travels_in_the_transaction_of_its_write(
    served: None, deployment: Deployment
) -> None:
    client = client_of("acme")
    assert send(client, TICKETS, HELLO, "k-1").status_code == 201
    dsn = deployment.dsn(live.HERE, live.LAB.database, OWNER_ROLE)
    with psycopg.connect(dsn) as owner:
        logged = owner.execute(
            "SELECT DISTINCT rel FROM fabric.change WHERE xact = ("
            " SELECT max(xact) FROM fabric.change WHERE rel = 'public.desk_ticket')"
        ).fetchall()
    assert {("public.desk_ticket",), ("public.idempotency_answer",)} <= set(logged)
