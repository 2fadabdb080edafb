"""Negative controls: two common ways to replicate tables both ways, which lose writes in silence.

If the checker finds nothing wrong with them, it can't find anything wrong with the fabric either.
Their tables are the clients' own, their clients come in as administrators, and they keep no record.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg import sql

from regions import cells
from regions.deployment import ADMIN_ROLE
from tests.faults import readout
from tests.faults.arena import CARDS_THERE
from tests.faults.history import Discarded, Replica
from tests.faults.world import World, wait_for

CATCH_UP_SECONDS = 15.0

_STAMP = "_stamp bigint NOT NULL DEFAULT 0"
TABLES = f"""
CREATE TABLE board_entry (
    id bigint PRIMARY KEY, about text, seen jsonb, stamp bigint, {_STAMP});
CREATE INDEX ON board_entry (about);
CREATE TABLE board_card (
    id bigint PRIMARY KEY, title text, status text, body text, votes integer, {_STAMP});
CREATE INDEX ON board_card (title);
CREATE TABLE board_slot (id bigint PRIMARY KEY, value text, {_STAMP});
CREATE TABLE board_note (id bigint PRIMARY KEY, text text, mark text, {_STAMP});
CREATE TABLE board_account (id bigint PRIMARY KEY, balance integer, {_STAMP});
CREATE TABLE board_parcel (id bigint PRIMARY KEY, batch bigint, {_STAMP});
"""
NAMES = ("entry", "card", "slot", "note", "account", "parcel")

# Row by row the last writer wins: stamps of the wall clock, ties by region.
LAST_WRITER_WINS = """
CREATE FUNCTION stamp_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW._stamp := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint << 8 | {node};
    RETURN NEW;
END $$;
CREATE FUNCTION last_writer_wins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN CASE WHEN NEW._stamp > OLD._stamp THEN NEW END;
END $$;
"""
_TRIGGERS = """
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION stamp_row();
CREATE TRIGGER merge BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION last_writer_wins();
ALTER TABLE {table} ENABLE REPLICA TRIGGER merge
"""


class PlainDoor:
    """A connection a thread and region, opened again when it is lost."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._mine = threading.local()

    @contextmanager
    def transaction(self, region: str) -> Iterator[Any]:
        known = self._mine.__dict__
        if region not in known:
            known[region] = psycopg.connect(
                self._control.dsn(region), autocommit=True, connect_timeout=2
            )
        with known[region].transaction():
            yield known[region].cursor()

    def discard(self, region: str) -> None:
        if region in self._mine.__dict__:
            self._mine.__dict__.pop(region).close()

    def leave(self) -> None:
        for region in list(self._mine.__dict__):
            self.discard(region)


class Control:
    """`row_lww`: with triggers that keep the newer row; else as PostgreSQL applies it."""

    def __init__(self, world: World, seed: Sequence[str], *, row_lww: bool) -> None:
        self.world = world
        self.name = "row LWW in apply triggers" if row_lww else "plain origin=none"
        self.database = "control_lww" if row_lww else "control_plain"
        self.door = PlainDoor(self)
        for agent in world.agents.values():
            agent.stop()  # they have nothing to do here
        for region in world.regions:
            with cells.administrator(world.deployment, region) as admin:
                admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.database)))
            with self._session(region) as session:
                session.execute(TABLES.encode())
                if row_lww:
                    self._add_triggers(session, world.deployment.region(region).node)
                for statement in (CARDS_THERE, *seed):
                    session.execute(statement.encode())
                session.execute("UPDATE board_card SET _stamp = 0")
                session.execute("CREATE PUBLICATION board FOR ALL TABLES")
        self._connect()

    def dsn(self, region: str) -> str:
        return self.world.deployment.dsn(region, self.database, ADMIN_ROLE)

    def quiesce(self) -> list[str]:
        """Wait until everybody has every entry; a subscription that stands still is a stall."""
        try:
            wait_for("equal", lambda: len(set(map(self._entries, self.world.regions))) == 1, 15.0)
        except TimeoutError:
            return ["replicas do not get each other's entries"]
        time.sleep(1.0)
        return []

    def readings(self) -> tuple[list[Replica], list[Discarded]]:
        replicas = []
        for region in self.world.regions:
            with self._session(region) as session:
                replicas.append(readout.replica(session, region))
        return replicas, []

    def widen(self, region: str, column: str) -> None:
        """No control's schema changes."""
        raise NotImplementedError

    def leave(self, region: str, peer: str) -> str:
        """Nor its members."""
        raise NotImplementedError

    def close(self, region: str) -> None:
        raise NotImplementedError

    def expel(self, region: str) -> None:
        raise NotImplementedError

    def join(self, region: str) -> None:
        raise NotImplementedError

    def end(self) -> None:
        """Its subscriptions, slots and databases are gone."""
        for region in self.world.regions:
            with self._session(region) as session:
                for peer in self._peers(region):
                    name = sql.Identifier(self._name(peer, region))
                    session.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(name))
                    session.execute(
                        sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(name)
                    )
                    session.execute(sql.SQL("DROP SUBSCRIPTION {}").format(name))
        for region in self.world.regions:
            with cells.administrator(self.world.deployment, region) as admin:
                for peer in self._peers(region):
                    with suppress(psycopg.errors.UndefinedObject):
                        wait_for_slot(admin, self._name(region, peer))
                database = sql.Identifier(self.database)
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))

    def _add_triggers(self, session: psycopg.Connection[Any], node: int) -> None:
        session.execute(LAST_WRITER_WINS.replace("{node}", str(node)).encode())
        for name in NAMES:
            session.execute(_TRIGGERS.replace("{table}", f"board_{name}").encode())

    def _connect(self) -> None:
        """As the fabric does it: every slot before any subscription."""
        for region in self.world.regions:
            with self._session(region) as session:
                for peer in self._peers(region):
                    session.execute(
                        "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')",
                        (self._name(region, peer),),
                    )
        for region in self.world.regions:
            with self._session(region) as session:
                for peer in self._peers(region):
                    there = self.world.deployment.dsn(
                        peer, self.database, ADMIN_ROLE, seen_from=region
                    )
                    session.execute(
                        sql.SQL(
                            "CREATE SUBSCRIPTION {name} CONNECTION {there} PUBLICATION board WITH"
                            " (create_slot = false, slot_name = {slot}, copy_data = false,"
                            " origin = none)"
                        ).format(
                            name=sql.Identifier(self._name(peer, region)),
                            there=sql.Literal(there),
                            slot=sql.Literal(self._name(peer, region)),
                        )
                    )

    def _entries(self, region: str) -> int:
        with self._session(region) as session:
            row = session.execute("SELECT count(*) FROM board_entry").fetchone()
            return int(row[0]) if row else 0

    def _session(self, region: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self.dsn(region), autocommit=True)

    def _peers(self, region: str) -> list[str]:
        return [peer for peer in self.world.regions if peer != region]

    def _name(self, sender: str, receiver: str) -> str:
        return f"{self.database}_{sender}_to_{receiver}".replace("-", "_")


def wait_for_slot(admin: psycopg.Connection[Any], slot: str) -> None:
    """Drop it once nobody uses it."""
    unused = "SELECT NOT active FROM pg_replication_slots WHERE slot_name = %s"

    def free() -> bool:
        row = admin.execute(unused, (slot,)).fetchone()
        return row is None or bool(row[0])

    wait_for(f"slot {slot} is unused", free, 20.0)
    admin.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
