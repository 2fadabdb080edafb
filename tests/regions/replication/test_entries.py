"""An entry of the log says what its rows are: whose, of which columns, as they were called when the
statement ran, whatever its table's columns are called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from regions.replication import capture
from tests.regions.replication.mesh import Mesh

EU, DE, US = ("eu-west", "eu-central", "us-east")
HIDDEN = ["_born", "_stamp", "_fields", "_base"]
NEWEST = (
    "SELECT op, tenant, names::text[], rows FROM fabric.change WHERE rel = %s"
    " ORDER BY seq DESC LIMIT %s"
)

# As the variables of the function that captures are called, and what else it names.
NAMES = [
    "usual", "tenant", "mine", "epoch", "number", "at_hand", "newest", "latest", "here", "doc",
    "docs", "room", "lead", "theirs", "stamp", "stamped", "columns", "own", "entry", "c", "size",
    "fresh", "stale", "tg_op", "tg_relid", "tg_argv", "rel", "op", "xact", "seq", "rows", "origin",
]  # fmt: skip


def entries(mesh: Mesh, table: str, count: int = 1) -> list[Any]:
    return mesh.write(EU, NEWEST, f"public.{table}", count)


@pytest.fixture
def plain(mesh: Mesh) -> Iterator[Mesh]:
    mesh.make("CREATE TABLE plain (id integer PRIMARY KEY, a text, b text)")
    yield mesh
    mesh.start_anew()
    mesh.drop(["plain"])


ALTERED = {
    "ALTER TABLE plain RENAME b TO other": ["id", "a", "other", *HIDDEN],
    "ALTER TABLE plain DROP b": ["id", "a", *HIDDEN],
    "ALTER TABLE plain ADD d text": ["id", "a", "b", *HIDDEN, "d"],
    "ALTER TABLE plain DROP b; ALTER TABLE plain ADD b text": ["id", "a", *HIDDEN, "b"],
    "ALTER TABLE plain RENAME b TO d; ALTER TABLE plain RENAME a TO b": ["id", "b", "d", *HIDDEN],
    "ALTER TABLE plain ALTER a TYPE varchar(9)": ["id", "a", "b", *HIDDEN],
}


@pytest.mark.parametrize("within", [True, False], ids=["by the writer", "by somebody else"])
@pytest.mark.parametrize("alter", ALTERED)
def test_columns_are_named_as_they_are_at_that_time(plain: Mesh, alter: str, within: bool) -> None:
    """Though the session has written before, so that its plans are kept."""
    write = "INSERT INTO plain (id) SELECT %s + n FROM generate_series(1, %s) n"
    change = "UPDATE plain SET id = id WHERE id <= %s"
    for number in range(8):
        for rows in (1, 2):
            plain.write(EU, write, 10 * number + rows, rows)
            plain.write(EU, change, 10 * number + rows)
    if within:
        with plain.writers[EU].transaction():
            plain.write(EU, write, 900, 1)
            plain.write(EU, alter)
            plain.write(EU, write, 1000, 1)
        assert entries(plain, "plain")[0][2] == ALTERED[alter]
    else:
        with plain.administrator(EU) as session:
            session.execute(alter.encode())
    for rows in (1, 2):
        plain.write(EU, write, 2000 + 10 * rows, rows)
        ((_, _, columns, texts),) = entries(plain, "plain")
        assert columns == ALTERED[alter]
        assert {text.count(",") for text in texts} == {len(columns) - 1}


def test_two_tables_in_turn_have_each_its_own_columns(plain: Mesh) -> None:
    for number in range(8):
        plain.write(EU, "INSERT INTO plain (id, a) VALUES (%s, 'x')", number)
        plain.write(EU, "INSERT INTO note (id, title) VALUES (%s, 'x')", number)
        (mine,), (other,) = entries(plain, "plain"), entries(plain, "note")
        assert mine[2] == ["id", "a", "b", *HIDDEN]
        assert other[2][:3] == ["id", "title", "body"]


def test_a_table_may_have_columns_of_any_name(mesh: Mesh) -> None:
    listed = ", ".join(f'"{name}" text' for name in NAMES)
    mesh.make(f"CREATE TABLE odd (id integer PRIMARY KEY, {listed})")
    try:
        for rows in ([1], [2, 3]):
            for number in rows:
                values = ", ".join(["%s"] * (len(NAMES) + 1))
                mesh.write(EU, f"INSERT INTO odd VALUES ({values})", number, *NAMES)
            mesh.write(EU, "UPDATE odd SET tenant = 'x' WHERE id = ANY (%s)", rows)
        mesh.write(EU, "INSERT INTO odd (id, mine) SELECT n, 'x' FROM generate_series(4, 6) n")
        mesh.settle()
        mesh.assert_equal("odd")
        assert len(mesh.rows(DE, "SELECT id FROM odd")) == 6
    finally:
        mesh.start_anew()
        mesh.drop(["odd"])


def test_rows_of_several_tenants_are_an_entry_for_each(mesh: Mesh) -> None:
    mesh.make("CREATE TABLE shared (id integer PRIMARY KEY, tenant_id uuid)")
    one, other = sorted((uuid4(), uuid4()))
    write = (
        "INSERT INTO shared SELECT n, (%s::uuid[])[n %% 2 + 1] FROM generate_series(%s::int, %s) n"
    )
    try:
        mesh.write(EU, write, [one, other], 2, 2)
        assert [(row[1], len(row[3])) for row in entries(mesh, "shared")] == [(one, 1)]
        mesh.write(EU, write, [one, other], 10, 14)
        found = [(row[1], len(row[3])) for row in entries(mesh, "shared", 2)]
        assert found == [(other, 2), (one, 3)]
        mesh.write(EU, "INSERT INTO shared VALUES (20), (21)")
        assert [(row[1], len(row[3])) for row in entries(mesh, "shared")] == [(None, 2)]
        mesh.settle()
        mesh.assert_equal("shared")
    finally:
        mesh.start_anew()
        mesh.drop(["shared"])


@pytest.mark.parametrize("kind", ["integer", "uuid", "text"])
def test_an_applications_own_tenant_id_says_nothing_where_all_rows_are_one_tenants(
    mesh: Mesh, kind: str
) -> None:
    whose = UUID(int=7)
    value = str(uuid4()) if kind == "uuid" else "12"
    with mesh.administrator(EU) as session:
        session.execute("SET ROLE meridian_owner")
        session.execute(f"CREATE SCHEMA own; CREATE TABLE own.log (id int, tenant_id {kind},"
                        " PRIMARY KEY (id))")  # fmt: skip
        capture.attach(session, "own", tenant=whose)
        for rows in ("(1, %s)", "(2, %s), (3, %s)"):
            session.execute(f"INSERT INTO own.log VALUES {rows}", [value] * rows.count("%"))
            found = session.execute(
                "SELECT tenant FROM fabric.change WHERE rel = 'own.log' ORDER BY seq DESC LIMIT 1"
            ).fetchall()
            assert found == [(whose,)]
        session.execute("DROP SCHEMA own CASCADE")
        capture.detach_schema(session, "own")
