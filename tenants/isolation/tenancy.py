"""Installs the check of the signed tenant context in a cell database.

Guarantees that the key in the database is the cell's, and that only the owner can read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]

_SQL = [(Path(__file__).parent / name).read_text() for name in ("tenancy.sql", "standin.sql")]
_BLOCK = 64  # sha256's block size: the length that HMAC pads its key to


def install(connection: Connection, key: bytes) -> None:
    """The `tenancy` schema with the cell's key. As the owner; safe to repeat."""
    for script in _SQL:
        connection.execute(script)
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
