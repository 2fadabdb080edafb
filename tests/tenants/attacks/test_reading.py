"""No setting has the server find a command where the gate has found a string."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, connections, transaction

from tenants.backend.gate import Verdict, judge
from tenants.context import tenant_scope
from tests.tenants.attacks.conftest import Inject, Pair

COMMAND = "ALTER ROLE meridian_app SET search_path = nowhere"
# The settings, and a message that is one SELECT as the gate reads it.
HIDDEN = {
    "standard_conforming_strings = off": rf"SELECT '\''; {COMMAND}; --'",
    "client_encoding = 'SJIS'": f"SELECT E'\u8868'; {COMMAND}; --'",
    "client_encoding = 'BIG5'": f"SELECT E'\u529f'; {COMMAND}; --'",
    "client_encoding = 'GBK'": f"SELECT E'\u8aa0'; {COMMAND}; --'",
}
FACTS = "SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text LIKE '%nowhere%'"


def test_the_gate_by_itself_takes_them_for_data():
    codecs = {"SJIS": "shift_jis", "BIG5": "big5", "GBK": "gbk"}
    for setting, message in HIDDEN.items():
        codec = codecs.get(setting.split("'")[1] if "'" in setting else "", "ascii")
        assert judge(message.encode(codec)) is Verdict.PLAIN


@pytest.mark.parametrize("setting", HIDDEN)
def test_a_command_cannot_hide_in_a_string_that_ends_early_within_a_transaction(
    pair: Pair, inject: Inject, administer, setting: str
):
    with tenant_scope(pair[0]), transaction.atomic():
        inject(pair[0], f"SET LOCAL {setting}")
        with pytest.raises(DatabaseError, match="reads quotes in another way"):
            inject(pair[0], HIDDEN[setting])
        assert inject(pair[0], "SELECT 1; SELECT 2") == [(2,)]
    assert administer(pair[0], FACTS) == [(0,)]


@pytest.mark.parametrize("setting", HIDDEN)
def test_nor_in_a_session_of_ones_own(pair: Pair, inject: Inject, administer, setting: str):
    with tenant_scope(pair[0]), transaction.atomic():  # undone, should it succeed
        inject(pair[0], f"SET {setting}")
        with pytest.raises(DatabaseError, match="reads quotes in another way"):
            inject(pair[0], HIDDEN[setting])
    connections.close_all()
    assert administer(pair[0], FACTS) == [(0,)]


def test_letters_and_backslashes_pass_as_they_are_where_nothing_was_changed(shared_pair: Pair):
    with tenant_scope(shared_pair[0]), connection.cursor() as cursor:
        cursor.execute("SELECT 1; SELECT %s", ["\u8868 \\' ; é"])
        cursor.nextset()
        assert cursor.fetchone() == ("\u8868 \\' ; é",)
