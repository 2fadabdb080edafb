"""What stands between the application and PostgreSQL?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from tenants.doctor.findings import Finding, Severity

Connection = psycopg.Connection[Any]
NAME = "pooler"


def check(application: Connection, where: str) -> Iterator[Finding]:
    """A pooler gives its clients process numbers of its own."""
    row = application.execute("SELECT pg_backend_pid()").fetchone()
    if row and row[0] != application.info.backend_pid:
        yield Finding(
            NAME,
            Severity.NOTE,
            "A pooler shares PostgreSQL's sessions among the application's connections: "
            "statements that leave something in a session are refused there.",
            "Nothing, if it is in transaction mode; session mode costs a session a connection.",
            where,
        )
