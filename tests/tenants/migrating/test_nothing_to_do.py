"""A run that finds nothing: what it costs doesn't grow with the number of tenants."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tenants.rollout.graph import Graph
from tests.tenants.conftest import EU, onboard
from tests.tenants.migrating.conftest import brought

PAGES = 'migrations.AddField("book", "pages", models.IntegerField(null=True)),'
# Three for each replica, with what opens and secures a session; the rest asks the registry.
MOST = 40


@pytest.fixture
def statements(monkeypatch) -> Callable[[str], int]:
    """`statements(cell)`: how many a run of the cell sends, over all its connections."""
    # A registry that was asked a while ago, and a session that has lain for long, are asked again.
    monkeypatch.setattr("tenants.seams.REGISTRY_SECONDS", 3600.0)
    monkeypatch.setattr("tenants.sessions.KEPT_SECONDS", 3600.0)
    sent: list[object] = []
    execute = psycopg.Cursor.execute

    def counted(cursor, query, *args, **options):
        sent.append(query)
        return execute(cursor, query, *args, **options)

    def count(cell: str) -> int:
        sent.clear()
        assert brought(cell)["state"] == "nothing"
        return len(sent)

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    return count


def test_the_number_of_statements_is_the_same_for_one_tenant_and_for_many(
    place, shelf, statements: Callable[[str], int]
):
    where = place("schema", EU, tenants=1)
    shelf.add(PAGES)
    brought(where.cell)
    statements(where.cell)  # connections are open from now on
    for_one = statements(where.cell)
    for number in range(2, 5):
        onboard(f"{where.cell}-{number}", "schema", cell=where.cell)
    assert statements(where.cell) == for_one
    assert for_one <= MOST


def test_who_stands_at_the_same_point_is_planned_once(place, shelf, monkeypatch):
    where = place("schema", tenants=3)
    planned = []
    parts = Graph._parts

    def counted(graph, *args, **options):
        planned.append(args)
        return parts(graph, *args, **options)

    monkeypatch.setattr(Graph, "_parts", counted)
    assert brought(where.cell)["state"] == "nothing"
    assert len(planned) == 1
    shelf.add(PAGES)
    assert brought(where.cell)["migrated"] == 3
    assert len(planned) == 2
