"""A tenant's server-side cursor gives nobody else a row, and nobody else's rows to the tenant."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection, connections, transaction
from psycopg.errors import InsufficientPrivilege

from desk.models import Customer
from regions.deployment import Deployment
from tenants.backend.context import context_statement
from tenants.context import tenant_scope
from tenants.databases import cell_alias
from tenants.errors import NoTenantError, WrongTenantError
from tests.tenants.attacks.conftest import Inject, Pair, prefix

QUERY = "SELECT email FROM desk_customer ORDER BY email"


@pytest.fixture(autouse=True)
def sessions() -> Iterator[None]:
    connections.close_all()
    yield
    connections.close_all()


def on(pair: Pair) -> Any:
    """The connection to the first one's cell, whoever is in scope."""
    return connections[cell_alias(pair[0].cell)]


@pytest.mark.parametrize("within", [True, False], ids=["transaction", "autocommit"])
def test_it_is_fetched_from_in_its_own_scope_only(pair: Pair, within: bool):
    """In both: before its query has run at all, and when it has brought rows already."""
    mine, other = pair
    with tenant_scope(other):
        Customer.objects.exists()
    with tenant_scope(mine):
        if within:
            connection.set_autocommit(False)
        streams = [connection.chunked_cursor() for _ in range(2)]
        for stream in streams:
            stream.execute(QUERY)
        assert len(streams[1].fetchmany(1)) == 1
    for stream in streams:
        for fetch in (stream.fetchone, stream.fetchall, lambda each=stream: next(iter(each))):
            with pytest.raises(NoTenantError):
                fetch()
            with tenant_scope(other), pytest.raises(WrongTenantError):
                fetch()
    with tenant_scope(mine):
        assert [len(stream.fetchall()) for stream in streams] == [1, 0]
        for stream in streams:
            stream.close()
        if within:
            connection.rollback()
            connection.set_autocommit(True)


def test_the_database_alone_asks_for_the_tenant_at_the_first_chunk(
    pair: Pair, raw: Callable[..., psycopg.Connection[Any]], deployment: Deployment
):
    """Why no other tenant's statement may come between: the cursor would bring that one's rows,
    and bring the first one's to the other when it has begun."""
    mine, other = pair
    if mine.mode != "shared":
        pytest.skip("their rows are in tables of their own")
    session = raw(mine)
    session.autocommit = False
    for begun, found in ((False, {other.slug}), (True, {mine.slug})):
        session.execute(prefix(deployment, mine) + b"DECLARE d NO SCROLL CURSOR FOR " + EMAILS)
        if begun:
            session.execute("FETCH FORWARD 0 FROM d")
            assert session.execute("FETCH FORWARD 1 FROM d").fetchone() is not None
            session.execute("CLOSE d")
            session.execute(b"DECLARE d NO SCROLL CURSOR FOR " + TWICE)
            session.execute("FETCH FORWARD 1 FROM d")
        session.execute(prefix(deployment, other))
        rows = session.execute("FETCH ALL FROM d").fetchall()
        assert {email.split("@")[1].removesuffix(".example") for (email,) in rows} == found
        session.rollback()


EMAILS = QUERY.encode()
TWICE = b"SELECT email FROM desk_customer, generate_series(1, 2)"


@pytest.mark.parametrize("kept", [True, False], ids=["a cursor made before", "a new cursor"])
def test_anothers_sql_in_the_same_transaction_does_not_reach_it(pair: Pair, kept: bool):
    mine, other = pair
    if mine.mode == "dedicated":
        pytest.skip("nobody else's statements come to the session")
    with tenant_scope(mine), transaction.atomic():
        made_before = on(pair).cursor()
        rows = Customer.objects.iterator(chunk_size=1)
        name = open_stream(on(pair))
        with tenant_scope(other):
            for statement in (f'FETCH ALL FROM "{name}"', "SELECT 1", f'CLOSE "{name}"'):
                with pytest.raises(WrongTenantError):
                    (made_before if kept else on(pair).cursor()).execute(statement)
        assert len(list(rows)) == 1


def open_stream(at: Any) -> str:
    """One that has brought nothing yet, by its name: it can be guessed."""
    stream = at.chunked_cursor()
    stream.execute(QUERY)
    with at.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_cursors WHERE name LIKE '\\_django%'")
        return str(cursor.fetchone()[0])


