"""A partitioned table of a tenant-plane app is isolated and captured as any other, in each mode;
each of its partitions is isolated, too, and written as a part of it alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from regions import cells
from regions.deployment import Deployment
from regions.topology import TenancyMode, database_name
from tenants.directory import TenantRecord
from tenants.isolation.base import missing, protect
from tenants.seams import cell_spec
from tests.tenants.attacks.conftest import genuine
from tests.tenants.conftest import HOME

Pair = tuple[TenantRecord, TenantRecord]
Session = psycopg.Connection[Any]

TABLES = """
CREATE TABLE visit (id integer, at integer, page text NOT NULL, PRIMARY KEY (id, at))
    PARTITION BY RANGE (at);
CREATE TABLE visit_old PARTITION OF visit FOR VALUES FROM (0) TO (100);
CREATE TABLE visit_new PARTITION OF visit FOR VALUES FROM (100) TO (200) PARTITION BY LIST (id);
CREATE TABLE visit_new_rest PARTITION OF visit_new DEFAULT;
CREATE INDEX visit_page ON visit (page)
"""
LATE = "CREATE TABLE visit_late PARTITION OF visit FOR VALUES FROM (200) TO (300)"
LOGGED = "SELECT op::text, tenant, size FROM fabric.change WHERE rel = %s ORDER BY seq"
PARTS = ("visit_old", "visit_new", "visit_new_rest", "visit_late")


@pytest.fixture
def session(deployment: Deployment, pair: Pair) -> Iterator[Session]:
    """The tables in the first one's schema, once a migration has made them; nothing of it stays."""
    mine = pair[0]
    with (
        cells.administrator(deployment, HOME, database_name(mine.cell)) as admin,
        admin.transaction(force_rollback=True),
    ):
        admin.execute(f'SET LOCAL search_path = "{mine.schema}", standin, pg_catalog')
        for tables in (TABLES, LATE):
            admin.execute("SET LOCAL ROLE meridian_owner")
            admin.execute(tables.encode())
            protect(admin, mine.schema, owned_by(mine))
            assert missing(admin, mine.schema, owned_by(mine)) == []
            admin.execute("SET LOCAL ROLE meridian_app")
        yield admin


def owned_by(tenant: TenantRecord) -> Any:
    return None if cell_spec(tenant.cell).mode is TenancyMode.SHARED else tenant.id


def enter(session: Session, deployment: Deployment, tenant: TenantRecord, cell: str) -> None:
    context = genuine(deployment, tenant, cell=cell)
    session.execute(f"SET LOCAL meridian.context = '{context}'")


def test_what_is_written_to_the_whole_is_the_tenants_and_captured(
    session: Session, deployment: Deployment, pair: Pair
):
    mine, other = pair
    enter(session, deployment, mine, mine.cell)
    session.execute("INSERT INTO visit VALUES (1, 1, 'a'), (2, 150, 'b'), (3, 250, 'c')")
    session.execute("UPDATE visit SET page = 'd' WHERE at > 100")
    session.execute("DELETE FROM visit WHERE id = 1")
    assert session.execute("SELECT id, page FROM visit ORDER BY id").fetchall() == [
        (2, "d"), (3, "d"),
    ]  # fmt: skip
    enter(session, deployment, other, mine.cell)
    for table in ("visit", *PARTS):
        assert session.execute(f"SELECT count(*) FROM {table}".encode()).fetchall() == [(0,)]
    session.execute("RESET ROLE")
    found = session.execute(LOGGED, (f"{mine.schema}.visit",)).fetchall()
    assert found == [("I", mine.id, 3), ("U", mine.id, 2), ("D", mine.id, 1)]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("change", ["INSERT INTO {} VALUES (9, 9, 'x')", "DELETE FROM {}",
                                    "UPDATE {} SET page = 'x'"])  # fmt: skip
def test_a_part_is_not_written_by_its_own_name(
    session: Session, deployment: Deployment, pair: Pair, part: str, change: str
):
    enter(session, deployment, pair[0], pair[0].cell)
    session.execute("INSERT INTO visit VALUES (1, 1, 'a')")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match=f"{part} is a part of"):
        session.execute(change.format(part).encode())
