"""A tenant's limits and what it uses of them, from the region that answers: no query.

`used` is today's (UTC) count in this region; None where the region's store does not answer.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import redis

from tenants.directory import TenantRecord
from tenants.limits.counts import Counts, today
from tenants.limits.judge import standings
from tenants.limits.store import Store
from tenants.limits.values import document


def own_document(tenant: TenantRecord, region: str, store: Store) -> dict[str, Any]:
    """`quotas` has an entry for each quota that the tenant has, once it was measured."""
    day = today()
    try:
        counts = Counts(store)
        held = counts.held([tenant.id]).get(tenant.id)
        done = counts.done([tenant.id], day)[tenant.id]
    except redis.RedisError:
        store.failed()
        held = done = None
    return {
        "plan": tenant.plan,
        "region": region,
        "limits": document(tenant.limits),
        "day": day,
        "used": asdict(done) if done else None,
        "held": asdict(held) if held else None,
        "quotas": [
            {"what": one.what, "used": one.used, "allowed": one.allowed, "state": one.state}
            for one in (standings(held, tenant.limits) if held else ())
        ],
    }
