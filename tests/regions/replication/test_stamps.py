"""A stamp comes from the database's own clock: no statement can say another, and what a peer sends
from a far future waits."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from regions.replication import capture, letters
from tests.regions.replication.mesh import Mesh

EU, DE, US = REGIONS = ("eu-west", "eu-central", "us-east")
EPOCH = 1_577_836_800  # of stamps: 2020
FUTURE = (4_102_444_800 - EPOCH) * 1_000_000 << 8  # 2100
FORGE = f"set_config('fabric.stamp', '{FUTURE}', true)"

FORGERIES = {
    "update": f"UPDATE note SET title = {FORGE}",
    "update, in the condition": f"UPDATE note SET title = 'x' WHERE {FORGE} <> ''",
    "some rows of many": (
        f"UPDATE note SET title = title || CASE WHEN id = 2 THEN {FORGE}"
        " ELSE set_config('fabric.stamp', '1', true) END"
    ),
    "insert": f"INSERT INTO note (id, title) VALUES (9, {FORGE})",
    "insert, columns too": (
        f"INSERT INTO note (id, title, _born, _stamp) VALUES (9, {FORGE}, {FUTURE}, {FUTURE})"
    ),
    "insert of many": f"INSERT INTO note (id, title) SELECT n, n || {FORGE} FROM "
    "generate_series(10, 2000) n",
    "insert or update": (
        "INSERT INTO note (id, title) VALUES (1, 'x')"
        f" ON CONFLICT (id) DO UPDATE SET title = {FORGE}"
    ),
    "insert after a deletion": (
        f"WITH gone AS (DELETE FROM note WHERE {FORGE} <> '' RETURNING id)"
        f" INSERT INTO note (id, title) SELECT id + 50, id || {FORGE} FROM gone"
    ),
}

BY_SETTING = """
ALTER TABLE note
    ALTER _born SET DEFAULT
        coalesce(nullif(current_setting('fabric.stamp', true), ''), '0')::bigint,
    ALTER _stamp SET DEFAULT
        coalesce(nullif(current_setting('fabric.stamp', true), ''), '0')::bigint;
CREATE OR REPLACE TRIGGER fabric_open BEFORE INSERT OR UPDATE OR DELETE ON note
    FOR EACH STATEMENT EXECUTE FUNCTION fabric.open_statement();
CREATE OR REPLACE TRIGGER zz_fabric_stamp_new BEFORE INSERT ON note FOR EACH ROW
    WHEN (NEW._born IS DISTINCT FROM current_setting('fabric.stamp')::bigint
          OR NEW._stamp IS DISTINCT FROM NEW._born
          OR NEW._fields IS NOT NULL OR NEW._base IS NOT NULL)
    EXECUTE FUNCTION fabric.stamp_insert();
"""
DEFAULTS = """
SELECT attname, pg_get_expr(adbin, adrelid) FROM pg_attrdef JOIN pg_attribute
    ON attrelid = adrelid AND attnum = adnum WHERE adrelid = 'note'::regclass ORDER BY 1
