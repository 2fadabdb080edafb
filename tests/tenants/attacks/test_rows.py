"""Rows of another tenant can't be read, written, counted or guessed."""

from __future__ import annotations

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, ProgrammingError

from desk.models import Customer, Tag, Ticket
from tenants.context import tenant_scope
from tests.tenants.attacks.conftest import Inject, Pair, theirs

INSUFFICIENT_PRIVILEGE = "42501"
UNDEFINED_TABLE = "42P01"


def reachable(pair: Pair) -> bool:
    """Whether the other tenant's tables are in the same database."""
    return pair[0].cell == pair[1].cell


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM {customer}",
        "SELECT 1; SELECT count(*) FROM {customer}",
        "SELECT count(*) FROM {customer} TABLESAMPLE SYSTEM (100)",
        "SELECT count(*) FROM ONLY {customer} WHERE ctid >= '(0,0)'",
        "SET search_path = {schema}; SELECT count(*) FROM desk_customer",
        "RESET ALL; SELECT count(*) FROM {customer}",
        "SET SESSION meridian.context = ''; SELECT count(*) FROM {customer}",
        "COMMIT; SELECT count(*) FROM {customer}",
        "DECLARE c CURSOR FOR SELECT 1 FROM {customer}; FETCH ALL FROM c; SELECT 0",
        "WITH gone AS (DELETE FROM {customer} RETURNING 1) SELECT count(*) FROM gone",
        "WITH hit AS (UPDATE {customer} SET name = 'x' RETURNING 1) SELECT count(*) FROM hit",
    ],
)
def test_no_query_reaches_more_than_ones_own_rows(pair: Pair, inject: Inject, query: str):
    mine, other = pair
    allowed = 0 if mine.mode == "schema" else 1  # what is called `public` there is his own
    text = query.format(customer=theirs(other, "desk_customer"), schema=f'"{other.schema}"')
    assert int(inject(mine, text)[0][0]) <= allowed
    with tenant_scope(other):
        assert list(Customer.objects.values_list("name", flat=True)) == ["Ann", "Ann"]


def test_row_security_can_only_be_switched_into_an_error(pair: Pair, inject: Inject):
    with pytest.raises(ProgrammingError, match="row-level security"):
        inject(pair[0], f"SET row_security = off; TABLE {theirs(pair[1], 'desk_customer')}")


def test_rows_cannot_be_given_to_or_taken_from_another_tenant(shared_pair: Pair, inject: Inject):
    mine, other = shared_pair
    for statement in (
        f"INSERT INTO desk_tag (tenant_id, name) VALUES ('{other.id}', 'x')",
        f"INSERT INTO desk_tag (tenant_id, name) VALUES ('{other.id}', 'x') ON CONFLICT DO NOTHING",
        f"WITH t AS (INSERT INTO desk_tag (name) VALUES ('y') RETURNING id)"
        f" UPDATE desk_customer SET tenant_id = '{other.id}'",
    ):
        with pytest.raises(DatabaseError, match=r"row-level security|primary key"):
            inject(mine, statement)


def test_a_unique_value_of_another_tenant_cannot_be_probed(pair: Pair, inject: Inject):
    """Whether the value is taken there or not, the answer is the same."""
    mine, other = pair
    if not reachable(pair):
        pytest.skip("the tables are in another database")
    with tenant_scope(other):
        Tag.objects.get_or_create(name="taken")
    owner = ("tenant_id, ", f"'{other.id}', ") if mine.mode == "shared" else ("", "")
    for suffix in ("", " ON CONFLICT DO NOTHING", " ON CONFLICT DO NOTHING RETURNING id"):
        answers = set()
        for name in ("taken", "free"):
            with pytest.raises(ProgrammingError) as refused:
                inject(
                    mine,
                    f"INSERT INTO {theirs(other, 'desk_tag')} ({owner[0]}name)"
                    f" VALUES ({owner[1]}'{name}'){suffix}",
                )
            answers.add(str(refused.value))
        assert len(answers) == 1, answers


