"""Drives a replicated cell by hand: write here, deliver there, look at both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import psycopg

from regions import cells
from regions.deployment import Deployment
from regions.replication import apply, capture
from regions.replication.session import Session
from regions.topology import CellSpec

REMEMBERED = ("fabric.conflict", "fabric.tombstone", "fabric.dead_letter", "fabric.want")


@dataclass
class Mesh:
    deployment: Deployment
    spec: CellSpec
    loop: asyncio.AbstractEventLoop
    appliers: dict[str, Session]
    writers: dict[str, psycopg.Connection[Any]]

    def write(self, region: str, statement: str, *params: object) -> list[tuple[Any, ...]]:
        cursor = self.writers[region].execute(statement, params or None)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []

    def rows(self, region: str, statement: str = "SELECT * FROM note ORDER BY id") -> list[Any]:
        return self.write(region, statement)

    def administrator(self, region: str) -> AbstractContextManager[psycopg.Connection[Any]]:
        return cells.administrator(self.deployment, region, self.spec.database)

    def node(self, region: str) -> int:
        return self.deployment.region(region).node

    def deliver(self, sender: str, receiver: str) -> apply.Step:
        """Wait until what `sender` has written is in `receiver`'s inbox; apply it there."""
        self.await_inbox(sender, receiver)
        taken = apply.Step(0, 0, more=True)
        while taken.more:
            last = self.loop.run_until_complete(
                apply.step(self.appliers[receiver], self.node(sender))
            )
            taken = apply.Step(taken.rows + last.rows, taken.parked + last.parked, more=last.more)
        return taken

    def await_inbox(self, sender: str, receiver: str) -> None:
        count = "SELECT count(*) FROM fabric.change WHERE origin = %s"
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            sent = self.write(sender, count, self.node(sender))
            if self.write(receiver, count, self.node(sender)) == sent:
                return
            time.sleep(0.01)
        raise AssertionError(f"{receiver} did not receive what {sender} wrote")

    def settle(self) -> None:
        """Deliver everything to everyone."""
        for receiver in self.spec.regions:
            for sender in self.spec.regions:
                if sender != receiver:
                    self.deliver(sender, receiver)

    def assert_equal(self, table: str = "note") -> None:
        """Every replica holds the same rows, stamps included."""
        query = f"SELECT * FROM {table} ORDER BY id"
        first, *others = [self.rows(region, query) for region in self.spec.regions]
        for other in others:
            assert other == first, f"{other}\n{first}"

    def settled(self, table: str, columns: str) -> list[Any]:
        """The rows once everything has arrived: the same everywhere."""
        self.settle()
        self.assert_equal(table)
        return self.rows(self.spec.regions[0], f"SELECT {columns} FROM {table} ORDER BY id")

    def parked(self) -> list[str]:
        """Why there are dead letters, in whatever region."""
        query = "SELECT reason FROM fabric.dead_letter"
        return [reason for region in self.spec.regions for (reason,) in self.rows(region, query)]

    def make(self, tables: str) -> None:
        """Replicated tables, from their DDL."""
        for writer in self.writers.values():
            writer.execute(tables)  # type: ignore[call-overload]
            capture.attach(writer, "public")

    def drop(self, tables: Iterable[str]) -> None:
        for writer in self.writers.values():
            for table in tables:
                writer.execute(f"DROP TABLE {table}")  # type: ignore[call-overload]
                writer.execute("DELETE FROM fabric.relation WHERE rel = %s", [f"public.{table}"])

    def start_anew(self) -> None:
        """No rows, and nothing that is remembered of any."""
        self.settle()
        for region in self.spec.regions:
            with self.administrator(region) as session:
                session.execute("SET session_replication_role = replica")
                ((tables,),) = session.execute("SELECT string_agg(rel, ', ') FROM fabric.relation")
                session.execute(f"TRUNCATE {tables}, {', '.join(REMEMBERED)}".encode())
