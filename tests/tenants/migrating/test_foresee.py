"""The first template is made while it is still read where everybody stands, if it is sure to be
needed."""

from __future__ import annotations

import threading

import pytest
from django.core.management import CommandError

from tenants.rollout import planning, templates
from tests.tenants.migrating.conftest import brought, migrate

PAGES = 'migrations.AddField("book", "pages", models.IntegerField(null=True)),'
GONE = 'migrations.RemoveField("book", "note"),'
BROKEN = 'migrations.RunSQL("ALTER TABLE nowhere ADD COLUMN pages int"),'


@pytest.fixture
def rendered(monkeypatch) -> list[str]:
    """The threads that rendered something. Two tenants are many, and reading where they stand
    takes longer than what is done meanwhile."""
    found: list[str] = []
    survey, render = planning.survey, templates.render

    def slowly(*args, **options):
        seen = survey(*args, **options)
        for thread in threading.enumerate():
            if thread.name == "foresee":
                thread.join(60)
        return seen

    def noted(*args, **options):
        found.append(threading.current_thread().name)
        return render(*args, **options)

    monkeypatch.setattr("tenants.rollout.foresee.MANY", 2)
    monkeypatch.setattr(planning, "survey", slowly)
    monkeypatch.setattr(templates, "render", noted)
    return found


def test_the_first_template_is_ready_when_the_plan_is(place, shelf, rendered: list[str]):
    where = place("schema", tenants=3)
    shelf.add(PAGES)
    assert brought(where.cell)["migrated"] == 3
    assert rendered == ["foresee"]
    assert brought(where.cell)["state"] == "nothing"
    assert rendered == ["foresee"]


def test_what_is_refused_is_not_even_tried(place, shelf, rendered: list[str]):
    where = place("schema", tenants=2)
    shelf.add(GONE)
    with pytest.raises(CommandError, match="--contract"):
        migrate(where.cell)
    assert rendered == []


def test_a_failure_is_the_canarys(place, shelf, rendered: list[str]):
    where = place("schema", tenants=2)
    shelf.add(BROKEN)
    assert migrate(where.cell)["state"] != "done"
    assert rendered[0] == "foresee"
    assert len(rendered) > 1
