"""Gives a cell another write policy, or another timetable, while it is in use.

The registry says what shall be; the agents of the cell's regions carry it out and match the
databases' gates to it, also if this process dies. No write is lost on the way: where one region
wrote and all may write now, or the other way round, the fabric merges what overlaps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
from django.db import connections, transaction

from regions import cells, timetable
from regions.current import deployment
from regions.errors import InvalidTimetable, ReplicaDown
from regions.failover.preview_policy import Change, preview_policy
from regions.models import Cell
from regions.replication.housekeeping import UNDER_A_LEASE
from regions.topology import CellSpec, TenancyMode, WritePolicy
from tenants import audit
from tenants.databases import control_writer_alias, leases
from tenants.errors import InvalidRequest, PolicyPending
from tenants.placement import parse_policy
from tenants.seams import find_cell, spec_for

IN_FORCE_SECONDS = 30.0
AGENT_SECONDS = 5.0  # an agent that lives has heard of it by then
LOOK_SECONDS = 0.2
HELD_MS = 10_000  # so long an operator's machine that died keeps the others' commands waiting
_GATE = """
SELECT valid_until = 'infinity', valid_until > clock_timestamp() FROM fabric.gate
"""


def set_policy(
    name: str,
    *,
    policy: str,
    timetable: str | None = None,
    actor: str,
    tell: Callable[[str], None],
) -> Cell:
    """The cell, once the policy is in force everywhere. Safe to repeat.

    Raises UnknownCell, InvalidRequest, InvalidTimetable, or ReplicaDown: nothing was changed; or
    PolicyPending: it is changed, and not in force everywhere yet.
    """
    using = control_writer_alias()
    before = spec_for(find_cell(name, using=using))
    if before.mode is TenancyMode.CONTROL:
        raise InvalidRequest("The control cell is active_passive, and stays so.")
    wanted = parse_policy(policy)
    hours = checked_timetable(wanted, timetable, before.regions, known=before.timetable)
    if before.policy.leased is not wanted.leased:
        _require_all(before)
    tell(f"{name}: {before.policy} → {wanted}")
    with transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{HELD_MS}ms'")
        cell = Cell.objects.using(using).select_for_update().get(name=name)
        if cell.state != Cell.State.READY:
            raise InvalidRequest(f"Cell {name!r} is not ready yet.")
        if (cell.policy, cell.timetable) != (before.policy.value, before.timetable):
            who = audit.last("set_policy", name, using=using)
            raise InvalidRequest(
                f"{who} has just made {name} {cell.policy}: look at it, and repeat the "
                "command if you still want yours."
            )
        if (cell.policy, cell.timetable) != (wanted.value, hours):
            audit.record(
                "set_policy",
                name,
                actor=actor,
                using=using,
                was=cell.policy,
                policy=wanted.value,
                timetable=hours,
            )
            cell.policy, cell.timetable = wanted.value, hours
            cell.save(using=using, update_fields=["policy", "timetable"])
    tell(f"{name}: waiting for the agents of {', '.join(before.regions)}")
    _await_in_force(replace(before, policy=wanted, timetable=hours), using, tell)
    return cell


def preview(name: str, *, policy: str, timetable: str | None = None) -> Change:
    """What `set_policy` would do; nothing is done. Raises UnknownCell, InvalidTimetable."""
    spec = spec_for(find_cell(name))
    wanted = parse_policy(policy)
    hours = checked_timetable(wanted, timetable, spec.regions, known=spec.timetable)
    lease = leases().get(name) if spec.policy.leased else None
    return preview_policy(
        spec,
        lease.writer if lease else None,
        wanted,
        hours,
        up=[region for region, gate in _gates(spec).items() if gate is not None],
        now=datetime.now(UTC),
    )


def checked_timetable(
    policy: WritePolicy, text: str | None, regions: tuple[str, ...], *, known: str = ""
) -> str:
    """The timetable that goes with the policy, or nothing. Raises InvalidTimetable."""
    if policy is not WritePolicy.FOLLOW_THE_SUN:
        if text:
            raise InvalidTimetable(f"Only follow_the_sun has a timetable, not {policy}.")
        return ""
    if not (text or known):
        raise InvalidTimetable(
            f"follow_the_sun needs a timetable: {timetable.GRAMMAR}, with commas between shifts."
        )
    hours = " ".join((text or known).split())
    timetable.check(timetable.parse(hours), regions, datetime.now(UTC).date())
    return hours


def _require_all(spec: CellSpec) -> None:
    """A region that does not hear of the change would go on by the old policy."""
    silent = [region for region, gate in _gates(spec).items() if gate is None]
    if silent:
        raise ReplicaDown(
            f"{', '.join(silent)} of {spec.name} can't be reached, and would go on by the old "
            "policy. Nothing was changed; bring it back first."
        )


def _await_in_force(spec: CellSpec, using: str, tell: Callable[[str], None]) -> None:
    began = time.monotonic()
    deadline, heard = began + IN_FORCE_SECONDS, began + AGENT_SECONDS
    while (pending := _pending(spec)) is not None:
        now = find_cell(spec.name, using=using)
        if (now.policy, now.timetable) != (spec.policy.value, spec.timetable):
            who = audit.last("set_policy", spec.name, using=using)
            raise PolicyPending(f"{who} has made {spec.name} {now.policy} since.")
        if spec.policy.leased and time.monotonic() > heard:
            _close_for_good(spec, tell)
        if time.monotonic() > deadline:
            raise PolicyPending(
                f"{spec.name} is {spec.policy} now, but {pending} after {IN_FORCE_SECONDS:g} s: "
                "are the agents running? They go on trying; repeat the command to wait on."
            )
        time.sleep(LOOK_SECONDS)


def _close_for_good(spec: CellSpec, tell: Callable[[str], None]) -> None:
    """Close the gates that are open without a lease: their agents hang or are gone, and the region
    that gets the lease would not be the only writer."""
    for region in spec.regions:
        with suppress(psycopg.Error), cells.administrator(deployment(), region, spec.database) as a:
            if a.execute(UNDER_A_LEASE).rowcount:
                tell(f"{region}: its agent does not answer; {spec.name} is closed there without it")


def _pending(spec: CellSpec) -> str | None:
    """What is missing until the gates are as the policy wants them."""
    gates = _gates(spec)
    for region, gate in gates.items():
        if gate is None:
            return f"{region} does not answer"
        if gate[0] is spec.policy.leased:
            return f"{region} still goes by the old policy"
    writers = [region for region, gate in gates.items() if gate and gate[1]]
    return "no region writes" if not writers else None


def _gates(spec: CellSpec) -> dict[str, tuple[bool, bool] | None]:
    """By region: open for good, open now; None: it does not answer."""
    gates: dict[str, tuple[bool, bool] | None] = {}
    for region in spec.regions:
        try:
            with cells.administrator(deployment(), region, spec.database) as admin:
                gates[region] = admin.execute(_GATE).fetchone()
        except psycopg.Error:
            gates[region] = None
    return gates