"""


@pytest.fixture
def two(mesh: Mesh) -> Mesh:
    mesh.write(EU, "INSERT INTO note (id, title) VALUES (1, 'one'), (2, 'two')")
    mesh.settle()
    return mesh


@pytest.fixture
def astray(two: Mesh) -> Iterator[Mesh]:
    """Clocks of this test are wrong; nothing of it remains."""
    yield two
    two.settle()
    for region in REGIONS:
        with two.administrator(region) as administrator:
            administrator.execute("SET session_replication_role = replica")
            administrator.execute("TRUNCATE note, fabric.change, fabric.tombstone")
            administrator.execute("ALTER SEQUENCE fabric.clock RESTART 0")


def ahead(mesh: Mesh, region: str) -> float:
    """How many seconds the newest stamp of anything is ahead of the clock."""
    ((newest,),) = mesh.rows(
        region,
        "SELECT max(stamp) FROM (SELECT fabric.next_stamp() AS stamp"
        " UNION ALL SELECT last_value << 8 FROM fabric.clock"
        " UNION ALL SELECT stamp FROM fabric.change UNION ALL SELECT stamp FROM fabric.tombstone"
        " UNION ALL SELECT greatest(_born, _stamp) FROM note"
        " UNION ALL SELECT stamp::bigint FROM note, jsonb_each_text(_fields) AS f(field, stamp)) s",
    )
    return float((newest >> 8) / 1_000_000 + EPOCH - time.time())


@pytest.fixture
def earlier(two: Mesh) -> Iterator[Mesh]:
    """In one region the table is as an earlier version attached it: stamps come from a setting."""
    two.write(EU, BY_SETTING)
    yield two
    capture.attach(two.writers[EU], "public")
    assert two.rows(EU, DEFAULTS) == two.rows(DE, DEFAULTS)


def test_a_table_of_an_earlier_version_is_written_as_before(earlier: Mesh) -> None:
    with earlier.writers[EU].transaction():
        earlier.write(EU, "INSERT INTO note (id, title) VALUES (3, 'three'), (4, 'four')")
        earlier.write(EU, "UPDATE note SET title = 'uno' WHERE id = 1")
    earlier.write(EU, "UPDATE note SET title = title || '!'")
    earlier.write(EU, "DELETE FROM note WHERE id = 2")
    assert earlier.settled("note", "title") == [("uno!",), ("three!",), ("four!",)]
    assert earlier.rows(EU, "SELECT min(_born) FROM note")[0][0] > 0


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_setting_is_refused_where_it_carries_the_stamp(
    earlier: Mesh, forgery: str
) -> None:
    """To new rows. Those that are changed have it from the sequence there, too."""
    before = earlier.rows(EU)
    if forgery.startswith("insert") and forgery != "insert or update":
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="stamp"):
            earlier.write(EU, FORGERIES[forgery])
        assert earlier.rows(EU) == before
    else:
        earlier.write(EU, FORGERIES[forgery])
    assert ahead(earlier, EU) < 1
    earlier.settle()
    for region in REGIONS:
        assert ahead(earlier, region) < 1


@pytest.mark.parametrize(
    "statement",
    [
        *FORGERIES.values(),
        f"INSERT INTO note (id, title, _born, _stamp) VALUES (9, 'x', {FUTURE}, {FUTURE})",
        f"INSERT INTO note (id, title, _fields) VALUES (9, 'x', '{{\"title\": {FUTURE}}}')",
        "INSERT INTO note (id, title, _born) VALUES (9, 'x', NULL)",
        f"UPDATE note SET title = 'x' || id, _stamp = {FUTURE}, _born = {FUTURE}, _fields = '{{}}'",
        f"SELECT set_config('fabric.stamp', '{FUTURE}', false); UPDATE note SET title = 'x' || id",
        f"UPDATE note SET title = {FORGE}, body = set_config('fabric.stamp', '1', true)",
        f"DELETE FROM note WHERE {FORGE} <> '' AND id = 1",
        f"SET fabric.stamp = '{FUTURE}'; INSERT INTO note (id, title) VALUES (9, 'x')",
    ],
)
def test_the_platforms_columns_and_setting_are_overwritten(two: Mesh, statement: str) -> None:
    two.write(EU, statement)
    assert ahead(two, EU) < 1
    two.settle()
    assert two.rows(DE) == two.rows(EU)
    two.write(EU, "RESET fabric.stamp")


def test_a_row_that_is_newer_than_the_clock_can_be_changed_again_and_again(astray: Mesh) -> None:
    """A peer's clock was ahead, within bounds, or this one's went back."""
    minute = 60 * 1_000_000 << 8
    with astray.administrator(EU) as administrator:
        administrator.execute("SET session_replication_role = replica")
        administrator.execute(
            f"UPDATE note SET _born = _born + {minute}, _stamp = _stamp + {minute}"
        )
    for number in range(3):
        astray.write(EU, "UPDATE note SET title = title || %s", number)
    with astray.writers[EU].transaction():
        astray.write(EU, "INSERT INTO note (id, title) VALUES (3, 'three')")
        for number in range(3):
            astray.write(EU, "UPDATE note SET body = body || %s", number)
    astray.write(EU, "DELETE FROM note WHERE id = 2")
    astray.settle()
    assert [row[0] for row in astray.rows(DE)] == [1, 3]
    assert 0 < ahead(astray, EU) < 61


def test_one_statement_that_deletes_a_row_and_inserts_it_again(two: Mesh) -> None:
    again = (
        "WITH gone AS (DELETE FROM note RETURNING id) INSERT INTO note (id, title) SELECT id, {}"
    )
    two.write(EU, f"{again.format('1')} FROM gone")
    two.write(EU, "DELETE FROM note WHERE id = 2")
    with two.writers[EU].transaction():
        two.write(EU, "INSERT INTO note (id, title) VALUES (2, 'back'), (3, 'three')")
        two.write(EU, "DELETE FROM note WHERE id = 3")
    two.settle()
    for region in REGIONS:
        assert [(row[0], row[1]) for row in two.rows(region)] == [(1, "1"), (2, "back")]


def test_the_statements_of_a_transaction_share_its_stamp(two: Mesh) -> None:
    """Whatever becomes of the setting, and although it has a number before it writes a row."""
    with two.writers[EU].transaction():
        two.write(EU, "SELECT FROM note WHERE id = 1 FOR UPDATE")
        two.write(EU, "INSERT INTO note (id, title) VALUES (3, 'three')")
        two.write(EU, "SAVEPOINT before")
        two.write(EU, "INSERT INTO note (id, title) VALUES (4, 'four')")
        two.write(EU, "ROLLBACK TO before")
        two.write(EU, "RESET fabric.stamp")
        two.write(EU, "INSERT INTO note (id, title) VALUES (5, 'five')")
        two.write(EU, "UPDATE note SET title = 'uno' WHERE id = 1")
    stamps = "SELECT array_agg(id ORDER BY id), count(DISTINCT _stamp) FROM note WHERE id <> 2"
    assert two.rows(EU, stamps) == [([1, 3, 5], 1)]
    two.settle()
    assert two.rows(US) == two.rows(EU)


def test_what_a_trigger_rolled_back_within_a_statement_takes_no_stamp_back(two: Mesh) -> None:
    """It deleted a row of its own, which makes what follows younger; then it wrote once more."""
    two.write(
        EU,
        """
        CREATE FUNCTION public.aside() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            BEGIN
                INSERT INTO public.note (id, title) VALUES (90, 'x');
                DELETE FROM public.note WHERE id = 90;
                INSERT INTO public.note (id, title) VALUES (91, 'x');
                RAISE division_by_zero;
            EXCEPTION WHEN division_by_zero THEN NULL;
            END;
            IF NEW.id = 12 THEN
                INSERT INTO public.note (id, title) VALUES (92, 'aside');
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER aside BEFORE INSERT ON note FOR EACH ROW WHEN (NEW.id BETWEEN 10 AND 12)
            EXECUTE FUNCTION public.aside();
        """,
    )
    try:
        two.write(EU, "INSERT INTO note (id, title) SELECT n, 'x' FROM generate_series(10, 12) n")
        two.write(EU, "UPDATE note SET title = 'y' WHERE id = 10")
    finally:
        two.write(EU, "DROP FUNCTION public.aside CASCADE")
    assert two.settled("note", "id") == [(1,), (2,), (10,), (11,), (12,), (92,)]
    assert ahead(two, EU) < 1


def test_what_a_peer_sends_from_a_far_future_waits_and_pushes_no_clock(astray: Mesh) -> None:
    ((before,),) = astray.rows(DE, "SELECT fabric.next_stamp()")
    # As if its clock were years ahead.
    astray.write(EU, f"SELECT setval('fabric.clock', {FUTURE >> 8})")
    astray.write(EU, "UPDATE note SET title = 'far' WHERE id = 1")
    astray.write(EU, "SELECT setval('fabric.clock', 0)")
    astray.write(EU, "INSERT INTO note (id, title) VALUES (3, 'three')")
    astray.deliver(EU, DE)
    assert [(row[0], row[1]) for row in astray.rows(DE)] == [(1, "one"), (2, "two"), (3, "three")]
    assert astray.rows(DE, "SELECT pk, reason FROM fabric.dead_letter") == [
        (["1"], "22008: its stamp is too far ahead of this region's clock: is the sender's right?")
    ]
    astray.write(DE, "UPDATE note SET title = 'near' WHERE id = 1")
    astray.loop.run_until_complete(letters.retry(astray.appliers[DE]))
    assert astray.rows(DE)[0][1] == "near"
    ((now,),) = astray.rows(DE, "SELECT fabric.next_stamp()")
    assert (now - before) >> 8 < 3_600_000_000
