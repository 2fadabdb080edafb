"""The console's pages against the real control database: shown, guarded, and free of secrets."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse

from regions.deployment import Deployment
from regions.models import Cell
from tenants.databases import control_epoch
from tenants.isolation.blueprint import fingerprint
from tenants.models import AuditEntry, Operation, Spare, Tenant
from tests.tenants.workers import until

READ_ONLY = [
    ("index", ()),
    ("live", ()),
    ("onboarding", ()),
    ("lawful", ()),
    ("tenants_tenant_changelist", ()),
    ("regions_region_changelist", ()),
    ("regions_region_change", ("eu-west",)),
    ("region_live", ("us-east",)),
    ("failover", ("eu-west",)),
    ("regions_cell_changelist", ()),
    ("regions_cell_change", ("console-eu",)),
    ("cell_live", ("console-eu",)),
    ("tenants_operation_changelist", ()),
    ("tenants_auditentry_changelist", ()),
    ("auth_user_changelist", ()),
    ("auth_user_add", ()),
    ("auth_group_changelist", ()),
]


@pytest.mark.parametrize(("page", "arguments"), READ_ONLY)
def test_every_page_is_served_and_asks_for_nothing_from_another_host(
    operator: Client, registry: Deployment, page: str, arguments: tuple[str, ...]
) -> None:
    response = operator.get(reverse(f"console:{page}", args=arguments))
    assert response.status_code == 200
    html = response.content.decode()
    assert not re.search(r'(?:src="|<link[^>]* href=")(?:https?:)?//', html)
    for password in registry.secrets.passwords.values():
        assert password not in html


def test_every_file_that_a_page_names_is_there_and_its_icon_is_one(operator: Client) -> None:
    html = operator.get(reverse("console:index")).content.decode()
    named = set(re.findall(r'(?:src|href)="/static/([^"?#]+)', html))
    assert [path for path in named if finders.find(path) is None] == []
    assert re.search(r'<link rel="icon" href="/static/console/icon.svg"', html)


@pytest.mark.parametrize(("page", "arguments"), READ_ONLY)
def test_nobody_gets_in_without_logging_in(
    registry: Deployment, page: str, arguments: tuple[str, ...]
) -> None:
    url = reverse(f"console:{page}", args=arguments)
    response = Client(SERVER_NAME="127.0.0.1").get(url)
    assert response.status_code == 302
    assert "/console/login/" in response["Location"]


@pytest.mark.parametrize(
    ("page", "arguments"),
    [("onboarding", ()), ("lawful", ()), ("failover", ("eu-west",)), ("cell_live", ("x",))],
)
def test_an_operator_without_the_permission_is_refused(
    viewer: Client, page: str, arguments: tuple[str, ...]
) -> None:
    assert viewer.get(reverse(f"console:{page}", args=arguments)).status_code == 403


@pytest.mark.parametrize("verb", ["suspend", "resume", "token"])
def test_effects_need_post_and_the_permission_to_change(
    operator: Client, viewer: Client, verb: str
) -> None:
    url = reverse(f"console:{verb}", args=["console-acme"])
    assert operator.get(url).status_code == 405
    assert viewer.post(url).status_code == 403
    assert Tenant.objects.get(slug="console-acme").state == Tenant.State.ACTIVE


def test_effects_need_the_csrf_token(operator: Client) -> None:
    strict = Client(enforce_csrf_checks=True, SERVER_NAME="127.0.0.1")
    strict.cookies = operator.cookies
    assert strict.post(reverse("console:suspend", args=["console-acme"])).status_code == 403
    assert Tenant.objects.get(slug="console-acme").state == Tenant.State.ACTIVE


def test_the_dashboard_answers_although_whole_parts_of_the_fleet_are_not_running(
    operator: Client,
) -> None:
    html = operator.get(reverse("console:index")).content.decode()
    assert "web does not answer" in html
    assert "Map of regions." in html


def test_the_live_part_is_not_sent_again_while_nothing_changed(operator: Client) -> None:
    url = reverse("console:live")

    def unchanged() -> bool:
        """Not at once: which probes answer in time differs from look to look."""
        html = operator.get(url).content.decode()
        digest = re.search(r"seen=([0-9a-f]{16})", html)[1]
        return operator.get(url, {"seen": digest}).status_code == 204

    until(unchanged)
    assert operator.get(url, {"seen": "0" * 16}).status_code == 200


def test_the_dashboard_counts_spares_and_says_when_a_pool_is_empty(
    operator: Client, schema_cell: Cell, settings
) -> None:
    settings.MERIDIAN_SPARES = {"schema": 2}
    empty = f"Pool schema:{schema_cell.name}: no spare is ready (wanted: 2)"
    row = f"<code>schema:{schema_cell.name}</code>"

    def look() -> tuple[str, list[str]]:
        html = operator.get(reverse("console:live")).content.decode()
        counts = html[html.index(row) :].partition("</tr>")[0]
        return html, re.findall(r'mc-number">(\d+)<', counts)

    html, counts = look()
    assert empty in html
    assert counts == ["2", "0", "0", "0", "0", "0"]
    now = {"fingerprint": fingerprint(), "epoch": control_epoch()}
    for state, known in (("ready", now), ("making", now), ("ready", now | {"epoch": -1})):
        pool = f"schema:{schema_cell.name}"
        Spare.objects.create(pool=pool, cell=schema_cell, state=state, **known)
    html, counts = look()
    assert empty not in html
    assert counts == ["2", "1", "1", "1", "0", "0"]
    listed = operator.get(reverse("console:regions_cell_changelist")).content.decode()
    assert re.search(r"field-spares[^>]*>\s*2\s*<", listed)


def test_suspend_and_resume_change_the_tenant_and_leave_a_trail_on_its_page(
    operator: Client,
) -> None:
    acme = Tenant.objects.get(slug="console-acme")
    page = reverse("console:tenants_tenant_change", args=[acme.pk])
    operator.post(reverse("console:suspend", args=[acme.slug]))
    acme.refresh_from_db()
    assert acme.state == Tenant.State.SUSPENDED
    assert "Resume" in operator.get(page).content.decode()
    operator.post(reverse("console:resume", args=[acme.slug]))
    acme.refresh_from_db()
    assert acme.state == Tenant.State.ACTIVE
    trail = AuditEntry.objects.filter(subject=acme.slug)
    assert {entry.verb for entry in trail} >= {"suspend", "resume"}
    assert {entry.actor for entry in trail} == {"console:console-root"}
    assert "console:console-root" in operator.get(page).content.decode()


def test_an_api_token_is_shown_in_one_answer_that_is_not_cached(operator: Client) -> None:
    response = operator.post(reverse("console:token", args=["console-acme"]))
    token = re.search(r"mt_[^<\s]+", response.content.decode())[0]
    assert "no-store" in response["Cache-Control"]
    page = operator.get(
        reverse("console:tenants_tenant_change", args=[Tenant.objects.get(slug="console-acme").pk])
    )
    assert token not in page.content.decode()


def test_rows_of_the_registry_cannot_be_edited_or_deleted_by_hand(operator: Client) -> None:
    acme = Tenant.objects.get(slug="console-acme")
    for page, key in (("tenants_tenant", acme.pk), ("regions_cell", "console-eu")):
        changed = operator.post(reverse(f"console:{page}_change", args=[key]), {"slug": "evil"})
        deleted = operator.post(reverse(f"console:{page}_delete", args=[key]), {"post": "yes"})
        assert (changed.status_code, deleted.status_code) == (403, 403)
    acme.refresh_from_db()
    assert acme.slug == "console-acme"


def test_an_operation_that_ended_stops_asking_and_a_running_one_goes_on(operator: Client) -> None:
    running = Operation.objects.create(
        verb="provision", slug="x", state="running", percent=40, step="Half way", actor="me"
    )
    failed = Operation.objects.create(
        verb="provision", slug="y", state="failed", error="eu-central does not answer", actor="me"
    )
    html = operator.get(reverse("console:progress", args=[running.id])).content.decode()
    assert 'aria-valuenow="40"' in html
    assert 'hx-trigger="every 1s"' in html
    html = operator.get(reverse("console:operation", args=[failed.id])).content.decode()
    assert "eu-central does not answer" in html
    assert "Try again" in html
    assert 'hx-trigger="every 1s"' not in html


def test_a_new_operator_is_an_account_without_personal_data(operator: Client) -> None:
    fields = {
        "username": "console-new",
        "password1": "korrekt pferd 1",
        "password2": "korrekt pferd 1",
    }
    response = operator.post(
        reverse("console:auth_user_add"), {**fields, "usable_password": "true"}
    )
    assert response.status_code == 302
    made = User.objects.get(username="console-new")
    html = operator.get(reverse("console:auth_user_change", args=[made.pk])).content.decode()
    assert 'name="email"' not in html
