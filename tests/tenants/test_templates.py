"""A new cell's database is a copy of its mode's template, and what statements would make of it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from infra.postgres.binaries import find_postgres
from regions import cells, inventory
from regions.deployment import ADMIN_ROLE, OWNER_ROLE, Deployment
from regions.topology import CellSpec, TenancyMode, WritePolicy, database_name
from tenants.isolation import blueprint, templates
from tenants.isolation.modes import isolation_of
from tenants.lifecycle import create_cell
from tenants.models import Blueprint
from testkit.control import end_cell, silent
from tests.tenants.conftest import HOME, MODES


@pytest.fixture
def spare(control: Deployment) -> Iterator[str]:
    """The name of a database that is dropped in the end."""
    name = f"w{uuid4().hex[:8]}"
    yield name
    with cells.administrator(control, HOME) as admin:
        found = sql.Identifier(database_name(name))
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(found))


def make(name: str, mode: str = "schema") -> None:
    place = {"regions": [HOME], "policy": "active_active"}
    create_cell(name, mode=mode, actor="test", progress=silent, **place)


def structure(control: Deployment, database: str) -> list[str]:
    """Everything but rows, with all rights, those of the system's own functions, too."""
    done = subprocess.run(
        [
            *(str(find_postgres({}).folder / "pg_dump"), "--schema-only"),
            control.dsn(HOME, database, ADMIN_ROLE),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if not line.startswith(("\\", "-- Dumped"))]


@pytest.mark.parametrize("mode", MODES)
def test_a_copy_is_what_the_statements_make(
    control: Deployment, mode: str, new_cell: str, spare: str
):
    make(new_cell, mode)
    spec = CellSpec(spare, TenancyMode(mode), WritePolicy.ACTIVE_ACTIVE, (HOME,))
    with cells.administrator(control, HOME) as admin:
        cells.create_database(admin, spec)
    cells.lay(control, spec, HOME)
    isolation_of(spec).prepare_cell(silent)
    copy = structure(control, database_name(new_cell))
    assert len(copy) > 1000
    assert copy == structure(control, spec.database)


def identity(control: Deployment, database: str) -> list[object]:
    """Whose replica it is, its key, its log's length, and whether it takes writes."""
    with cells.administrator(control, HOME, database) as admin:
        asked = (
            "SELECT cell FROM fabric.member",
            "SELECT context_key FROM tenancy.secret",
            "SELECT count(*) FROM fabric.change",
            "SELECT count(*) FROM fabric.gate WHERE valid_until > now()",
        )
        return [(admin.execute(one).fetchone() or (None,))[0] for one in asked]


def copied(control: Deployment, database: str) -> None:
    """The template's content, and nothing done to it."""
    names = (database, templates.name_of(TenancyMode.SHARED), OWNER_ROLE)
    with cells.administrator(control, HOME) as admin:
        copying = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}")
        admin.execute(copying.format(*map(sql.Identifier, names)))


def test_a_copy_is_its_own_cells_and_the_template_nobodys(
    control: Deployment, new_cell: str, spare: str
):
    make(new_cell, "shared")
    key = control.context_key(new_cell)
    assert identity(control, database_name(new_cell)) == [new_cell, key, 0, 1]
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        identity(control, templates.name_of(TenancyMode.SHARED))
    copied(control, database_name(spare))
    assert identity(control, database_name(spare)) == [None, None, 0, 0]


def test_a_cell_is_finished_whose_making_ended_after_the_copy(control: Deployment, new_cell: str):
    with cells.administrator(control, HOME) as admin:
        if not cells.database_exists(admin, templates.name_of(TenancyMode.SHARED)):
            make(other := f"w-{uuid4().hex[:8]}", "shared")
            end_cell(other)
    copied(control, database_name(new_cell))
    make(new_cell, "shared")
    key = control.context_key(new_cell)
    assert identity(control, database_name(new_cell)) == [new_cell, key, 0, 1]


def test_shared_tables_made_by_another_script_are_another_template(
    control: Deployment, new_cell: str
):
    make(other := f"w-{uuid4().hex[:8]}", "shared")
    end_cell(other)
    before = templates.name_of(TenancyMode.SHARED)
    Blueprint.objects.filter(name__startswith="shared:").delete()
    blueprint._verified.clear()
    make(new_cell, "shared")
    assert templates.name_of(TenancyMode.SHARED) != before
    with cells.administrator(control, HOME) as admin:
        assert cells.database_exists(admin, templates.name_of(TenancyMode.SHARED))
        assert not cells.database_exists(admin, before)


def test_a_template_is_made_anew_after_its_making_broke_off(control: Deployment, new_cell: str):
    template = templates.name_of(TenancyMode.SCHEMA)
    with cells.administrator(control, HOME) as admin:
        begun = sql.Identifier("cell__schema")
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(begun))
        admin.execute(sql.SQL("CREATE DATABASE {} IS_TEMPLATE true").format(begun))
        if cells.database_exists(admin, template):
            old = sql.Identifier("template_schema_old")
            admin.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(template), old)
            )
    make(new_cell)
    with cells.administrator(control, HOME) as admin:
        query = "SELECT datname FROM pg_database WHERE datname ~ '^(template|cell_)_schema'"
        assert admin.execute(query).fetchall() == [(template,)]
    assert template not in inventory.read_cluster(control, HOME).databases