def test_the_same_unique_value_in_two_tenants_is_no_conflict(pair: Pair, inject: Inject):
    for tenant in pair:
        with tenant_scope(tenant):
            Tag.objects.filter(name="both").delete()
        inject(tenant, "INSERT INTO desk_tag (name) VALUES ('both')")


def test_the_database_refuses_a_reference_to_another_tenants_row(pair: Pair, inject: Inject):
    mine, other = pair
    with tenant_scope(other):
        foreign = Customer.objects.order_by("-pk")[0].pk + (10**9 if not reachable(pair) else 0)
    with tenant_scope(mine):
        Customer.objects.filter(pk=foreign).delete()
        with pytest.raises(IntegrityError) as refused:
            Ticket.objects.create(title="theirs", customer_id=foreign)
    assert "example" not in str(refused.value)
    with pytest.raises(IntegrityError):
        inject(
            mine,
            "INSERT INTO desk_ticket (title, body, status, priority, votes, customer_id,"
            " created_at, updated_at)"
            f" VALUES ('x', '', 'open', 'normal', 0, {foreign}, now(), now())",
        )


def test_an_error_message_cannot_be_made_to_quote_anothers_value(pair: Pair, inject: Inject):
    """The policy is applied before any condition that could fail on a row."""
    mine, other = pair
    for condition in ("email::int = 0", "(1 / (length(email) - length(email)))::text = email"):
        with pytest.raises(DatabaseError) as failed:
            inject(
                mine,
                f"SELECT 1 FROM {theirs(mine, 'desk_customer')} WHERE {condition}",
            )
        assert other.slug not in str(failed.value)
    if mine.mode == "schema":
        assert inject(mine, f"SELECT email::int FROM {theirs(other, 'desk_customer')}") == []


def test_other_databases_cannot_be_named(pair: Pair, inject: Inject):
    with pytest.raises(DatabaseError) as refused:
        inject(pair[0], "SELECT * FROM control.public.tenants_tenant")
    assert "cross-database" in str(refused.value)
    with pytest.raises(ProgrammingError) as unknown:
        inject(pair[0], "SELECT dblink('dbname=control', 'SELECT 1')")
    assert unknown.value.__cause__.sqlstate == "42883"


def test_large_objects_cannot_be_used_because_they_have_no_tenant(pair: Pair, inject: Inject):
    for statement in (
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, 'secret')",
        "SELECT lo_get(1)",
        "SELECT lo_open(1, 262144)",
        "SELECT lo_unlink(1)",
        "SELECT lo_import('/etc/passwd')",
        "SELECT * FROM pg_largeobject",
        "SELECT * FROM pg_largeobject_metadata",
    ):
        with pytest.raises(ProgrammingError) as refused:
            inject(pair[0], statement)
        assert refused.value.__cause__.sqlstate == INSUFFICIENT_PRIVILEGE, statement


def test_counters_of_another_tenant_can_be_neither_read_nor_moved(pair: Pair, alone):
    """By PostgreSQL itself, whatever the platform sends or not."""
    mine, other = pair
    session = alone(mine)
    counter = theirs(other, "desk_tag_id_seq")
    for statement in (
        f"SELECT pg_catalog.nextval('{counter}')",
        f"SELECT pg_catalog.setval('{counter}', 1)",
        f"SELECT last_value FROM {counter}",
        f"SELECT * FROM pg_sequence_parameters('{counter}'::regclass)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(statement)
    if mine.mode == "schema":
        for function in ("nextval('{}')", "tenancy.draw_past('{}', 10)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(f"SELECT {function.format(counter)}")
    own = session.execute("SELECT nextval('desk_tag_id_seq')").fetchone()[0]
    assert session.execute("SELECT nextval('desk_tag_id_seq')").fetchone()[0] > own
