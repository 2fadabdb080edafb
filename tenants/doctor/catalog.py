"""Is everything shut that PostgreSQL leaves open for every role?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg

from tenants.doctor.findings import Finding, Severity
from tenants.isolation import hardening

Connection = psycopg.Connection[Any]
NAME = "catalog"

_NEXT = (
    "Run `manage.py cell secure {cell}`. If it stays open, the administrator is no superuser: "
    "have the provider revoke it, or use dedicated cells for tenants that must not be told."
)


def check(administrator: Connection, where: str) -> Iterator[Finding]:
    cell = where.partition("@")[0]
    for door in hardening.open_doors(administrator):
        what = f"The application may use what it should not: {door}."
        yield Finding(NAME, Severity.WARNING, what, _NEXT.format(cell=cell), where)
