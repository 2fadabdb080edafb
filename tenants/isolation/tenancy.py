"""Installs the check of the signed tenant context in a cell database.

Guarantees that the key in the database is the cell's, and that only the owner can read it.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]

_SQL = [(Path(__file__).parent / name).read_text() for name in ("tenancy.sql", "standin.sql")]


def install(connection: Connection, key: bytes) -> None:
    """The `tenancy` schema with the cell's key. As the owner; safe to repeat.

    In one transaction: nobody meets a new check without its key.
    """
    with connection.transaction():
        for script in _SQL:
            connection.execute(script)
        set_key(connection, key)


def set_key(connection: Connection, key: bytes) -> None:
    """Where the schema is: the cell's key from now on."""
    connection.execute(
        "INSERT INTO tenancy.secret (context_key, lock_key) VALUES (%s, %s)"
        " ON CONFLICT (one) DO UPDATE"
        " SET context_key = excluded.context_key, lock_key = excluded.lock_key",
        (key, hmac.digest(key, b"advisory locks", "sha256")),
    )


def forget_key(connection: Connection) -> None:
    """No context is valid here."""
    connection.execute("DELETE FROM tenancy.secret")
