"""Runs of `cell migrate` in the console: how far each tenant is, why not, and what to type."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tenants.models import Tenant
from tenants.rollout.models import Rollout, RolloutUnit

REASON = 'column "pages" of relation "shelf_book" already exists (DuplicateColumn 42701)'


@pytest.fixture
def run_of(registry) -> Iterator[Callable[..., Rollout]]:
    """`run_of(state, {unit's state: …})`: a run with those units."""

    def make(state: str, units: dict[str, dict], **fields) -> Rollout:
        waves = [{"size": 1, "reason": "canary, 1 to go"}, {"size": 4, "reason": "4 to go"}]
        options = {"cells": ["console-eu"], "contract": False, "waves": waves}
        ended = None if state == "running" else timezone.now()
        run = Rollout.objects.create(
            state=state, options=options, actor="ann", ended_at=ended, **fields
        )
        tenant = Tenant.objects.get(slug="console-acme")
        for unit, more in units.items():
            names = {"cell": "console-eu", "tenant": tenant.id, "slug": f"acme-{unit}"}
            RolloutUnit.objects.create(rollout=run, state=unit, **names, **more)
        return run

    yield make
    Rollout.objects.all().delete()


def shown(client: Client, run: Rollout, view: str = "rollout") -> str:
    answer = client.get(reverse(f"console:{view}", args=[run.id]))
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_quarantined_tenant_is_shown_first_with_its_reason_and_the_way_on(
    operator: Client, run_of
):
    html = shown(operator, run_of("failed", {"done": {}, "failed": {"error": REASON}}))
    assert html.index("acme-failed") < html.index("acme-done")
    assert "already exists (DuplicateColumn 42701)" in html
    assert "manage.py cell migrate console-eu --retry-quarantined" in html
    assert "<strong>2 of 2</strong> have ended: 1 failed, 1 done." in html
    assert "canary, 1 to go" in html
    assert "Rollout" not in html


def test_a_halted_run_says_why_and_how_it_is_taken_up_again(operator: Client, run_of):
    run = run_of("halted", {"pending": {}}, reason="3 failed, and at most 1 of 9 may")
    html = shown(operator, run)
    assert "Halted: 3 failed, and at most 1 of 9 may." in html
    assert "manage.py cell migrate console-eu --resume" in html


def test_a_run_asks_for_itself_again_until_it_has_ended(operator: Client, run_of):
    part = reverse("console:rollout_progress", args=[(running := run_of("running", {})).id])
    assert f'hx-get="{part}?page=1"' in shown(operator, running, "rollout_progress")
    assert "hx-get" not in shown(operator, run_of("done", {}), "rollout_progress")


def test_the_list_counts_and_leads_to_the_page(operator: Client, run_of):
    run = run_of("failed", {"done": {}, "failed": {}, "blocked": {}})
    html = operator.get(reverse("console:tenants_rollout_changelist")).content.decode()
    assert "console-eu" in html
    detail = operator.get(reverse("console:tenants_rollout_change", args=[run.id]))
    assert detail.headers["Location"] == reverse("console:rollout", args=[run.id])


def test_who_may_not_look_at_runs_does_not(viewer: Client, run_of):
    url = reverse("console:rollout", args=[run_of("done", {}).id])
    assert viewer.get(url).status_code == 403
