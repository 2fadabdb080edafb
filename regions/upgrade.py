"""Brings the replicas of a region to this version of the fabric.

Guarantees that a database is upgraded whole or stays as it was, and that one which is of this
version is not touched. Needs PostgreSQL only: who the replica is says its own database.
"""

from __future__ import annotations

from typing import Any

import psycopg

from regions.cells import administrator, let_compare
from regions.deployment import Deployment
from regions.errors import CannotUpgrade
from regions.replication import install

_DATABASES = """
SELECT datname FROM pg_database
 WHERE datallowconn AND (datname = 'control' OR datname LIKE 'cell\\_%') ORDER BY 1
"""


def upgrade_replicas(deployment: Deployment, region: str) -> list[str]:
    """Returns the databases that were of an earlier version. Raises CannotUpgrade."""
    with administrator(deployment, region) as admin:
        databases = [name for (name,) in admin.execute(_DATABASES)]
    upgraded = []
    for database in databases:
        with administrator(deployment, region, database) as session:
            let_compare(session)
            if _is_earlier(session):
                _upgrade(session, database, region)
                upgraded.append(database)
    return upgraded


def _is_earlier(session: psycopg.Connection[Any]) -> bool:
    """Whether it is a replica (the making of one may have broken off), and not of this version."""
    row = session.execute("SELECT to_regclass('fabric.member') IS NOT NULL").fetchone()
    if not (row and row[0]):
        return False
    members = session.execute("SELECT to_jsonb(m) ->> 'version' FROM fabric.member m").fetchall()
    return bool(members) and members[0][0] != install.version()


def _upgrade(session: psycopg.Connection[Any], database: str, region: str) -> None:
    install.become_owner(session)
    try:
        install.in_one_go(session, lambda: install.lay(session))
    except psycopg.errors.FeatureNotSupported as error:
        raise CannotUpgrade(
            f"{database} in {region} was made by a version that is too old and cannot be upgraded:"
            f" {error.diag.message_primary}. Start anew (`make clean`), or run the version that"
            " made it and bring its tenants' rows over as data."
        ) from error
