"""What a tenant has sent and nobody has done goes along to its new cell, and is done there."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connections

from config.celery import app
from tenants.context import tenant_scope
from tenants.lifecycle import erase
from testkit.control import forget_maps, publish_maps, silent
from tests.tenants import jobs
from tests.tenants.kept import Leased
from tests.tenants.moves import fresh, move, now, target_of
from tests.tenants.workers import until, worker

HOME = "eu-west"
PATIENCE = 240


@pytest.mark.parametrize(("source", "target"), [("shared", "schema"), ("schema", "dedicated")])
def test_tasks_go_along(
    places: dict[str, str], valkeys, deployment, tmp_path: Path, source: str, target: str
):
    app.control.purge()
    tenant = fresh(places, source)
    with tenant_scope(tenant):
        for name in ("first", "begun"):
            jobs.tally.delay(name)
    old = Leased(deployment, tenant)
    begun = "UPDATE fabric.task SET claimed_at = now(), claims = 1 WHERE message LIKE '%%begun%%'"
    old.ask(HOME, begun)
    connections.close_all()
    move(tenant, **target_of(places, target))
    new = Leased(deployment, now(tenant))
    assert new.tasks(HOME) == ["tally", "tally"]
    publish_maps(deployment)
    try:
        assert new.tell(HOME) == 2
        with worker(HOME, tmp_path), tenant_scope(new.tenant):
            until(lambda: new.tasks(HOME) == [], PATIENCE)
            names = jobs.Tag.objects.filter(name__regex="^(first|begun) ").values_list("name")
            assert sorted(name.split()[0] for (name,) in names) == ["begun", "first"]
    finally:
        forget_maps(deployment)
        connections.close_all()


def test_who_is_erased_leaves_no_task(places: dict[str, str], valkeys, deployment):
    tenant = fresh(places, "shared")
    with tenant_scope(tenant):
        jobs.tally.delay("personal")
    place = Leased(deployment, tenant)
    mine = "SELECT 1 FROM fabric.task WHERE tenant_id = %s"
    until(lambda: place.ask("eu-central", mine, tenant.id))
    connections.close_all()
    erase(tenant.slug, actor="test", progress=silent)
    for region in place.spec.regions:
        assert place.ask(region, mine, tenant.id) == []
