"""A cell's fences: what each statement looks at is never behind the tenants that are kept out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from regions import cells
from regions.deployment import Deployment
from regions.topology import database_name
from tenants.directory import TenantRecord
from tests.tenants.conftest import HOME

Pair = tuple[TenantRecord, TenantRecord]


@pytest.fixture
def cell(shared_pair: Pair, deployment: Deployment) -> Iterator[psycopg.Connection[Any]]:
    with cells.administrator(deployment, HOME, database_name(shared_pair[0].cell)) as session:
        yield session
        session.execute("DELETE FROM tenancy.frozen")


def some_frozen(session: psycopg.Connection[Any]) -> bool:
    row = session.execute("SELECT some_frozen FROM tenancy.secret").fetchone()
    return bool(row and row[0])


def test_one_fence_comes_while_the_last_other_one_goes(
    cell: psycopg.Connection[Any], shared_pair: Pair, deployment: Deployment
):
    leaving, coming = uuid4(), uuid4()
    cell.execute("INSERT INTO tenancy.frozen (tenant) VALUES (%s)", [leaving])

    def take_down() -> None:
        database = database_name(shared_pair[0].cell)
        with cells.administrator(deployment, HOME, database) as other:
            other.execute("DELETE FROM tenancy.frozen WHERE tenant = %s", [leaving])

    with cell.transaction():
        cell.execute("INSERT INTO tenancy.frozen (tenant) VALUES (%s)", [coming])
        thread = threading.Thread(target=take_down)
        thread.start()
        time.sleep(0.3)
    thread.join(60)
    assert some_frozen(cell)
    cell.execute("DELETE FROM tenancy.frozen")
    assert not some_frozen(cell)


def test_a_fence_is_seen_by_sessions_of_replication_too(cell: psycopg.Connection[Any]):
    """Whatever role a session plays, the note is made."""
    with cell.transaction():
        cell.execute("SET LOCAL session_replication_role = replica")
        cell.execute("INSERT INTO tenancy.frozen (tenant) VALUES (%s)", [uuid4()])
    assert some_frozen(cell)
    cell.execute("TRUNCATE tenancy.frozen")
    assert not some_frozen(cell)
