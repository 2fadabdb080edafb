"""Brings a replica whose database went back in time into line with its peers, to be compared.

Its server was started on an old backup: the numbers of its log, its clock and its sequences are
behind what its peers know of them; what they had sent since is not sent again; and of what it now
writes they would skip as much as they had heard before. Guarantees that afterwards nothing that it
makes is taken for something known, that every link begins anew, and that who was erased since is
erased here, too. What else it has and they have not, and the other way round, is left to a
comparison. Safe to repeat.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from psycopg import sql

from regions import cells
from regions.deployment import APP_ROLE, Deployment
from regions.errors import NotSettled
from regions.replication import erasures, seeding, transport
from regions.replication.position import REMEMBERED
from regions.topology import CellSpec

Connection = psycopg.Connection[Any]

PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 0.02

_NOTE_GAP = "UPDATE fabric.watermark SET gap = coalesce(gap, clock_timestamp()) WHERE region = %s"
_WAITING = """
SELECT EXISTS (SELECT FROM fabric.watermark w JOIN fabric.change c USING (origin)
                WHERE w.origin = %s AND c.arrival > w.arrival)
"""
# What is applied is not read again; its transactions' numbers will be given out again.
_FORGET = "DELETE FROM fabric.change WHERE origin = %s"
_CONTINUE = """
SELECT setval('fabric.change_seq', greatest((SELECT last_value FROM fabric.change_seq), %(seq)s)),
       setval('fabric.clock', greatest((SELECT last_value FROM fabric.clock), %(clock)s))
"""
_SESSIONS_OF_THE_APPLICATION = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = %s
"""
_RELATIONS = "SELECT rel FROM fabric.relation"
_PROMISES = "SELECT cell, promised, ballot, holder, epoch FROM lease.acceptor"
_LEARN = """
INSERT INTO lease.acceptor AS a (cell, promised, ballot, holder, epoch)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (cell) DO UPDATE SET promised = greatest(a.promised, EXCLUDED.promised),
   ballot = greatest(a.ballot, EXCLUDED.ballot), epoch = greatest(a.epoch, EXCLUDED.epoch),
   holder = CASE WHEN EXCLUDED.epoch > a.epoch THEN EXCLUDED.holder ELSE a.holder END
"""


def turn_away(deployment: Deployment, spec: CellSpec, region: str) -> None:
    """The application reads nothing old here: its sessions end, and it gets no new ones."""
    with cells.administrator(deployment, region) as admin:
        admin.execute(
            sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {}").format(
                sql.Identifier(spec.database), sql.Identifier(APP_ROLE)
            )
        )
        admin.execute(_SESSIONS_OF_THE_APPLICATION, (spec.database, APP_ROLE))


def let_in(deployment: Deployment, spec: CellSpec, region: str) -> None:
    """The application may come back: its numbers follow on those of the rows that are here now."""
    node = deployment.region(region).node
    with cells.administrator(deployment, region, spec.database) as admin:
        for (rel,) in admin.execute(_RELATIONS).fetchall():
            schema, _, name = rel.partition(".")
            seeding.advance(admin, sql.Identifier(schema, name), node)
        cells.admit(admin, spec.database)


def relink(deployment: Deployment, spec: CellSpec, region: str) -> None:
    """Of the cell's replica in `region`, which is barred. Needs all its peers and their agents.
    Raises NotSettled, psycopg.Error."""
    node = deployment.region(region).node
    with _sessions(deployment, spec, region) as (here, peers):
        for name, peer in peers.items():
            transport.unsubscribe(peer, spec, sender=region)
            transport.unsubscribe(here, spec, sender=name)
            transport.discard_slot(here, spec, to=name)
            here.execute(_NOTE_GAP, (name,))
        known, clock = 0, 0
        for name, peer in peers.items():
            _await_applied(peer, node, name)
            known = max(known, _one(peer, REMEMBERED, (node,)))
            clock = max(clock, _one(peer, "SELECT last_value FROM fabric.clock"))
        here.execute(_CONTINUE, {"seq": known + 1, "clock": clock})
        erasures.catch_up(here, peers.values())
        for name, peer in peers.items():
            peer.execute(_FORGET, (node,))
            transport.discard_slot(peer, spec, to=region)
            transport.ensure_slot(peer, spec, to=region)
            transport.ensure_slot(here, spec, to=name)
        for name, peer in peers.items():
            for receiver, hears in ((region, here), (name, peer)):
                sender = name if receiver == region else region
                transport.ensure_subscription(
                    hears, deployment, spec, sender=sender, receiver=receiver
                )


def learn_promises(deployment: Deployment, spec: CellSpec, region: str) -> None:
    """Every ballot and epoch that a majority has accepted is known to one of the others."""
    with _sessions(deployment, spec, region) as (here, peers):
        for peer in peers.values():
            for promise in peer.execute(_PROMISES).fetchall():
                here.execute(_LEARN, promise)


def _await_applied(peer: Connection, node: int, name: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while _one(peer, _WAITING, (node,)):
        if time.monotonic() > deadline:
            raise NotSettled(f"{name} does not apply what it has received: is its agent up?")
        time.sleep(PAUSE_SECONDS)


@contextmanager
def _sessions(
    deployment: Deployment, spec: CellSpec, region: str
) -> Iterator[tuple[Connection, dict[str, Connection]]]:
    """Administrators', as reached from `region`: its own, and by peer."""
    with ExitStack() as stack:
        sessions = {
            name: stack.enter_context(
                cells.administrator(deployment, name, spec.database, seen_from=region)
            )
            for name in spec.regions
        }
        yield sessions.pop(region), sessions


def _one(session: Connection, query: str, params: Any = ()) -> Any:
    row = session.execute(query.encode(), params).fetchone()
    assert row is not None  # noqa: S101 - of one row, always there
    return row[0]
