"""Plans and a tenant's limits in the console: shown with what is used, changed by the verbs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from console.limits.picture import Day, bars, columns, show
from regions.models import Cell
from tenants.limits.neighbours import loudest, noisy
from tenants.limits.values import resolve
from tenants.models import AuditEntry, Plan, Tenant, Usage

TODAY = datetime(2026, 3, 2, tzinfo=UTC).date()  # in a picture


@pytest.fixture
def acme(registry) -> Tenant:
    tenant = Tenant.objects.get(slug="console-acme")
    yield tenant
    Usage.objects.all().delete()
    Tenant.objects.filter(slug="console-acme").update(plan=Plan.DEFAULT, limits={})
    Plan.objects.filter(name="console-plan").delete()
    AuditEntry.objects.filter(subject="console-plan").delete()


def use(tenant: Tenant, region: str = "eu-west", **numbers: int) -> None:
    day = datetime.now(UTC).date()
    key = Usage.key(tenant.id, region, day)
    Usage.objects.create(id=key, tenant=tenant, region=region, day=day, **numbers)


def page_of(client: Client, tenant: Tenant) -> str:
    return client.get(reverse("console:tenants_tenant_change", args=[tenant.pk])).content.decode()


def test_a_tenants_page_shows_what_it_uses_of_its_limits(operator: Client, acme: Tenant):
    Tenant.objects.filter(id=acme.id).update(limits={"rows": 100, "bytes": 1 << 20})
    use(acme, requests=40, refused=10, busy_ms=900, rows=85, bytes=1 << 20)
    html = page_of(operator, acme)
    assert "85 of 100" in html
    assert 'aria-label="85 % of Rows in eu-west: near"' in html
    assert 'aria-label="100 % of Storage in eu-west: over"' in html
    assert "40 requests, 10 refused" in html
    assert "its own" in html


def test_a_tenant_that_nobody_limits_is_shown_without_bars(operator: Client, acme: Tenant):
    use(acme, rows=85, bytes=100)
    html = page_of(operator, acme)
    assert "mc-progress" not in html
    assert "unlimited" in html


def test_a_plan_is_made_changed_and_removed(operator: Client, acme: Tenant):
    wanted = {"name": "console-plan", "rows": "5000", "bytes": "2GiB"}
    assert operator.post(reverse("console:new_plan"), wanted).status_code == 302
    plan = Plan.objects.get(name="console-plan")
    assert plan.limits == {"rows": 5000, "bytes": 2 << 30}
    url = reverse("console:plan", args=["console-plan"])
    assert 'value="5000"' in operator.get(url).content.decode()
    assert operator.post(url, {"rows": "unlimited", "tasks": "2"}).status_code == 302
    plan.refresh_from_db()
    assert plan.limits == {"tasks": 2}
    listed = operator.get(reverse("console:tenants_plan_changelist")).content.decode()
    assert "console-plan" in listed
    operator.post(reverse("console:remove_plan", args=["console-plan"]))
    assert not Plan.objects.filter(name="console-plan").exists()
    entries = AuditEntry.objects.filter(subject="console-plan", actor="console:console-root")
    assert set(entries.values_list("verb", flat=True)) == {"set_plan", "delete_plan"}


@pytest.mark.parametrize(
    "wrong", [{"name": "Bad Name"}, {"name": "starter"}, {"rows": "many"}, {"bytes": "-1"}]
)
def test_a_plan_with_mistakes_is_explained_and_not_made(operator: Client, acme: Tenant, wrong):
    before = list(Plan.objects.values())
    answer = operator.post(reverse("console:new_plan"), {"name": "console-plan", **wrong})
    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode()
    assert list(Plan.objects.values()) == before


def test_a_tenant_gets_a_plan_and_limits_of_its_own(operator: Client, acme: Tenant):
    url = reverse("console:tenant_limits", args=["console-acme"])
    sent = {"plan": "starter", "rows": "7", "bytes": "unlimited"}
    assert operator.post(url, sent).status_code == 302
    acme.refresh_from_db()
    assert (acme.plan_id, acme.limits) == ("starter", {"rows": 7, "bytes": None})
    assert 'value="unlimited"' in operator.get(url).content.decode()
    assert operator.post(url, {"plan": "starter"}).status_code == 302
    acme.refresh_from_db()
    assert acme.limits == {}


def test_who_may_only_look_changes_no_limit(viewer: Client, acme: Tenant):
    for name, arguments in (
        ("tenant_limits", ["console-acme"]),
        ("new_plan", []),
        ("plan", ["starter"]),
        ("remove_plan", ["starter"]),
    ):
        url = reverse(f"console:{name}", args=arguments)
        assert viewer.post(url, {"rows": "5"}).status_code == 403, name
    assert "Change" not in page_of(viewer, acme).split("Limits and usage")[1].split("</div>")[0]


def test_the_dashboard_proposes_to_move_a_tenant_that_takes_most_of_its_cell(
    operator: Client, acme: Tenant
):
    cell = Cell.objects.get(name="console-eu")
    calm = Tenant.objects.create(slug="console-calm", cell=cell, residency="EU", state="active")
    use(acme, busy_ms=90_000)
    use(calm, busy_ms=5_000)
    html = operator.get(reverse("console:live")).content.decode()
    assert "tenant move console-acme --mode dedicated" in html
    assert "95%" in html
    assert noisy({"console-eu": 1}) == []
    calm.delete()


@given(busy=st.dictionaries(st.text(min_size=1, max_size=3), st.integers(0, 10**6), max_size=6))
def test_at_most_one_tenant_takes_most_of_a_cell(busy):
    loud = loudest("eu", busy, tenants=len(busy))
    if loud is not None:
        others = sum(time for slug, time in busy.items() if slug != loud.slug)
        assert busy[loud.slug] > others
        assert len(busy) > 1


DAYS = st.builds(
    Day,
    day=st.integers(0, 20).map(lambda back: TODAY - timedelta(days=back)),
    region=st.sampled_from(["eu-west", "eu-central"]),
    requests=st.integers(0, 10**6),
    refused=st.integers(0, 10**6),
    busy_ms=st.just(0),
    rows=st.integers(0, 10**6) | st.none(),
    bytes=st.integers(0, 10**6),
)


@given(days=st.lists(DAYS, max_size=30), rows=st.integers(1, 10**6) | st.none())
def test_no_bar_is_longer_than_its_frame_and_none_is_drawn_without_a_limit(days, rows):
    drawn = bars(days, resolve({"rows": rows}, {}))
    for bar in drawn:
        assert (bar.percent is None) == (bar.label != "Rows" or rows is None)
        assert 0 <= bar.width <= 100
    assert all(0 <= column.height <= 100 for column in columns(days, TODAY))
    assert len(columns(days, TODAY)) == 14


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("bytes", 512 << 20, "512 MiB"),
        ("bytes", 1536, "1.5 KiB"),
        ("rows", 1_000_000, "1\u202f000\u202f000"),
        ("statement_ms", 1500, "1.5 s"),
        ("tasks", None, "unlimited"),
    ],
)
def test_numbers_are_written_for_people(name, value, text):
    assert show(name, value) == text
