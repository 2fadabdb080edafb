"""Who is over the quota adds nothing, in every mode, whatever SQL is sent; others can."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest
from django.db import Error, connections, transaction
from hypothesis import given
from hypothesis import strategies as st
from psycopg import errors, sql

from desk.models import Customer, Tag
from regions import cells
from regions.deployment import AGENT_ROLE, Deployment
from tenants.context import tenant_scope
from tenants.directory import TenantRecord
from tenants.isolation import quota
from tenants.isolation.modes import isolation_of
from tenants.isolation.quota import Excess
from tenants.limits import meter
from tenants.limits.counts import Counts
from tenants.limits.judge import HARD, SOFT, Held, standings, worst
from tenants.limits.measure import measure
from tenants.limits.meter import excesses, judge_again, meter_cell
from tenants.limits.store import Store
from tenants.limits.values import resolve
from tenants.seams import cell_spec
from tests.tenants.conftest import HOME

OVER_QUOTA = "MQT01"


@pytest.fixture
def mine(pair) -> Iterator[TenantRecord]:
    """The first of the two, with one customer and one tag of its own."""
    with tenant_scope(pair[0]):
        Customer.objects.all().delete()
        Tag.objects.all().delete()
        Customer.objects.create(name="Ann", email="ann@example.org")
        Tag.objects.create(name="a")
        yield pair[0]


@pytest.fixture
def agent(pair, deployment: Deployment) -> Iterator[psycopg.Connection]:
    """The region's agent in the cell of the first of the two."""
    database = cell_spec(pair[0].cell).database
    with psycopg.connect(deployment.dsn(HOME, database, AGENT_ROLE), autocommit=True) as session:
        yield session
        quota.publish(session, [])


@pytest.fixture
def over(mine: TenantRecord, agent: psycopg.Connection) -> Callable[..., None]:
    def put(what: str = "rows", *, no_updates: bool = False) -> None:
        quota.publish(agent, [Excess(mine.id, mine.schema, what, 12, 10, no_updates)])

    return put


def refused(statement: str) -> str:
    """What the database says to raw SQL under the application's role."""
    with pytest.raises(Error) as no, connections["default"].cursor() as cursor:
        cursor.execute(statement)
    assert no.value.__cause__.sqlstate == OVER_QUOTA, no.value
    return no.value.__cause__.diag.message_detail or ""


ADDS = {
    "insert": "INSERT INTO desk_tag (name) VALUES ('b')",
    "select": "INSERT INTO desk_tag (name) SELECT 'b' || n FROM generate_series(1, 3) n",
    "upsert": "INSERT INTO desk_tag (name) VALUES ('b') ON CONFLICT DO NOTHING",
    "cte": "WITH made AS (INSERT INTO desk_tag (name) VALUES ('b') RETURNING 1) SELECT 1",
    "merge": "MERGE INTO desk_tag USING (SELECT 'b' AS n) s ON name = s.n"
    " WHEN NOT MATCHED THEN INSERT (name) VALUES (s.n)",
    "local": "INSERT INTO django_session VALUES ('k', 'd', now())",
    "settings": "SET LOCAL session_authorization = DEFAULT; SET LOCAL search_path = pg_catalog;"
    " INSERT INTO {schema}.desk_tag (name) VALUES ('b')",
    "other context": "SELECT 1; SET LOCAL meridian.context = '';"
    " SET LOCAL meridian.context = '{context}';"
    " INSERT INTO {schema}.desk_tag (name) VALUES ('b')",
}


@pytest.mark.parametrize("how", ADDS)
def test_no_sql_adds_a_row(mine: TenantRecord, over, how: str):
    over()
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT current_setting('meridian.context')")
        context = cursor.fetchone()[0]
    statement = ADDS[how].format(schema=mine.schema, context=context) if "{" in ADDS[how] else None
    told = refused(statement or ADDS[how])
    assert ('"used" : 12' in told, '"allowed" : 10' in told) == (True, True)
    assert Tag.objects.count() == 1


def test_what_is_there_can_be_read_changed_and_deleted(mine: TenantRecord, over):
    over()
    Customer.objects.update(name="Anna")
    assert Customer.objects.get().name == "Anna"
    Tag.objects.bulk_create([Tag(name="a")], ignore_conflicts=True)
    Customer.objects.all().delete()
    assert not Customer.objects.exists()


def test_far_over_nothing_grows_by_being_changed(mine: TenantRecord, over):
    over("bytes", no_updates=True)
    refused("UPDATE desk_customer SET name = repeat('x', 150)")
    Customer.objects.all().delete()


def test_a_transaction_that_is_refused_changes_nothing(mine: TenantRecord, over):
    over()
    with pytest.raises(Error), transaction.atomic():
        Customer.objects.update(name="Changed")
        Tag.objects.create(name="b")
    assert Customer.objects.get().name == "Ann"


def test_others_of_the_cell_notice_nothing(pair, mine: TenantRecord, over):
    over()
    if pair[1].cell == mine.cell:
        with tenant_scope(pair[1]):
            Tag.objects.all().delete()
            Tag.objects.create(name="b")
            assert Tag.objects.count() == 1


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM tenancy.over_quota",
        "SELECT * FROM tenancy.over_quota",
        "INSERT INTO tenancy.over_quota VALUES (gen_random_uuid(), 'x', 'rows', 1, 1, false)",
        "ALTER TABLE {}.desk_tag DISABLE TRIGGER tenancy_quota_insert",
        "DROP TRIGGER tenancy_quota_insert ON {}.desk_tag",
        "CREATE OR REPLACE FUNCTION tenancy.check_quota() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RETURN NULL; END'",
        "SET session_replication_role = replica",
    ],
)
def test_a_tenant_cannot_lift_its_own_quota(mine: TenantRecord, over, statement: str):
    over()
    with connections["default"].cursor() as cursor, pytest.raises(Error) as no:
        cursor.execute(statement.format(mine.schema))
    assert isinstance(no.value.__cause__, errors.InsufficientPrivilege)


