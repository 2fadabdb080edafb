"""What merges discarded: a tenant browses it from any region, in each mode, and brings it back."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connections, transaction
from django.test import Client
from django.urls import reverse

from desk.models import Customer, Ticket
from regions import cells
from regions.deployment import Deployment
from regions.mapfile import publish_document
from regions.topology import database_name
from tenants import tokens
from tenants.conflicts.browse import Page, browse
from tenants.conflicts.entries import Cursor, Wanted
from tenants.conflicts.restore import restore
from tenants.context import tenant_scope
from tenants.databases import cell_alias
from tenants.directory import TenantRecord
from tenants.errors import InvalidRequest, UnknownConflict
from tenants.models import AuditEntry
from testkit.control import forget_maps, publish_maps
from tests.gateway import maps
from tests.tenants.conftest import EU, HOME, MODES
from tests.tenants.moves import fresh

AWAY = next(region for region in EU if region != HOME)


def command(*arguments: str) -> tuple[int, Any, str]:
    out = io.StringIO()
    try:
        call_command("tenant", *arguments, "--json", stdout=out, stderr=io.StringIO())
    except CommandError as refusal:
        return refusal.returncode, json.loads(out.getvalue() or "null"), str(refusal)
    return 0, json.loads(out.getvalue()), ""


def at(tenant: TenantRecord, region: str) -> str:
    return cell_alias(tenant.cell, region=region)


def eventually(check: Callable[[], Any], seconds: float = 240.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def everywhere(tenant: TenantRecord, pk: int, *fields: str) -> set[tuple[str, ...] | None]:
    return {
        Ticket.objects.using(at(tenant, region)).filter(pk=pk).values_list(*fields).first()
        for region in EU
    }


def lose(tenant: TenantRecord, pk: int, lost: str, won: str) -> dict[str, Any]:
    """Two regions write one title at once; the entry about the earlier one, once all are equal."""
    home, away = at(tenant, HOME), at(tenant, AWAY)
    with transaction.atomic(using=home):
        Ticket.objects.using(home).filter(pk=pk).update(title=lost, body=f"beside {lost}")
        Ticket.objects.using(away).filter(pk=pk).update(title=won)
    # The body tells that the loser has arrived, too: what comes later comes by itself.
    eventually(lambda: everywhere(tenant, pk, "title", "body") == {(won, f"beside {lost}")})

    def known() -> Any:
        items = browse(Wanted(table="desk_ticket")).document()["items"]
        return [one for one in items if one["loser"]["value"] == lost]

    return eventually(known)[0]


@pytest.fixture(params=MODES)
def tenant(request: pytest.FixtureRequest, places: dict[str, str]) -> Iterator[TenantRecord]:
    record = fresh(places, request.param)
    with tenant_scope(record):
        pk = Ticket.objects.order_by("pk").values_list("pk", flat=True)[0]
        eventually(lambda: None not in everywhere(record, pk, "title"))
        yield record
    connections.close_all()


def first_ticket() -> Ticket:
    ticket = Ticket.objects.order_by("pk").first()
    assert ticket is not None
    return ticket


def test_a_lost_value_is_shown_with_both_versions_and_comes_back_everywhere_once(
    tenant: TenantRecord, places: dict[str, str]
):
    ticket = first_ticket()
    entry = lose(tenant, ticket.pk, "lost", "won")
    assert (entry["field"], entry["kind"], entry["rule"]) == ("title", "field", "last writer wins")
    assert entry["key"] == {"id": str(ticket.pk)}
    assert (entry["loser"]["value"], entry["loser"]["region"]) == ("lost", HOME)
    assert (entry["winner"]["value"], entry["winner"]["region"]) == ("won", AWAY)
    assert entry["loser"]["written_at"] < entry["winner"]["written_at"]
    assert HOME in entry["recorded_in"]
    assert entry["restored"] is None

    key = UUID(entry["id"])
    assert restore(key, by="me").done
    eventually(lambda: everywhere(tenant, ticket.pk, "title") == {("lost",)})
    # A repetition changes nothing, in whichever region, whatever was written since.
    Ticket.objects.filter(pk=ticket.pk).update(title="newer")
    eventually(lambda: everywhere(tenant, ticket.pk, "title") == {("newer",)})

    def noted() -> Any:
        (again,) = browse(Wanted(id=key)).document()["items"]
        return again["restored"]

    restored = eventually(noted)
    assert (restored["by"], restored["region"]) == ("me", HOME)
    assert not restore(key, by="somebody else").done
    assert everywhere(tenant, ticket.pk, "title") == {("newer",)}
    # That a value was replaced knowingly is no conflict.
    assert len(browse(Wanted(table="desk_ticket")).entries) == 1
    with tenant_scope(fresh(places, "shared")):
        assert browse(Wanted()).entries == ()
        with pytest.raises(UnknownConflict):
            restore(key, by="a stranger")


def test_the_whole_row_of_a_deletion_that_won_comes_back(tenant: TenantRecord):
    ticket = first_ticket()
    home, away = at(tenant, HOME), at(tenant, AWAY)
    ticket.tags.clear()
    eventually(lambda: not ticket.tags.using(away).exists())
    with transaction.atomic(using=home):
        Ticket.objects.using(home).filter(pk=ticket.pk).update(title="lost", body="both")
        with connections[away].cursor() as cursor:
            cursor.execute("DELETE FROM desk_comment WHERE ticket_id = %s", [ticket.pk])
            cursor.execute("DELETE FROM desk_ticket WHERE id = %s", [ticket.pk])
    eventually(lambda: everywhere(tenant, ticket.pk) == {None})
    (entry,) = eventually(lambda: browse(Wanted(kind="delete")).document()["items"])
    assert (entry["field"], entry["winner"]["value"]) == ("*", None)
    assert entry["loser"]["value"]["title"] == "lost"
    assert not any(name.startswith("_") or name == "tenant_id" for name in entry["loser"]["value"])
    assert restore(UUID(entry["id"]), by="me").done
    eventually(lambda: everywhere(tenant, ticket.pk, "title") == {("lost",)})
    back = Ticket.objects.get(pk=ticket.pk)
    assert (back.body, back.votes, back.created_at) == ("both", ticket.votes, ticket.created_at)


def test_pages_go_on_where_the_last_ended_and_filters_narrow(tenant: TenantRecord):
    ticket = first_ticket()
    began = datetime.now(UTC) - timedelta(seconds=1)
    lost = [lose(tenant, ticket.pk, f"lost {n}", f"won {n}")["id"] for n in range(3)]
    pages: list[Page] = []
    after = None
    while not pages or pages[-1].more:
        pages.append(browse(Wanted(most=1, after=after)))
        after = Cursor.read(pages[-1].document()["next"] or str(Cursor(0, uuid4())))
    assert [str(entry.id) for page in pages for entry, _ in page.entries] == lost[::-1]
    assert browse(Wanted(since=datetime.now(UTC))).entries == ()
    assert len(browse(Wanted(since=began, until=datetime.now(UTC), kind="field")).entries) == 3
    assert browse(Wanted(table="desk_customer")).entries == ()
    for wrong in ({"kind": "odd"}, {"most": 0}, {"most": 1000}):
        with pytest.raises(InvalidRequest):
            Wanted(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest):
        Cursor.read("nonsense")


def test_the_api_lists_shows_and_restores_for_its_own_tenant_only(
    tenant: TenantRecord, deployment: Deployment, settings
):
    entry = lose(tenant, first_ticket().pk, "lost", "won")
    settings.MERIDIAN_REGION = HOME
    publish_maps(deployment)
    try:
        client = Client(
            headers={
                "host": tenant.hosts[0],
                "authorization": f"Bearer {tokens.issue(tenant)}",
            }
        )
        path = "/api/conflicts"
        page = client.get(path, {"kind": "field", "limit": 1}).json()
        assert [one["id"] for one in page["items"]] == [entry["id"]]
        assert (page["items"][0]["table"], page["next"], page["unreachable"]) == (
            "desk_ticket", None, [],
        )  # fmt: skip
        assert client.get(path, {"kind": "odd"}).status_code == 422
        assert client.get(path, {"after": "nonsense"}).status_code == 422
        assert client.get(f"{path}/{uuid4()}").status_code == 404
        assert client.get(f"{path}/{entry['id']}").json()["winner"]["value"] == "won"
        first = client.post(f"{path}/{entry['id']}/restore")
        assert (first.status_code, first.json()["restored"]) == (200, True)
        again = client.post(f"{path}/{entry['id']}/restore").json()
        assert (again["restored"], again["already"]) == (False, True)
        assert client.post(f"{path}/{uuid4()}/restore").status_code == 404
        assert Client(headers={"host": tenant.hosts[0]}).get(path).status_code == 401
    finally:
        forget_maps(deployment)


def test_an_operator_sees_values_only_where_the_law_lets_him_and_each_look_is_audited(
    tenant: TenantRecord,
):
    entry = lose(tenant, first_ticket().pk, "lost", "won")
    with tenant_scope(None):
        status, _, refusal = command("conflicts", tenant.slug, "--at", "us-east")
        assert (status, "S01" in refusal) == (1, True)
        status, document, _ = command("conflicts", tenant.slug, "--kind", "field")
        assert (status, [one["id"] for one in document["items"]]) == (0, [entry["id"]])
        refused = command("restore", tenant.slug, entry["id"], "--at", "us-east")
        assert (refused[0], "S01" in refused[2]) == (1, True)
        assert command("restore", tenant.slug, entry["id"])[1]["restored"] is True
        assert command("restore", tenant.slug, entry["id"])[1]["already"] is True
        assert command("restore", tenant.slug, str(uuid4()))[0] == 1
    trail = AuditEntry.objects.filter(
        subject=tenant.slug, verb__in=("show_conflicts", "restore_conflict")
    )
    assert [entry.verb for entry in trail.order_by("at")] == [
        "show_conflicts", "restore_conflict", "restore_conflict",
    ]  # fmt: skip
    assert "lost" not in str([entry.detail for entry in trail])


def test_the_console_shows_both_versions_and_a_button_that_restores_once(
    places: dict[str, str], deployment: Deployment, settings
):
    record = fresh(places, "shared")
    with tenant_scope(record):
        ticket = first_ticket()
        eventually(lambda: None not in everywhere(record, ticket.pk))
        entry = lose(record, ticket.pk, "<b>lost</b>", "won")
    settings.MERIDIAN_REGION = HOME
    publish_maps(deployment, {"control": HOME})
    topology = deployment.region(HOME).map_dir / "topology.json"
    document = json.loads(topology.read_text())
    document["cells"].append(maps.cell("control", *deployment.regions))
    publish_document(topology, document)
    try:
        client = Client(SERVER_NAME="127.0.0.1")
        client.force_login(User.objects.create_superuser("ledger-root"))
        page = reverse("console:tenant_conflicts", args=[record.slug])
        button = reverse("console:restore_conflict", args=[record.slug, entry["id"]])
        text = client.get(page).content.decode()
        assert "&lt;b&gt;lost&lt;/b&gt;" in text
        assert (text.count(button), "<b>lost" in text) == (1, False)
        assert "The value is restored" in client.post(button, follow=True).content.decode()
        with tenant_scope(record):
            eventually(lambda: everywhere(record, ticket.pk, "title") == {("<b>lost</b>",)})
        assert "had restored it before" in client.post(button, follow=True).content.decode()
        text = client.get(page).content.decode()
        assert (button in text, "by console:ledger-root in" in text) == (False, True)
    finally:
        User.objects.filter(username="ledger-root").delete()
        forget_maps(deployment)


def test_what_was_lost_to_a_deletion_needs_its_row(places: dict[str, str], deployment: Deployment):
    """A field can't come back without its row, nor against a constraint: then nothing is noted."""
    record = fresh(places, "shared")
    with tenant_scope(record):
        customer = Customer.objects.first()
        assert customer is not None
        other = Customer.objects.exclude(pk=customer.pk).first()
        assert other is not None
        database = database_name(record.cell)
        with cells.administrator(deployment, HOME, database) as admin:
            ids = [
                admin.execute(
                    "INSERT INTO fabric.conflict (rel, pk, field, loser_stamp, loser, winner_stamp,"
                    " rule, tenant) VALUES ('public.desk_customer', %s, 'email', 257, %s, 513,"
                    " 'last writer wins', %s) RETURNING id",
                    ([str(record.id), pk], json.dumps(other.email), record.id),
                ).fetchone()[0]  # type: ignore[index]
                for pk in (str(customer.pk), "424242")
            ]
        with pytest.raises(IntegrityError):
            restore(ids[0], by="me")
        with tenant_scope(None):
            status, _, refusal = command("restore", record.slug, str(ids[0]))
            assert (status, refusal.startswith("It cannot come back: duplicate key")) == (1, True)
            status, _, refusal = command("restore", record.slug, str(ids[1]))
            assert (status, "is not there any more" in refusal) == (1, True)
        Customer.objects.filter(pk=other.pk).update(email="free@x.org")
        assert restore(ids[0], by="me").done
        assert Customer.objects.get(pk=customer.pk).email == other.email
