"""Waits until replicas have heard what others had committed.

Guarantees that when `settle` returns, each receiver has applied all that each sender had committed
before the call: a heartbeat marks the place in the sender's log. `wait_received` waits for less:
all of it is in the receivers' databases, whether or not somebody applies it there.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import psycopg

from regions.errors import NotSettled
from regions.replication.housekeeping import BEAT
from regions.replication.transport import slot_name
from regions.topology import CellSpec

Connection = psycopg.Connection[Any]
Mark = tuple[int, int]

PAUSE_SECONDS = 0.005

RECEIVED_PAUSE_SECONDS = 0.05  # a peer says so each second at most

# One that is lost gets a new copy of everything.
_BEHIND = """
SELECT slot_name FROM pg_replication_slots
 WHERE slot_name = ANY(%s) AND wal_status <> 'lost' AND confirmed_flush_lsn < %s::pg_lsn
"""
_NODE = "SELECT node FROM fabric.member"
_HEARD = "SELECT heartbeat FROM fabric.watermark WHERE origin = %s"
_PARKED = """
SELECT count(*) FROM fabric.dead_letter
 WHERE %(tenant)s::uuid IS NULL OR tenant = %(tenant)s
"""


def settle(
    sessions: Mapping[str, Connection],
    *,
    cell: str,
    senders: Collection[str],
    receivers: Collection[str],
    tenant: UUID | None,
    seconds: float,
    patient: bool = False,
) -> None:
    """`sessions` of the owner or an administrator, autocommitting, by region. Raises NotSettled
    when it takes longer than `seconds`, or when a change of the tenant (None: anybody's) can't be
    applied: at once, or with `patient` when it still can't at the end."""
    deadline = time.monotonic() + seconds
    marks = mark(sessions, senders)
    for receiver in receivers:
        session = sessions[receiver]
        wait_heard(session, marks, cell=cell, receiver=receiver, deadline=deadline)
        while parked := _parked(session, tenant):
            if not patient or time.monotonic() > deadline:
                raise NotSettled(
                    f"cell {cell!r} in {receiver} has {parked} changes of the tenant that can't "
                    "be applied"
                )
            time.sleep(PAUSE_SECONDS)


def mark(sessions: Mapping[str, Connection], senders: Collection[str]) -> dict[str, Mark]:
    """A heartbeat of each sender: (its number in stamps, the heartbeat's number in its log). Raises
    NotSettled."""
    marks = {}
    for sender in senders:
        node = sessions[sender].execute(_NODE).fetchone()
        beat = sessions[sender].execute(BEAT, node).fetchone()
        if node is None or beat is None:
            raise NotSettled(f"{sender} has not been looked at since its server started")
        marks[sender] = (node[0], beat[0])
    return marks


def wait_heard(
    session: Connection, marks: Mapping[str, Mark], *, cell: str, receiver: str, deadline: float
) -> None:
    """Until `receiver` has applied the others' heartbeats. Raises NotSettled after `deadline`."""
    for sender, (node, beat) in marks.items():
        while sender != receiver and not _heard(session, node, beat):
            if time.monotonic() > deadline:
                raise NotSettled(f"cell {cell!r} in {receiver} does not catch up with {sender}")
            time.sleep(PAUSE_SECONDS)


def wait_received(sender: Connection, spec: CellSpec, region: str, *, seconds: float) -> None:
    """Until the peers of the replica in `region` have what it had committed before the call.
    `sender`: an administrator's session there. Raises NotSettled after `seconds`."""
    slots = {slot_name(spec, to): to for to in spec.regions if to != region}
    place = sender.execute("SELECT pg_current_wal_flush_lsn()").fetchone()
    deadline = time.monotonic() + seconds
    while behind := sender.execute(_BEHIND, (list(slots), *(place or ()))).fetchall():
        if time.monotonic() > deadline:
            late = ", ".join(sorted(slots[slot] for (slot,) in behind))
            raise NotSettled(
                f"what cell {spec.name!r} in {region} has sent has not arrived in {late}: repeat "
                "it once it has"
            )
        time.sleep(RECEIVED_PAUSE_SECONDS)


def _heard(session: Connection, node: int, mark: int) -> bool:
    row = session.execute(_HEARD, (node,)).fetchone()
    return bool(row and row[0] >= mark)


def _parked(session: Connection, tenant: UUID | None) -> int:
    row = session.execute(_PARKED, {"tenant": tenant}).fetchone()
    return row[0] if row else 0
