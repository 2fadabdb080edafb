"""Lets tenants keep their tasks beside their rows, and nobody see another's."""

from __future__ import annotations

from pathlib import Path

from tenants.isolation.owner import Connection

_SQL = (Path(__file__).parent / "kept_tasks.sql").read_text()


def install(connection: Connection) -> None:
    """As the cell database's owner, where the fabric is."""
    connection.execute(_SQL.encode())
