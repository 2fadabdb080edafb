"""Kept tasks: each has a row in its tenant's cell from when it is sent until it has ended.

Guarantees that a task is there exactly if the transaction that sent it is, that whoever writes the
cell after its region was lost knows what is to be done, and that a worker begins only what no other
one does. A message in a broker only tells a worker to look: the row says what is true.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from django.conf import settings
from django.db import connections

from regions.errors import RegionsError
from tenants.celery.claims import Action, Decision, Seen, decide
from tenants.celery.place import place_of
from tenants.context import current_tenant
from tenants.databases import cell_alias, leases
from tenants.directory import TenantRecord
from tenants.fencing import Claim, current_claim
from tenants.seams import cell_spec

# A task that waits for longer than this after its time is told of again, and then ever more seldom.
RING_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class KeptIn:
    """Where a task can be kept: the connection alias, and the region whose broker is told."""

    alias: str
    region: str


def kept_in(tenant: TenantRecord, name: str) -> KeptIn | None:
    """Where the tenant's task of this name is kept when it is sent here and now; None: it is not.
    Some are declared not to be; only a writer of the cell can write a row; and an event loop must
    not wait for a database."""
    if any(fnmatchcase(name, pattern) for pattern in settings.MERIDIAN_UNKEPT_TASKS) or _in_loop():
        return None
    here = settings.MERIDIAN_REGION
    try:
        spec = cell_spec(tenant.cell)
        place = place_of(spec, leases().get(spec.name), here or "")
        if place.region is None or (here in spec.regions and place.region != here):
            return None
        return KeptIn(cell_alias(spec.name, region=place.region), place.region)
    except RegionsError:
        return None


def keep(
    there: KeptIn,
    task_id: str,
    name: str,
    *,
    queue: str | None,
    text: str,
    due: datetime | None,
) -> bool:
    """Write the row, in the transaction that there is. From within the task itself: it is to be
    tried again. False: a task of this id waits or runs already."""
    claim = current_claim(current_tenant().id)
    mine = claim.number if claim is not None and claim.task_id == task_id else None
    patience = timedelta(seconds=RING_SECONDS)
    arguments = [task_id, name, queue, text, due, patience, mine]
    sql = "SELECT tenancy.keep_task(%s, %s, %s, %s, %s::timestamptz, %s, %s)"
    return bool(_one(there.alias, sql, arguments))


def begin(
    task_id: str, *, letter: str, redelivered: bool, worker: str, patience: float
) -> Claim | Decision:
    """Take the task of the tenant in scope; or why it is not to be begun. `letter`: the message
    that tells of it."""
    alias = _alias()
    while True:
        seen = _look(task_id)
        decision = decide(seen, back=letter if redelivered else None, patience=patience)
        if decision.action is Action.PARK:
            _one(alias, "SELECT tenancy.park_task(%s)", [task_id])
        if seen is None or decision.action is not Action.BEGIN:
            return decision
        number = _one(
            alias,
            "SELECT tenancy.claim_task(%s, %s, %s, %s, %s)",
            [task_id, seen.claims, worker, letter, timedelta(seconds=patience)],
        )
        if number is not None:
            return Claim(current_tenant().id, task_id, number)


def holds(claim: Claim) -> bool:
    """Whether the claim is the newest, and its worker has neither ended the task nor sent it to be
    tried again."""
    seen = _look(claim.task_id)
    return seen is not None and seen.claims == claim.number and seen.claimed_for is not None


def end(claim: Claim) -> bool:
    """It has ended. False: somebody else has begun it since."""
    return bool(_one(_alias(), "SELECT tenancy.end_task(%s, %s)", [claim.task_id, claim.number]))


def give_back(claim: Claim) -> bool:
    """Whoever is told of it next may begin. False: it was not this claim's any more."""
    arguments = [claim.task_id, claim.number]
    return bool(_one(_alias(), "SELECT tenancy.give_task_back(%s, %s)", arguments))


def drop(task_id: str) -> None:
    """It is not to be done."""
    _one(_alias(), "SELECT tenancy.drop_task(%s)", [task_id])


def _look(task_id: str) -> Seen | None:
    with connections[_alias()].cursor() as cursor:
        cursor.execute("SELECT * FROM tenancy.look_at_task(%s)", [task_id])
        row = cursor.fetchone()
    return Seen(*row) if row else None


def _alias() -> str:
    return cell_alias(current_tenant().cell)


def _one(alias: str, sql: str, arguments: list[Any]) -> Any:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, arguments)
        return cursor.fetchone()[0]


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
