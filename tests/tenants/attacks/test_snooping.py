"""The catalog and the server's statistics tell nothing of other tenants' rows, sizes or names."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest
from django.contrib.postgres.signals import get_type_oids
from django.db import NotSupportedError, ProgrammingError, connection
from psycopg.types import TypeInfo

from desk.models import Customer, Ticket
from tenants.context import tenant_scope
from tenants.isolation.catalog import REFERENCE_TABLES
from tests.tenants.attacks.conftest import Inject, Pair, theirs


@pytest.mark.parametrize(
    "query",
    [
        "SELECT reltuples FROM pg_class WHERE relname = 'desk_customer'",
        "SELECT * FROM pg_class",
        "SELECT relpages FROM pg_class",
        "SELECT * FROM pg_stat_user_tables",
        "SELECT * FROM pg_statio_user_tables",
        "SELECT * FROM pg_stat_all_indexes",
        "SELECT pg_stat_get_live_tuples({table})",
        "SELECT pg_stat_get_tuples_inserted({table})",
        "SELECT pg_relation_size({table})",
        "SELECT pg_total_relation_size({table})",
        "SELECT pg_table_size({table})",
        "SELECT pg_indexes_size({table})",
        "SELECT pg_relation_filepath({table})",
        "SELECT pg_database_size(current_database())",
        "SELECT datname FROM pg_database",
        "SELECT * FROM pg_stat_database",
        "SELECT * FROM pg_stat_activity",
        "SELECT pg_stat_get_backend_activity(1)",
        "SELECT * FROM pg_stat_get_activity(NULL)",
        "SELECT * FROM pg_locks",
        "SELECT * FROM pg_prepared_xacts",
        "SELECT * FROM pg_replication_slots",
        "SELECT * FROM pg_stat_replication",
        "SELECT * FROM pg_stat_subscription",
        "SELECT subname FROM pg_subscription",
        "SELECT subconninfo FROM pg_subscription",
        "SELECT rolname FROM pg_roles",
        "SELECT * FROM pg_user",
        "SELECT rolname FROM pg_authid",
        "SELECT setconfig FROM pg_db_role_setting",
        "SELECT roname FROM pg_replication_origin",
        "SELECT * FROM pg_policies",
        "SELECT polqual FROM pg_policy",
        "SELECT tgargs FROM pg_trigger",
        "SELECT pg_get_triggerdef(oid) FROM pg_trigger",
        "SELECT pg_describe_object('pg_database'::regclass, 1, 0)",
        "SELECT pg_identify_object('pg_database'::regclass, 1, 0)",
        "SELECT has_database_privilege('control', 'CONNECT')",
        "SELECT * FROM pg_statistic",
        "SELECT * FROM pg_statistic_ext_data",
        "SELECT * FROM pg_file_settings",
        "SELECT * FROM pg_hba_file_rules",
        "SELECT pg_current_wal_lsn()",
        "SELECT * FROM pg_control_checkpoint()",
        "SELECT * FROM pg_last_committed_xact()",
        "SELECT pg_xact_commit_timestamp('99')",
        "SELECT * FROM pg_xact_commit_timestamp_origin('99')",
        "SELECT * FROM pg_available_wal_summaries()",
        "SELECT * FROM pg_wal_summary_contents(1, '0/0', '0/1')",
        "SELECT * FROM pg_get_publication_tables('fabric')",
        "SELECT * FROM pg_publication_tables",
        "SELECT shobj_description(1, 'pg_database')",
        "SELECT last_value FROM {schema}.desk_ticket_id_seq",
        "SELECT * FROM fabric.relation",
        "SELECT * FROM tenancy.frozen",
    ],
)
def test_it_is_not_shown(pair: Pair, alone, query: str):
    """By PostgreSQL itself, whatever the platform sends or not."""
    table = f"'{theirs(pair[1], 'desk_customer')}'::regclass"
    text = query.format(table=table, schema=f'"{pair[1].schema}"')
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        alone(pair[0]).execute(text)


def test_counters_tell_nothing_of_how_many_rows_there_were(pair: Pair, alone):
    """PostgreSQL answers with nothing, or refuses, as its version has it."""
    counter = f"'{theirs(pair[1], 'desk_customer_id_seq')}'"
    for query in (
        f"SELECT pg_sequence_last_value({counter})",
        f"SELECT last_value FROM pg_get_sequence_data({counter})",
        "SELECT max(last_value) FROM pg_sequences WHERE sequencename LIKE 'desk%'",
        f"SELECT currval({counter})",
    ):
        told = None
        with suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFunction):
            told = alone(pair[0]).execute(query).fetchone()[0]
        assert told is None, query


def test_column_statistics_of_guarded_tables_are_hidden(pair: Pair, alone, administer):
    mine, other = pair
    administer(other, f"ANALYZE {theirs(other, 'desk_customer')}")
    for view in ("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"):
        rows = alone(mine).execute(
            f"SELECT * FROM {view} WHERE (tablename LIKE 'desk%%' OR schemaname = %s)"
            " AND tablename <> ALL (%s)",
            (other.schema, list(REFERENCE_TABLES)),
        )
        assert rows.fetchall() == [], view


@pytest.mark.parametrize(
    "statement",
    [
        "EXPLAIN SELECT * FROM {table}",
        "SELECT 1; EXPLAIN (FORMAT json) SELECT * FROM {table}",
        "EXPLAIN ANALYZE SELECT * FROM {table}",
        "SELECT query_to_xml('EXPLAIN SELECT * FROM {table}', true, false, '')",
    ],
)
def test_the_planner_cannot_be_asked_how_many_rows_others_have(
    pair: Pair, inject: Inject, statement: str
):
    if pair[0].mode == "dedicated":
        pytest.skip("its statistics are the tenant's own")
    with pytest.raises((ProgrammingError, NotSupportedError)):
        inject(pair[0], statement.format(table=theirs(pair[1], "desk_customer")))


def test_explain_says_where_it_is_not_to_be_had(pair: Pair):
    with tenant_scope(pair[0]):
        if pair[0].mode == "dedicated":
            assert "Scan" in Customer.objects.all().explain()
        else:
            with pytest.raises(NotSupportedError):
                Customer.objects.all().explain()


def test_introspection_still_works_for_apps(pair: Pair):
    with tenant_scope(pair[0]), connection.cursor() as cursor:
        look = connection.introspection
        assert "desk_customer" in look.table_names(cursor)
        columns = [column.name for column in look.get_table_description(cursor, "desk_ticket")]
        assert columns[0] == "id"
        look.get_relations(cursor, "desk_ticket")
        assert look.get_primary_key_columns(cursor, "desk_ticket") == ["id"]
        assert look.get_constraints(cursor, "desk_ticket")
        assert look.get_sequences(cursor, "desk_ticket", Ticket._meta.local_fields)
        cursor.execute("SELECT pg_get_serial_sequence('desk_ticket', 'id'), to_regclass('nothing')")
        assert cursor.fetchone()[0].endswith("desk_ticket_id_seq")


def test_type_look_ups_still_work_for_drivers_and_contrib_postgres(pair: Pair):
    with tenant_scope(pair[0]):
        connection.ensure_connection()
        found = TypeInfo.fetch(connection.connection, "citext")
        assert found is None
        assert TypeInfo.fetch(connection.connection, "uuid").oid == 2950
        hstore = TypeInfo.fetch(connection.connection, "hstore")
        assert get_type_oids(connection.alias, "hstore") == ((hstore.oid,), (hstore.array_oid,))


def test_names_that_remain_visible_say_nothing(pair: Pair, alone):
    """Casts can't be withheld, so names are told; they are nobody's."""
    if pair[0].mode != "schema":
        pytest.skip("there are no names of tenants in the database")
    names = alone(pair[0]).execute("SELECT nspname FROM pg_namespace").fetchall()
    assert not [name for (name,) in names if "globex" in name or "acme" in name]
