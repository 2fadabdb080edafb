"""The gate is looked at when a transaction commits, whatever had its constraints checked before."""

from __future__ import annotations

import psycopg
import pytest

from tests.regions.replication.mesh import Mesh

EU = "eu-west"
WRITE = "INSERT INTO note (title) VALUES ('x')"
NOW, LATER = "SET CONSTRAINTS ALL IMMEDIATE", "SET CONSTRAINTS ALL DEFERRED"

# As Django's check_constraints, and as an application may.
TRANSACTIONS = {
    "written, then checked": (WRITE, NOW),
    "checked and back": (WRITE, NOW, LATER),
    "checked and back, written again": (WRITE, NOW, LATER, WRITE),
    "checked twice": (WRITE, NOW, LATER, NOW, LATER),
    "at once from the beginning": (NOW, WRITE, WRITE),
    "checked between two commands": (WRITE, f"SELECT 1; {NOW.lower()}; {LATER}"),
    "checked twice in one message": (WRITE, f"{NOW}; {NOW}"),
    "checked often in one message": (WRITE, "; ".join([NOW, LATER] * 5)),
    "checked by name": (WRITE, "SET CONSTRAINTS fabric.guard_commit IMMEDIATE"),
    "two spaces": (WRITE, "SET  CONSTRAINTS ALL IMMEDIATE"),
    "on two lines": (WRITE, "SET\n\tCONSTRAINTS\nALL IMMEDIATE"),
    "comments between": (WRITE, "SET/* a /* b */ */--c\nConstraints/**/ALL IMMEDIATE"),
    "comments between, twice": (WRITE, "; ".join(["SET/**/CONSTRAINTS/**/ALL IMMEDIATE"] * 2)),
    "checked in what is taken back": (WRITE, "SAVEPOINT a", NOW, "ROLLBACK TO a"),
    "written after what is taken back": ("SAVEPOINT a", WRITE, NOW, "ROLLBACK TO a", WRITE),
}


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_a_check_of_constraints_is_no_commit(mesh: Mesh, name: str) -> None:
    with (
        pytest.raises(psycopg.Error, match="changed hands") as info,
        mesh.writers[EU].transaction(),
    ):
        for statement in TRANSACTIONS[name]:
            mesh.write(EU, statement)
        mesh.write(EU, "UPDATE fabric.gate SET epoch = epoch + 1")
    assert info.value.sqlstate == "MDF01"
    assert mesh.rows(EU) == []


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_it_commits_where_the_lease_is_still_the_same(mesh: Mesh, name: str) -> None:
    with mesh.writers[EU].transaction():
        for statement in TRANSACTIONS[name]:
            mesh.write(EU, statement)
    mesh.write(EU, f"BEGIN; {WRITE}; {NOW}; COMMIT")
    for title in ("set constraints, he wrote", "constraints " * 300, "set constraints " * 300):
        mesh.write(EU, f"INSERT INTO note (title) VALUES ('{title}')")
    mesh.settle()
    mesh.assert_equal()
