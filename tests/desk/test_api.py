from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from config.celery import app
from desk.models import Comment, Customer, Tag, Ticket
from tenants import tokens
from tenants.databases import cell_alias
from tenants.directory import TenantRecord

TICKETS, CUSTOMERS, COMMENTS = (
    f"/api/desk/{kind}" for kind in ("tickets", "customers", "comments")
)


def post(api: Client, path: str, **payload: Any) -> Any:
    return api.post(path, payload, content_type="application/json")


def patch(api: Client, path: str, **payload: Any) -> Any:
    return api.patch(path, payload, content_type="application/json")


def a_ticket(api: Client, **payload: Any) -> dict[str, Any]:
    response = post(api, TICKETS, **{"title": "It broke", **payload})
    assert response.status_code == 201, response.content
    document: dict[str, Any] = response.json()
    return document


def test_a_ticket_goes_through_its_life(api: Client) -> None:
    customer = post(api, CUSTOMERS, name="Ada", email="ada@example.org").json()
    ticket = a_ticket(api, body="Help", customer=customer["id"], tags=["urgent", "billing"])
    assert ticket["status"] == "open"
    assert ticket["priority"] == "normal"
    assert ticket["tags"] == ["billing", "urgent"]
    path = f"{TICKETS}/{ticket['id']}"
    changed = patch(api, path, status="solved", priority="low").json()
    assert (changed["status"], changed["priority"], changed["body"]) == ("solved", "low", "Help")
    assert changed["updated_at"] > ticket["updated_at"]
    assert api.get(path).json() == changed
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404


def test_a_ticket_document_has_the_promised_fields(api: Client) -> None:
    promised = {"id", "title", "body", "status", "priority", "customer", "votes", "tags"}
    assert promised | {"created_at", "updated_at"} == set(a_ticket(api))


def test_each_vote_counts(api: Client) -> None:
    path = f"{TICKETS}/{a_ticket(api)['id']}"
    for _ in range(3):
        api.post(f"{path}/vote")
    assert api.get(path).json()["votes"] == 3
    assert api.post(f"{TICKETS}/999/vote").status_code == 404


@pytest.fixture
def eager() -> Iterator[None]:
    """Tasks are done at once."""
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


def test_a_reminder_becomes_a_remark_on_the_ticket(api: Client, eager: None) -> None:
    ticket = a_ticket(api)["id"]
    reminder = {"text": "Call back", "in_seconds": 1}
    assert post(api, f"{TICKETS}/{ticket}/reminders", **reminder).status_code == 202
    (remark,) = api.get(COMMENTS).json()["items"]
    assert (remark["ticket"], remark["body"]) == (ticket, "Call back")
    assert post(api, f"{TICKETS}/999/reminders", **reminder).status_code == 404
    assert post(api, f"{TICKETS}/{ticket}/reminders", text="").status_code == 422


def test_tags_are_added_and_taken_off_as_often_as_one_likes(api: Client) -> None:
    path = f"{TICKETS}/{a_ticket(api)['id']}/tags"
    for _ in range(2):
        assert api.put(f"{path}/needs%20care").json()["tags"] == ["needs care"]
    for _ in range(2):
        assert api.delete(f"{path}/needs%20care").json()["tags"] == []
    assert Tag.objects.filter(name="needs care").count() == 1


def test_a_patch_writes_only_what_it_names(api: Client, acme: TenantRecord) -> None:
    ticket = a_ticket(api)
    with CaptureQueriesContext(connections[cell_alias(acme.cell)]) as queries:
        patch(api, f"{TICKETS}/{ticket['id']}", title="New title")
    update = next(query["sql"] for query in queries if "UPDATE" in query["sql"])
    assert '"title"' in update
    assert '"body"' not in update
    assert '"votes"' not in update


def test_a_list_takes_the_same_number_of_queries_however_long_it_is(
    api: Client, acme: TenantRecord
) -> None:
    counts = []
    for _ in range(2):
        for _ in range(4):
            a_ticket(api, tags=["a", "b", "c"])
        with CaptureQueriesContext(connections[cell_alias(acme.cell)]) as queries:
            assert api.get(TICKETS).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1] == 3


