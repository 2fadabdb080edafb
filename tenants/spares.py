"""The spares as they are now: for operators, and for whoever must tell them from orphans."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tenants.databases import control_epoch, control_writer_alias
from tenants.isolation import blueprint
from tenants.lifecycle.wanted_pools import wanted_pools
from tenants.models import Spare


def pool_documents(*, using: str | None = None) -> list[dict[str, Any]]:
    """What `cell pool` prints. `ready` can be taken now; `waiting` can't until every region was
    heard since the control cell's writer changed; `outdated` is made anew. `using`: which control
    cell is asked, the writer's by itself."""
    using = using or control_writer_alias()
    wanted = {pool.key: pool.wanted for pool in wanted_pools(using=using)}
    found: dict[str, Counter[str]] = {key: Counter() for key in wanted}
    fingerprint, epoch = blueprint.fingerprint(), control_epoch()
    for spare in Spare.objects.using(using):
        if spare.state != Spare.State.READY:
            condition = spare.state
        elif spare.fingerprint != fingerprint:
            condition = "outdated"
        elif spare.epoch != epoch or spare.doubted_at:
            condition = "waiting"
        else:
            condition = spare.state
        found.setdefault(spare.pool, Counter())[condition] += 1
    return [
        {
            "pool": key,
            "wanted": wanted.get(key, 0),
            **{name: counts[name] for name in ("ready", "making", "broken", "waiting", "outdated")},
        }
        for key, counts in sorted(found.items())
    ]


def spares_in(cell: str) -> dict[str, int]:
    """How many spares of each state are in the cell."""
    counts = Counter(Spare.objects.filter(cell=cell).values_list("state", flat=True))
    return {state.value: counts[state.value] for state in Spare.State}


def spare_schemas(cell: str) -> dict[str, str]:
    """Schemas of the cell that are spares' and no orphans: {schema: state}."""
    return dict(Spare.objects.filter(cell=cell).values_list("schema", "state"))
