"""Who wrote last is not for the writer to say: a stamp of the future would win for ever, and push
the clock of every tenant of the cell."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError

from tenants.directory import TenantRecord

Pair = tuple[TenantRecord, TenantRecord]
EPOCH = 1_577_836_800  # of stamps: 2020
FUTURE = (4_102_444_800 - EPOCH) * 1_000_000 << 8  # 2100

SETTING = f"set_config('fabric.stamp', '{FUTURE}', true)"
ATTACKS = {
    "update": f"UPDATE desk_customer SET name = {SETTING}",
    "update, in the condition": f"UPDATE desk_customer SET name = 'x' WHERE {SETTING} <> ''",
    "update, joined": f"UPDATE desk_customer c SET name = s FROM (SELECT {SETTING} AS s) q",
    "insert": (
        "INSERT INTO desk_customer (name, email, created_at, updated_at)"
        f" VALUES ({SETTING}, 'x@example.org', now(), now())"
    ),
    "insert, columns too": (
        "INSERT INTO desk_customer (_born, _stamp, name, email, created_at, updated_at)"
        f" VALUES ({FUTURE}, {FUTURE}, {SETTING}, 'x@example.org', now(), now())"
    ),
    "insert, fields too": (
        "INSERT INTO desk_customer (_fields, name, email, created_at, updated_at)"
        f" VALUES ('{{\"name\": {FUTURE}}}', 'x', 'x@example.org', now(), now())"
    ),
    "update, columns too": (
        f"UPDATE desk_customer SET _stamp = {FUTURE}, _born = {FUTURE}, name = {SETTING},"
        f" _fields = '{{\"name\": {FUTURE}}}'"
    ),
    "insert or update": (
        "INSERT INTO desk_customer (id, name, email, created_at, updated_at)"
        " SELECT id, name, email, created_at, updated_at FROM desk_customer"
        f" ON CONFLICT {{key}} DO UPDATE SET name = {SETTING}"
    ),
    "back and forth": (
        f"UPDATE desk_customer SET name = {SETTING}, email = set_config('fabric.stamp', '1', true)"
        " WHERE id = (SELECT min(id) FROM desk_customer)"
    ),
    "delete": f"DELETE FROM desk_customer WHERE {SETTING} <> ''",
    "a function of his own": (
        "CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql AS"
        f" $$ SELECT {SETTING} $$; UPDATE desk_customer SET name = pg_temp.f()"
    ),
    "a counter": f"UPDATE desk_ticket SET votes = votes + length({SETTING})",
    "the clock": f"SELECT setval('fabric.clock', {FUTURE >> 8})",
}
# What carries it to the rows.
CARRIERS = {
    "set": f"UPDATE desk_customer SET name = 'x' || setval('fabric.stamp', {FUTURE})",
    "set, in the condition": (
        f"UPDATE desk_customer SET name = 'x' WHERE setval('fabric.stamp', {FUTURE}) > 0"
    ),
    "set by an insert": (
        "INSERT INTO desk_customer (name, email, created_at, updated_at)"
        f" VALUES ('x' || setval('fabric.stamp', {FUTURE}), 'x', now(), now())"
    ),
    "set for all": f"SELECT setval('fabric.stamp', {FUTURE}, false)",
    "drawn": "UPDATE desk_customer SET name = 'x' || nextval('fabric.stamp')",
    "the epoch": "UPDATE desk_customer SET name = 'x' || setval('fabric.epoch', 7)",
    "the columns": (
        "UPDATE desk_customer SET name = 'x' || setval('fabric.at_hand', 'pg_class'::regclass::int)"
    ),
}


def newest(administer: Callable[[TenantRecord, str], list[Any]], tenant: TenantRecord) -> int:
    """The greatest stamp that anything of the cell has or would get."""
    tables = [f'"{tenant.schema}".desk_customer', f'"{tenant.schema}".desk_ticket']
    found = administer(
        tenant,
        "SELECT max(stamp) FROM (SELECT fabric.next_stamp() AS stamp UNION ALL"
        " SELECT last_value << 8 FROM fabric.clock UNION ALL SELECT max(stamp) FROM fabric.change"
        " UNION ALL SELECT max(stamp) FROM fabric.tombstone"
        + "".join(
            f" UNION ALL SELECT greatest(_born, _stamp) FROM {table} UNION ALL"
            f" SELECT n::bigint FROM {table}, regexp_matches(_fields::text, '[0-9]{{15,}}', 'g') m,"
            " unnest(m) n"
            for table in tables
        )
        + ") AS seen",
    )
    return int(found[0][0])


@pytest.fixture
def tickets(pair: Pair, inject: Callable[..., Any]) -> None:
    for tenant in pair:
        inject(
            tenant,
            "INSERT INTO desk_ticket (title, body, status, priority, votes, created_at, updated_at)"
            " VALUES ('t', '', 'open', 'low', 1, now(), now())",
        )


def test_no_statement_writes_a_stamp_of_the_future(pair: Pair, tickets: None, inject, administer):
    key = "(tenant_id, id)" if pair[0].mode == "shared" else "(id)"
    for name, attack in ATTACKS.items():
        with contextlib.suppress(DatabaseError):
            inject(pair[0], attack.replace("{key}", key))
        ahead = (newest(administer, pair[0]) >> 8) / 1_000_000 + EPOCH - time.time()
        assert ahead < 1, name
    # What the victim writes now is the newest there is.
    inject(pair[1], "UPDATE desk_customer SET name = 'mine'")
    assert inject(pair[1], "SELECT DISTINCT name FROM desk_customer") == [("mine",)]


def test_the_same_statements_pass_where_nothing_is_forged(pair: Pair, tickets: None, inject):
    key = "(tenant_id, id)" if pair[0].mode == "shared" else "(id)"
    for name, attack in ATTACKS.items():
        harmless = attack.replace("{key}", key).replace("fabric.stamp", "nobody.setting")
        if name not in ("the clock", "a function of his own"):  # refused whatever they say
            inject(pair[0], harmless)
            inject(pair[0], "DELETE FROM desk_customer WHERE email = 'x@example.org'")
            inject(
                pair[0],
                "INSERT INTO desk_customer (name, email, created_at, updated_at)"
                " VALUES ('again', 'again@example.org', now(), now()) ON CONFLICT DO NOTHING",
            )


@pytest.mark.parametrize("attack", CARRIERS)
def test_nobody_touches_what_carries_the_stamp(pair: Pair, inject, administer, attack: str):
    with pytest.raises(DatabaseError, match="permission denied for sequence"):
        inject(pair[0], f"UPDATE desk_customer SET email = 'first'; {CARRIERS[attack]}")
    assert inject(pair[0], "SELECT email FROM desk_customer WHERE email = 'first'") == []
    inject(pair[1], "UPDATE desk_customer SET name = 'mine'")
    assert (newest(administer, pair[0]) >> 8) / 1_000_000 + EPOCH - time.time() < 1


def test_whoever_forgets_the_stamp_within_a_statement_writes_nothing(pair: Pair, inject):
    inject(pair[0], "UPDATE desk_customer SET name = 'before'")
    with contextlib.suppress(DatabaseError):
        inject(pair[0], "DISCARD SEQUENCES")
    inject(pair[0], "UPDATE desk_customer SET name = 'after'")
    assert inject(pair[0], "SELECT DISTINCT name FROM desk_customer") == [("after",)]