def test_every_table_that_a_tenant_can_fill_is_checked(pair):
    assert isolation_of(cell_spec(pair[0].cell)).lacking() == []


def test_a_table_that_lost_its_check_is_reported_and_gets_it_back(mine, deployment):
    from tenants.isolation.owner import owner

    spec = cell_spec(mine.cell)
    table = sql.Identifier(mine.schema, "desk_tag")
    with owner(spec, HOME) as connection:
        connection.execute(sql.SQL("DROP TRIGGER tenancy_quota_insert ON {}").format(table))
        reported = [line for line in isolation_of(spec).lacking() if "desk_tag" in line]
        assert reported == [f"{HOME}: {mine.schema}.desk_tag has no check of quotas"]
        quota.guard(connection, mine.schema, shared=mine.mode == "shared")
        assert quota.unguarded(connection, mine.schema) == []


def test_a_replica_from_before_there_were_quotas_gets_their_check(mine, deployment, agent):
    from tenants.isolation.owner import owner

    spec = cell_spec(mine.cell)
    with owner(spec, HOME) as connection:
        connection.execute("DROP FUNCTION tenancy.check_quota() CASCADE")
        connection.execute("DROP TABLE tenancy.over_quota")
    isolation_of(spec).ensure_quotas(HOME)
    assert isolation_of(spec).lacking() == []


# -- measuring ---------------------------------------------------------------------------------


@pytest.fixture
def counts(store: Store) -> Counts:
    return Counts(store)


def test_what_is_measured_is_what_is_held(pair, mine: TenantRecord, agent, deployment):
    with cells.administrator(deployment, HOME, cell_spec(mine.cell).database) as admin:
        # Whatever other tests have left room for would take the rows without growing.
        table = sql.Identifier(mine.schema, "desk_customer")
        admin.execute(sql.SQL("VACUUM FULL {}").format(table))
    before = measure(agent, cell_spec(mine.cell), [mine])[mine.id]
    Customer.objects.bulk_create(
        [Customer(name="x" * 190, email=f"c{n}@example.org") for n in range(200)]
    )
    after = measure(agent, cell_spec(mine.cell), [mine, *pair[1:]])
    assert after[mine.id].rows - before.rows == 200
    assert 200 * 190 <= after[mine.id].bytes - before.bytes <= 200 * 1500
    if pair[1].cell == mine.cell:
        assert after[pair[1].id].rows < 200


def test_the_meter_puts_the_quota_in_force_and_takes_it_back(
    mine: TenantRecord, agent, counts: Counts, deployment, monkeypatch
):
    monkeypatch.setattr(meter, "ROUND_SECONDS", 300.0)
    spec = cell_spec(mine.cell)
    held = measure(agent, spec, [mine])[mine.id].rows
    limited = replace(mine, limits=resolve({"rows": held + 1}, {}))
    assert meter_cell(deployment, HOME, spec, [limited], counts)
    Tag.objects.create(name="b")
    assert not meter_cell(deployment, HOME, spec, [limited], counts)  # it was measured just now
    counts.again_in(f"meter:{spec.name}", 0.001)
    time.sleep(0.01)
    assert meter_cell(deployment, HOME, spec, [limited], counts)
    assert counts.held([mine.id])[mine.id].rows == held + 1
    refused("INSERT INTO desk_tag (name) VALUES ('c')")
    more = replace(mine, limits=resolve({"rows": held + 2}, {}))
    assert judge_again(deployment, HOME, [spec], [more], counts)
    assert not judge_again(deployment, HOME, [spec], [more], counts)
    Tag.objects.create(name="c")


def test_the_rows_of_other_regions_are_not_refused(mine: TenantRecord, over, agent):
    """What a peer has accepted is applied here, whatever the quota says."""
    over()
    with agent.transaction():
        agent.execute("SET LOCAL session_replication_role = replica")
        columns = "_born, _stamp, name" + (", tenant_id" if mine.mode == "shared" else "")
        values = (0, 0, "z", *((mine.id,) if mine.mode == "shared" else ()))
        marks = ", ".join(["%s"] * len(values))
        table = sql.Identifier(mine.schema, "desk_tag").as_string(agent)
        agent.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)
    assert Tag.objects.filter(name="z").exists()


HELD = st.builds(Held, st.integers(0, 10**12), st.integers(0, 10**12))
QUOTAS = st.fixed_dictionaries(
    {}, optional={"rows": st.integers(1, 10**12), "bytes": st.integers(1, 10**12)}
)


@given(held=HELD, quotas=QUOTAS)
def test_a_tenant_is_over_exactly_when_one_of_its_quotas_is_used_up(held, quotas):
    limits = resolve(quotas, {})
    tenant = replace(_anybody(), limits=limits)
    excess = excesses([tenant], {tenant.id: held})
    used_up = [name for name, most in quotas.items() if getattr(held, name) >= most]
    assert bool(excess) == bool(used_up)
    if excess:
        assert excess[0].what in used_up
        hard = "bytes" in quotas and held.bytes >= HARD * quotas["bytes"]
        assert excess[0].no_updates == hard


@given(held=HELD, quotas=QUOTAS)
def test_people_are_warned_before_nothing_goes_any_more(held, quotas):
    limits = resolve(quotas, {})
    for one in standings(held, limits):
        assert (one.state == "ok") == (one.share < SOFT)
    assert (worst(held, limits) is None) == (not quotas)


def _anybody() -> TenantRecord:
    from tests.tenants.limits.conftest import made

    return made()