def test_lists_are_filtered_and_paged(api: Client) -> None:
    customer = post(api, CUSTOMERS, name="Ada", email="ada@example.org").json()["id"]
    first = a_ticket(api, customer=customer, tags=["x"])
    second = a_ticket(api, status="closed", tags=["x", "y"])
    third = a_ticket(api)

    def ids(query: str) -> list[int]:
        return [ticket["id"] for ticket in api.get(f"{TICKETS}?{query}").json()["items"]]

    assert ids("") == [third["id"], second["id"], first["id"]]
    assert ids("status=closed") == [second["id"]]
    assert ids(f"customer={customer}") == [first["id"]]
    assert ids("tag=x") == [second["id"], first["id"]]
    assert ids("limit=1&offset=1") == [second["id"]]
    assert api.get(f"{TICKETS}?tag=x&limit=1").json()["count"] == 2
    assert api.get(f"{TICKETS}?limit=100000").status_code == 422


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "title"),
        ({"title": " "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": "t", "status": "odd"}, "status"),
        ({"title": "t", "priority": None}, "priority"),
        ({"title": "t", "customer": 4711}, "customer"),
        ({"title": "t", "body": "a\0b"}, "body"),
        ({"title": "t", "tags": "not a list"}, "tags"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_written(
    api: Client, payload: dict[str, Any], field: str
) -> None:
    response = post(api, TICKETS, **payload)
    assert response.status_code == 422
    assert response["Content-Type"] == "application/problem+json"
    assert [entry["field"] for entry in response.json()["errors"]] == [field]
    assert not Ticket.objects.exists()


def test_what_is_not_json_is_a_bad_request(api: Client) -> None:
    response = api.post(TICKETS, "{", content_type="application/json")
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"


def test_an_e_mail_address_is_taken_once(api: Client) -> None:
    assert post(api, CUSTOMERS, name="Ada", email="ada@example.org").status_code == 201
    again = post(api, CUSTOMERS, name="Other", email="ada@example.org")
    assert again.status_code == 409
    assert again["Content-Type"] == "application/problem+json"
    assert "ada" not in again.content.decode()
    assert Customer.objects.count() == 1
    assert post(api, CUSTOMERS, name="Bob", email="not an address").status_code == 422


def test_a_customer_can_leave_without_taking_the_tickets_along(api: Client) -> None:
    customer = post(api, CUSTOMERS, name="Ada", email="ada@example.org").json()["id"]
    ticket = a_ticket(api, customer=customer)
    assert patch(api, f"{CUSTOMERS}/{customer}", name="Ada L.").json()["email"] == "ada@example.org"
    assert api.delete(f"{CUSTOMERS}/{customer}").status_code == 204
    assert api.get(f"{TICKETS}/{ticket['id']}").json()["customer"] is None


def test_comments_belong_to_a_ticket(api: Client) -> None:
    ticket = a_ticket(api)["id"]
    comment = post(api, COMMENTS, ticket=ticket, author="Ada", body="Hello").json()
    assert comment["ticket"] == ticket
    path = f"{COMMENTS}/{comment['id']}"
    assert patch(api, path, body="Hello again").json()["body"] == "Hello again"
    assert api.get(f"{COMMENTS}?ticket={ticket}").json()["count"] == 1
    assert post(api, COMMENTS, ticket=999, author="Ada", body="?").status_code == 422
    assert api.delete(path).status_code == 204
    assert not Comment.objects.exists()


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer nonsense", "Basic YTpi"])
def test_without_a_token_nothing_is_shown(acme: TenantRecord, header: str) -> None:
    stranger = Client(headers={"host": "acme.localhost", "authorization": header})
    for path in (TICKETS, CUSTOMERS, COMMENTS):
        response = stranger.get(path)
        assert response.status_code == 401
        assert response["Content-Type"] == "application/problem+json"
        assert response["WWW-Authenticate"] == "Bearer"


def test_a_token_of_another_tenant_or_of_an_older_generation_opens_nothing(
    acme: TenantRecord,
) -> None:
    others = [replace(acme, id=UUID(int=99)), replace(acme, token_generation=0)]
    for other in others:
        bearer = f"Bearer {tokens.issue(other)}"
        stranger = Client(headers={"host": "acme.localhost", "authorization": bearer})
        assert stranger.get(TICKETS).status_code == 401


def test_the_api_describes_itself_without_a_token_and_without_other_hosts(
    acme: TenantRecord,
) -> None:
    anybody = Client(headers={"host": "acme.localhost"})
    paths = anybody.get("/api/openapi.json").json()["paths"]
    assert set(paths["/api/desk/tickets/{ticket_id}"]) == {"get", "patch", "delete"}
    assert set(paths["/api/desk/tickets/{ticket_id}/tags/{tag}"]) == {"put", "delete"}
    page = anybody.get("/api/docs").content.decode()
    assert "http://" not in page
    assert "https://" not in page