def test_outside_of_a_transaction_the_other_gets_another_session(pair: Pair):
    mine, other = pair
    with tenant_scope(mine):
        rows = Customer.objects.iterator(chunk_size=1)
        next(rows)
        session = on(pair).connection.info.backend_pid
        with on(pair).cursor() as cursor:
            cursor.execute("SELECT name FROM pg_cursors WHERE is_holdable")
            held = [name for (name,) in cursor.fetchall()]
    assert len(held) == 1
    with tenant_scope(other), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_backend_pid(), (SELECT count(*) FROM pg_cursors WHERE is_holdable)"
        )
        found, cursors = cursor.fetchone()
        assert (found != session, cursors) == (True, 0)
        with pytest.raises(DatabaseError):
            cursor.execute(f'FETCH ALL FROM "{held[0]}"')
        assert Customer.objects.count() == 2


def test_its_query_brings_nothing_else_past_the_gate(pair: Pair):
    mine, other = pair
    with tenant_scope(mine), connection.chunked_cursor() as stream:
        for refused in ("SELECT 1; ALTER ROLE meridian_app PASSWORD 'x'", "SELECT 1; NOTIFY a"):
            with pytest.raises(DatabaseError) as error:
                stream.execute(refused)
            assert isinstance(error.value.__cause__, InsufficientPrivilege)
        assert on(pair).tenant_session.owner is None
        stream.execute("SELECT 1; SET TimeZone = 'Asia/Tokyo'")
        assert on(pair).tenant_session.owner == mine.id
    assert on(pair).tenant_session.owner == mine.id
    with tenant_scope(other), connection.cursor() as cursor:
        cursor.execute("SHOW TimeZone")
        assert cursor.fetchone() != ("Asia/Tokyo",)


def test_a_name_that_was_taken_before_troubles_nobody_else(pair: Pair, inject: Inject):
    mine, other = pair
    with tenant_scope(other):
        rows = Customer.objects.iterator(chunk_size=1)
        next(rows)
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM pg_cursors WHERE is_holdable")
            stem, _, number = str(cursor.fetchone()[0]).rpartition("_")
        rows.close()
    for ahead in range(1, 4):
        with suppress(DatabaseError):
            inject(
                mine,
                f'DECLARE "{stem}_{int(number) + ahead}" CURSOR WITH HOLD FOR SELECT 1',
            )
    with tenant_scope(other):
        assert len(list(Customer.objects.iterator(chunk_size=1))) == 2


def test_a_context_that_has_run_out_begins_no_query(
    pair: Pair, raw: Callable[..., psycopg.Connection[Any]], deployment: Deployment
):
    """A query that has begun goes on: it is the same transaction of the same tenant."""
    mine, _ = pair
    session = raw(mine)
    session.autocommit = False
    expiry = int(time.time()) + 4  # what is to begin in time has seconds for it
    context = context_statement(deployment.context_key(mine.cell), mine.id, mine.schema, expiry)
    for name in ("begun", "idle"):
        declare = f"DECLARE {name} NO SCROLL CURSOR FOR {TWICE.decode()}".encode()
        session.execute(context + declare)
    assert session.execute("FETCH FORWARD 1 FROM begun").fetchone() is not None
    while time.time() <= expiry + 0.5:
        time.sleep(0.1)
    assert session.execute("FETCH FORWARD 1 FROM begun").fetchone() is not None
    with pytest.raises(psycopg.Error) as refused:
        session.execute("FETCH FORWARD 1 FROM idle").fetchall()
    assert refused.value.sqlstate == "MTN01"


def test_each_chunk_brings_a_context_of_its_own(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    """However long a transaction takes: the one that the cursor was declared with may be over."""
    mine, _ = pair
    sent: list[bytes] = []
    with tenant_scope(mine), transaction.atomic():
        rows = Customer.objects.iterator(chunk_size=1)
        context = on(pair).cell_context
        true = type(context).prefix

        def prefix(self: Any) -> Any:
            made = true(self)
            sent.append(made.text)
            return made

        monkeypatch.setattr(type(context), "prefix", prefix)
        assert len(list(rows)) == 1
    # Declared, the only row, and the empty chunk after it.
    assert len(sent) == 3
    assert all(b"meridian.context" in text for text in sent)
