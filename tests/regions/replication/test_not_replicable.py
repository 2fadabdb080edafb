"""Tables of whose changes peers would hear something else, or nothing, are refused before anything
is changed; what was switched off is on again."""

from __future__ import annotations

import psycopg
import pytest

from regions.replication import capture
from tests.regions.replication.mesh import Mesh

EU, DE, US = ("eu-west", "eu-central", "us-east")

TOUCH = """
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.body := NEW.body || ' touched'; RETURN NEW; END $$;
CREATE TRIGGER {} BEFORE UPDATE ON note FOR EACH ROW EXECUTE FUNCTION touch()
"""
NO_TOUCH = "DROP FUNCTION touch CASCADE"

# What is made, what is refused then, and how it ends.
REFUSED = {
    # The other's rows would be captured as rows of the table that a statement names.
    "a child": (
        "CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (note)",
        "inherit, .*: heir, note", "DROP TABLE heir",
    ),
    "a child, by and by": (
        "CREATE TABLE heir (LIKE note INCLUDING ALL); ALTER TABLE heir INHERIT note",
        "inherit, .*: heir, note", "DROP TABLE heir",
    ),
    # PostgreSQL refuses there what the applier does.
    "a rule": (
        "CREATE RULE silent AS ON UPDATE TO note DO INSTEAD NOTHING",
        "with rules .*: note. Use triggers", "DROP RULE silent ON note",
    ),
    # What it changes has no stamp: peers would keep what they have.
    "a trigger that fires too late": (TOUCH.format("zzz_touch"), ": note. Rename", NO_TOUCH),
    "no key": ("CREATE TABLE keyless (id integer)", ": keyless. Give", "DROP TABLE keyless"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_such_tables_are_refused(mesh: Mesh, kind: str) -> None:
    made, said, ended = REFUSED[kind]
    before = mesh.rows(EU, "SELECT * FROM fabric.relation ORDER BY rel")
    mesh.write(EU, made)
    try:
        with pytest.raises(capture.NotReplicable, match=said):
            capture.attach(mesh.writers[EU], "public")
        assert mesh.rows(EU, "SELECT * FROM fabric.relation ORDER BY rel") == before
    finally:
        mesh.write(EU, ended)
    capture.attach(mesh.writers[EU], "public")


def test_what_an_applications_trigger_changes_is_heard_of(mesh: Mesh) -> None:
    mesh.write(EU, "INSERT INTO note (id, title, body) VALUES (5, 't', 'b')")
    mesh.settle()
    mesh.make(TOUCH.format("touch"))
    try:
        mesh.write(EU, "UPDATE note SET title = 'u'")
        assert mesh.settled("note", "title, body") == [("u", "b touched")]
    finally:
        for writer in mesh.writers.values():
            writer.execute(NO_TOUCH)


def test_triggers_that_were_switched_off_are_on_again(mesh: Mesh) -> None:
    mesh.make("CREATE TABLE log (id integer PRIMARY KEY) PARTITION BY RANGE (id);"
              "CREATE TABLE log_old PARTITION OF log FOR VALUES FROM (0) TO (100)")  # fmt: skip
    try:
        for table in ("note", "log", "log_old"):
            mesh.write(EU, f"ALTER TABLE {table} DISABLE TRIGGER USER")
        capture.attach(mesh.writers[EU], "public")
        mesh.write(EU, "INSERT INTO note (id, title) VALUES (5, 'heard')")
        mesh.write(EU, "INSERT INTO log VALUES (1)")
        assert mesh.settled("note", "title") == [("heard",)]
        assert mesh.settled("log", "id") == [(1,)]
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="is a part of"):
            mesh.write(EU, "DELETE FROM log_old")
    finally:
        mesh.start_anew()
        mesh.drop(["log"])
