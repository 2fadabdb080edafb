"""Whatever way rows of a replicated table are changed, peers hear of it, or it is refused: whatever
the statement looks like, and whichever table it names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from regions.replication import capture
from regions.replication.captured import read_captured
from tests.regions.replication.mesh import Mesh

EU, DE, US = ("eu-west", "eu-central", "us-east")

TABLES = """
CREATE TABLE house (id integer PRIMARY KEY, code text UNIQUE, name text);
CREATE TABLE room (
    id integer PRIMARY KEY, name text,
    house_id integer REFERENCES house ON DELETE CASCADE,
    beside_id integer REFERENCES house ON DELETE SET NULL,
    code text REFERENCES house (code) ON UPDATE CASCADE ON DELETE SET DEFAULT
);
CREATE TABLE ticket (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a integer,
    twice integer GENERATED ALWAYS AS (a * 2) VIRTUAL
);
CREATE TABLE log (id integer, at integer, text text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE log_old PARTITION OF log FOR VALUES FROM (0) TO (100);
CREATE TABLE log_new PARTITION OF log FOR VALUES FROM (100) TO (200) PARTITION BY LIST (id);
CREATE TABLE log_new_rest PARTITION OF log_new DEFAULT;
CREATE TABLE note_of_log (
    id integer PRIMARY KEY, log_id integer, log_at integer,
    FOREIGN KEY (log_id, log_at) REFERENCES log ON DELETE SET NULL
);
CREATE VIEW open_house AS SELECT id, name FROM house WHERE name IS NOT NULL;
CREATE VIEW furnished AS SELECT h.id, h.name, r.name AS room FROM house h JOIN room r USING (id);
CREATE FUNCTION furnish() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO public.house (id, name) VALUES (NEW.id, NEW.name);
    INSERT INTO public.room (id, name, house_id) VALUES (NEW.id, NEW.room, NEW.id);
    RETURN NEW;
END $$;
CREATE TRIGGER furnish INSTEAD OF INSERT ON furnished FOR EACH ROW EXECUTE FUNCTION furnish();
CREATE VIEW closed AS SELECT id FROM house;
CREATE RULE opened AS ON DELETE TO closed DO INSTEAD UPDATE house SET name = 'x' WHERE id = OLD.id
"""
MADE = ("note_of_log", "log", "room", "house", "ticket")  # in an order in which they go
VIEWS = "DROP VIEW open_house, furnished, closed; DROP FUNCTION furnish"

ROWS = (
    "INSERT INTO house VALUES (1, 'h1', 'one'), (2, 'h2', 'two'), (3, 'h3', NULL)",
    "INSERT INTO room VALUES (1, 'a', 1, 2, 'h1'), (2, 'b', 1, 1, 'h2'), (3, 'c', 2, 1, 'h1')",
    "INSERT INTO ticket (a) VALUES (1), (2)",
    "INSERT INTO log VALUES (1, 1, 'old'), (2, 50, 'old'), (3, 150, 'new'), (4, 199, 'new')",
    "INSERT INTO note_of_log VALUES (1, 1, 1), (2, 3, 150)",
)

CAPTURED = {
    "merge": (
        "MERGE INTO house h USING (VALUES (1, 'uno'), (2, NULL), (9, 'nine')) AS s (id, name)"
        " ON h.id = s.id WHEN MATCHED AND s.name IS NULL THEN DELETE"
        " WHEN MATCHED THEN UPDATE SET name = s.name"
        " WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)"
        " WHEN NOT MATCHED BY SOURCE THEN UPDATE SET name = 'of nobody'"
    ),
    "a writing subquery": (
        "WITH gone AS (DELETE FROM room WHERE id > 1 RETURNING id, name),"
        " known AS (UPDATE house SET name = name || '!' WHERE id < 3 RETURNING id)"
        " INSERT INTO house (id, name) SELECT gone.id + 10, gone.name FROM gone, known"
        " WHERE known.id = 1"
    ),
    "insert or update": (
        "INSERT INTO house (id, code, name) VALUES (1, 'h1', 'uno'), (9, 'h9', 'nine')"
        " ON CONFLICT (code) DO UPDATE SET name = EXCLUDED.name"
    ),
    "insert or nothing": (
        "INSERT INTO house (id, name) VALUES (1, 'uno'), (9, 'nine') ON CONFLICT DO NOTHING"
    ),
    "a reference that cascades": "DELETE FROM house WHERE id = 1",
    "a reference that is set to null": "DELETE FROM house WHERE id = 2",
    "a reference that follows": "UPDATE house SET code = 'other' WHERE id = 1",
    "a view": "UPDATE open_house SET name = 'by a view' WHERE id < 9",
    "a view, insert": "INSERT INTO open_house VALUES (9, 'nine')",
    "a view, delete": "DELETE FROM open_house WHERE id = 2",
    "a view with a trigger": "INSERT INTO furnished VALUES (9, 'nine', 'its room')",
    "a rule of a view": "DELETE FROM closed WHERE id = 3",
    "an identity": "INSERT INTO ticket (a) VALUES (3)",
    "an identity, given": "INSERT INTO ticket (id, a) OVERRIDING SYSTEM VALUE VALUES (77, 3)",
    "what a generated column is of": "UPDATE ticket SET a = a + 1",
    "a function": "DO $$ BEGIN UPDATE public.house SET name = 'by a function'; END $$",
    "parts, insert": "INSERT INTO log SELECT n, 2 * n, 'x' FROM generate_series(10, 90) n",
    "parts, update": "UPDATE log SET text = text || '!'",
    "parts, delete": "DELETE FROM log WHERE at > 10",
    "parts, a reference set to null": "DELETE FROM log WHERE id IN (1, 3)",
    "parts, insert or update": (
        "INSERT INTO log VALUES (1, 1, 'x'), (9, 150, 'y')"
        " ON CONFLICT (id, at) DO UPDATE SET text = EXCLUDED.text"
    ),
    "parts, merge": (
        "MERGE INTO log USING (VALUES (1, 1), (3, 150), (9, 150)) AS s (id, at)"
        " ON log.id = s.id AND log.at = s.at WHEN MATCHED AND s.id = 1 THEN DELETE"
        " WHEN MATCHED THEN UPDATE SET text = 'merged'"
        " WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.at, 'merged')"
    ),
}

REFUSED = {
    "insert": "INSERT INTO log_old VALUES (9, 9, 'x')",
    "update": "UPDATE log_old SET text = 'x'",
    "delete": "DELETE FROM log_old",
    "delete from a part of a part": "DELETE FROM log_new_rest",
    "delete from a part that has parts": "DELETE FROM log_new",
    "merge": (
        "MERGE INTO log_old USING (VALUES (1)) AS s (id) ON log_old.id = s.id"
        " WHEN MATCHED THEN UPDATE SET text = 'x'"
    ),
    "insert or nothing": "INSERT INTO log_old VALUES (9, 9, 'x') ON CONFLICT DO NOTHING",
    "a writing subquery": "WITH gone AS (DELETE FROM log_old RETURNING 1) SELECT FROM gone",
    "a row that would move from part to part": "UPDATE log SET at = 150 WHERE at = 1",
    "truncate": "TRUNCATE log_old",
    "truncate a part that has parts": "TRUNCATE log_new",
}


@pytest.fixture(scope="module")
def furnished(mesh_session: Mesh) -> Iterator[Mesh]:
    mesh_session.make(TABLES)
    yield mesh_session
    for writer in mesh_session.writers.values():
        writer.execute(VIEWS)
    mesh_session.drop(MADE)


@pytest.fixture
def full(furnished: Mesh) -> Iterator[Mesh]:
    for statement in ROWS:
        furnished.write(EU, statement)
    furnished.settle()
    yield furnished
    furnished.start_anew()


def contents(mesh: Mesh, region: str) -> dict[str, list[Any]]:
    return {
        table: mesh.rows(region, f"SELECT t, t._stamp, t._fields FROM {table} t ORDER BY t.id")
        for table in (*MADE, "note")
    }


def assert_alike(mesh: Mesh) -> None:
    mesh.settle()
    here = contents(mesh, EU)
    for region in (DE, US):
        assert contents(mesh, region) == here
        assert mesh.rows(region, "SELECT reason FROM fabric.dead_letter") == []


@pytest.mark.parametrize("way", CAPTURED)
def test_peers_hear_of_what_is_written(full: Mesh, way: str) -> None:
    before = contents(full, EU)
    full.write(EU, CAPTURED[way])
    assert contents(full, EU) != before
    assert_alike(full)


@pytest.mark.parametrize("table", ["house", "log"])
def test_peers_hear_of_what_is_copied_in(full: Mesh, table: str) -> None:
    columns, lines = {
        "house": ("id, code, name", "8\th8\teight\n9\th9\tnine\n"),
        "log": ("id, at, text", "8\t8\told\n9\t190\tnew\n"),
    }[table]
    with full.writers[EU].cursor().copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as sink:
        sink.write(lines)
    assert_alike(full)
    assert full.rows(DE, f"SELECT id FROM {table} WHERE id >= 8 ORDER BY id") == [(8,), (9,)]


@pytest.mark.parametrize("way", REFUSED)
def test_a_part_of_a_table_is_not_written_by_its_own_name(full: Mesh, way: str) -> None:
    """Not even by a session that has just written to the table."""
    before = contents(full, EU)
    full.write(EU, "UPDATE log SET text = text WHERE id = 1")
    with pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
        full.write(EU, REFUSED[way])
    assert refused.value.diag.message_hint
    assert contents(full, EU) == before
    assert_alike(full)


def test_nothing_is_copied_into_a_part(full: Mesh) -> None:
    with (
        pytest.raises(psycopg.errors.FeatureNotSupported, match="is a part of"),
        full.writers[EU].cursor().copy(b"COPY log_old (id, at, text) FROM STDIN") as sink,
    ):
        sink.write("9\t9\tx\n")
    assert_alike(full)


@pytest.mark.parametrize("tables", ["ticket", "house CASCADE", "log, note_of_log", "note"])
def test_no_table_is_emptied_by_a_statement_that_has_no_rows(full: Mesh, tables: str) -> None:
    full.write(EU, "INSERT INTO note (title) VALUES ('kept')")
    before = contents(full, EU)
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="TRUNCATE") as refused:
        full.write(EU, f"TRUNCATE {tables}")
    assert "DELETE" in (refused.value.diag.message_hint or "")
    assert contents(full, EU) == before
    assert_alike(full)


def test_the_applier_and_administrators_may(full: Mesh) -> None:
    """Whoever keeps the triggers quiet knows that peers will not hear of it."""
    for region in (EU, DE, US):
        with full.administrator(region) as session:
            session.execute("SET session_replication_role = replica")
            session.execute("DELETE FROM log_old; TRUNCATE ticket")
    assert_alike(full)


def test_a_part_that_is_made_or_attached_later_is_covered_as_tables_are(full: Mesh) -> None:
    """By what runs after each migration. Until then `doctor` says that it is not: it asks this."""
    parts = (
        "CREATE TABLE log_late PARTITION OF log FOR VALUES FROM (200) TO (300);"
        "CREATE TABLE log_last (LIKE log INCLUDING DEFAULTS);"
        "ALTER TABLE log ATTACH PARTITION log_last FOR VALUES FROM (300) TO (400)"
    )
    full.write(EU, parts)
    (log,) = [t for t in read_captured(full.writers[EU], "public") if t.name == "log"]
    assert len(capture.lacking([log], "public", tenant="")) == 2
    for region in (DE, US):
        full.write(region, parts)
    full.make("SELECT")
    for part, at in (("log_late", 250), ("log_last", 350)):
        with pytest.raises(psycopg.errors.FeatureNotSupported, match=f"{part} is a part of"):
            full.write(EU, f"INSERT INTO {part} VALUES (9, {at}, 'x')")
        full.write(EU, f"INSERT INTO log VALUES (9, {at}, 'x')")
    assert_alike(full)
    for part in ("log_late", "log_last"):
        for writer in full.writers.values():
            writer.execute(f"ALTER TABLE log DETACH PARTITION {part}")
            writer.execute(f"DROP TABLE {part}")


def test_a_part_that_is_detached_is_a_table_of_its_own(full: Mesh) -> None:
    full.write(EU, "DELETE FROM note_of_log")
    full.settle()
    full.make("ALTER TABLE log DETACH PARTITION log_old")
    try:
        full.write(EU, "UPDATE log_old SET text = 'its own'")
        full.settle()
        for region in (DE, US):
            rows = full.rows(region, "SELECT id, text FROM log_old ORDER BY id")
            assert rows == [(1, "its own"), (2, "its own")]
    finally:
        full.start_anew()
        for writer in full.writers.values():
            writer.execute("DROP TABLE log_old")
        full.make("CREATE TABLE log_old PARTITION OF log FOR VALUES FROM (0) TO (100)")
    assert full.rows(EU, "SELECT FROM fabric.relation WHERE rel = 'public.log_old'") == []
