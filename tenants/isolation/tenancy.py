"""Installs the check of the signed tenant context in a cell database.

Guarantees that the key in the database is the cell's, that only the owner can read it, and that
the application role can't watch other sessions' statements.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from regions.deployment import AGENT_ROLE, OWNER_ROLE

Connection = psycopg.Connection[Any]

_SQL = (Path(__file__).parent / "tenancy.sql").read_text()
_BLOCK = 64  # sha256's block size: the length that HMAC pads its key to

# What shows one session's statements to another of the same role, contexts included.
_WATCHERS = (
    "pg_stat_get_activity",
    "pg_stat_get_backend_activity",
    "pg_stat_get_wal_senders",
)


def install(connection: Connection, key: bytes) -> None:
    """The `tenancy` schema with the cell's key. As the owner; safe to repeat."""
    connection.execute(_SQL)
    connection.execute(
        "INSERT INTO tenancy.secret (inner_pad, outer_pad) VALUES (%s, %s)"
        " ON CONFLICT (one) DO UPDATE"
        " SET inner_pad = excluded.inner_pad, outer_pad = excluded.outer_pad",
        pads(key),
    )


def pads(key: bytes) -> tuple[bytes, bytes]:
    """The key combined with HMAC's inner and outer pad (RFC 2104)."""
    padded = key.ljust(_BLOCK, b"\0")
    return bytes(byte ^ 0x36 for byte in padded), bytes(byte ^ 0x5C for byte in padded)


def hide_activity(administrator: Connection) -> None:
    """Statements travel with their tenant's context: nobody but operators may watch them."""
    found = administrator.execute(
        "SELECT oid::regprocedure::text FROM pg_proc"
        " WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY(%s)",
        (list(_WATCHERS),),
    ).fetchall()
    for (signature,) in found:
        administrator.execute(
            sql.SQL(
                "REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC;"
                "GRANT EXECUTE ON FUNCTION {function} TO {roles}, pg_monitor"
            ).format(
                function=sql.SQL(signature),
                roles=sql.SQL(", ").join(map(sql.Identifier, (OWNER_ROLE, AGENT_ROLE))),
            )
        )
