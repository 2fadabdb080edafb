"""The console's ledger: for those who may change tenants, in regions that may see them."""

from __future__ import annotations

from uuid import uuid4

from django.test import Client
from django.urls import reverse

from console.templatetags.console import facts, moment
from regions.deployment import Deployment
from tenants.models import AuditEntry
from testkit.control import forget_maps
from tests.gateway import maps

PAGE = "console:tenant_conflicts"


def test_entries_are_asked_of_every_region_and_what_is_missing_is_said(operator: Client) -> None:
    """The registry's cell has no database: neither region answers."""
    answer = operator.get(reverse(PAGE, args=["console-acme"]), {"kind": "field"})
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "eu-west, eu-central did not answer" in text
    assert "No merge has discarded anything" in text
    seen = AuditEntry.objects.get(subject="console-acme", verb="show_conflicts")
    assert (seen.actor, seen.detail["kind"]) == ("console:console-root", "field")


def test_a_region_that_may_not_see_the_tenant_shows_nothing_and_restores_nothing(
    operator: Client, registry: Deployment, settings
) -> None:
    settings.MERIDIAN_REGION = "us-east"
    maps.publish(
        registry.region("us-east").map_dir,
        cells=[maps.cell("control", *registry.regions)],
        writers={"control": "us-east"},
    )
    answer = operator.get(reverse(PAGE, args=["console-acme"]))
    assert (answer.status_code, "S01" in answer.content.decode()) == (422, True)
    path = reverse("console:restore_conflict", args=["console-acme", uuid4()])
    assert "S01" in operator.post(path, follow=True).content.decode()
    assert not AuditEntry.objects.filter(subject="console-acme").exists()
    forget_maps(registry)


def test_a_viewer_is_refused_and_nothing_restores_by_a_link(
    viewer: Client, operator: Client
) -> None:
    path = reverse("console:restore_conflict", args=["console-acme", uuid4()])
    assert viewer.get(reverse(PAGE, args=["console-acme"])).status_code == 403
    assert viewer.post(path).status_code == 403
    assert operator.get(path).status_code == 405
    assert operator.get(reverse(PAGE, args=["console-acme"]), {"after": "?"}).status_code == 422


def test_a_lost_zero_is_shown_and_times_are_told_to_the_second() -> None:
    assert (facts(0), facts(False), facts(None)) == ("0", "False", "")
    assert moment("2026-11-30T14:07:21.775546+01:00") == "2026-11-30 13:07:21"
    assert moment(None) == "—"
