"""The shortest script that makes what a recording made, where that can be proven.

Guarantees that it is played once, next to what was recorded, and differs in nothing; otherwise the
recording itself is what the next tenants get.
"""

from __future__ import annotations

import logging
from collections import Counter
from uuid import UUID, uuid4

import psycopg
from psycopg import sql

from regions import cells
from regions.current import deployment
from regions.deployment import OWNER_ROLE
from regions.topology import CellSpec
from tenants.isolation.catalog import Connection
from tenants.isolation.distil import distil
from tenants.isolation.likeness import facts
from tenants.isolation.recording import Script, play

log = logging.getLogger("tenants.blueprint")


def shortest(spec: CellSpec, region: str, recorded: Script) -> Script:
    """`recorded` has just made its schema in this replica, and nobody else has written to it."""
    if recorded.tenant is None or recorded.schema == "public" or not recorded.portable:
        return recorded
    tenant = recorded.tenant
    with cells.administrator(deployment(), region, spec.database) as administrator:
        try:
            text = distil(administrator, recorded.schema)
            short = Script(text, recorded.schema, tenant)
            differing = _differing(administrator, short, tenant)
        except psycopg.Error as error:
            log.info("Tenants' tables are made as they were recorded: %s", error)
            return recorded
    if differing:
        log.info("Tenants' tables are made as they were recorded: %s", "; ".join(differing[:5]))
        return recorded
    return short


def _differing(administrator: Connection, script: Script, tenant: UUID) -> list[str]:
    """What a schema that the script makes has not in common with the one that it was taken from;
    nothing of it remains."""
    schema, other = f"t_{uuid4().hex[:12]}", uuid4()
    with administrator.transaction(force_rollback=True):
        administrator.execute(
            sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER_ROLE)).as_string().encode()
        )
        play(administrator, schema, script.for_tenant(schema, other))
        administrator.execute("RESET ROLE")
        made = Counter(facts(administrator, schema, other))
        wanted = Counter(facts(administrator, script.schema, tenant))
        return sorted(((made - wanted) + (wanted - made)).elements())
