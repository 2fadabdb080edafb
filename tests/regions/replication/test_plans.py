"""What merges a stage finds its rows in the table, one by one, by the key: also by a plan that was
made when the table was empty and is kept while it grows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import sql

from regions.replication.statements import Statements
from tests.regions.replication.mesh import Mesh

EU, DE, US = ("eu-west", "eu-central", "us-east")
STAGED = 3_000


@pytest.fixture
def statements(mesh: Mesh) -> Iterator[Statements]:
    """Of a table that is known to be empty, while much of it is staged."""
    mesh.make("CREATE TABLE grown (id integer PRIMARY KEY, a text)")
    mesh.write(EU, "INSERT INTO grown VALUES (1, 'a')")
    mesh.write(EU, "UPDATE grown SET a = 'b'")
    mesh.deliver(EU, DE)
    session = mesh.appliers[DE]
    (found,) = [s for shape, s in session._known.items() if shape.relation.name == "public.grown"]
    with mesh.administrator(DE) as admin:
        admin.execute("SET session_replication_role = replica")
        admin.execute("TRUNCATE grown")
        admin.execute("VACUUM ANALYZE grown")
    fill = sql.SQL("INSERT INTO {} (id) SELECT generate_series(1, {})").format(
        found.shape.stage, STAGED
    )
    mesh.loop.run_until_complete(session.execute(fill))
    yield found
    mesh.loop.run_until_complete(session.execute(found.truncate))
    mesh.start_anew()
    mesh.drop(["grown"])


@pytest.mark.parametrize("name", ["lock", "record_discarded"])
def test_a_stage_is_read_once(mesh: Mesh, statements: Statements, name: str) -> None:
    explain = sql.SQL("EXPLAIN (FORMAT JSON) ") + getattr(statements, name)
    ((found,),) = mesh.loop.run_until_complete(mesh.appliers[DE].fetch(explain))
    scans = [plan for plan in inner_of(found[0]["Plan"]) if plan["Node Type"] == "Seq Scan"]
    assert [plan["Relation Name"] for plan in scans] == []


def inner_of(plan: dict[str, Any], inner: bool = False) -> Iterator[dict[str, Any]]:
    """What is carried out again for each row of something else."""
    if inner:
        yield plan
    for part in plan.get("Plans", ()):
        yield from inner_of(part, inner or part["Parent Relationship"] == "Inner")
