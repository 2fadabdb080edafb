"""Two real PostgreSQL servers with the same table twice: in a cell, which the fabric replicates,
and in a plain database, which native logical replication does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from bench.fabric.stream import COLUMNS, ROW, STREAM, TICKETS, new_ids
from bench.frame import Bench, seconds_of
from infra.fleet.plan import deployment_document, make_plan
from infra.fleet.secrets import load_or_make
from infra.postgres.cluster import Cluster, prepare, wait_until_ready
from infra.postgres.placement import haven_of, place
from regions import cells
from regions.deployment import ADMIN_ROLE, OWNER_ROLE, Deployment, load
from regions.replication import capture
from regions.topology import CellSpec, TenancyMode, WritePolicy
from testkit.guard import Guard
from testkit.ports import free_port_base
from testkit.servers import start_cluster

WRITER, PEER = "eu-west", "eu-central"
SPEC = CellSpec("bench", TenancyMode.DEDICATED, WritePolicy.ACTIVE_ACTIVE, (WRITER, PEER))
NATIVE = "native"
PATIENCE_SECONDS = 300.0
PAIRS = 5
CATCH_UPS = 15  # two of the same differ by half

_MARK = """
INSERT INTO ticket (id, title, body, status, priority, votes, created_at, updated_at)
VALUES (%s, '', '', '', '', 0, now(), now())
"""
_SUBSCRIPTION = """
SELECT subname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid
 WHERE datname = current_database()
"""
_READ = "SELECT FROM pg_replication_slots WHERE database = current_database() AND active"
_marks = count(-1, -1)


@dataclass(frozen=True)
class Side:
    """One way of replicating: a database on both servers, and where its worker writes first."""

    database: str
    inbox: str
    dsns: Mapping[str, str]  # by region
    administrators: Mapping[str, str] = field(default_factory=dict)
    helpers: tuple[int, ...] = ()  # processes beside the servers' that are at work for it

    def connect(self, region: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self.dsns[region], autocommit=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing gets into the peer inside the block."""
        with self.connect(PEER) as peer, peer.transaction():
            peer.execute(sql.SQL("LOCK TABLE {}").format(sql.SQL(self.inbox)))
            yield

    @contextmanager
    def unlinked(self) -> Iterator[None]:
        """Nothing is read of what the writer writes inside the block: nobody subscribes to it."""
        with (
            psycopg.connect(self.administrators[PEER], autocommit=True) as peer,
            psycopg.connect(self.administrators[WRITER], autocommit=True) as writer,
        ):
            ((name,),) = peer.execute(_SUBSCRIPTION).fetchall()
            alter = sql.SQL("ALTER SUBSCRIPTION {} {}")
            peer.execute(alter.format(sql.Identifier(name), sql.SQL("DISABLE")))
            try:
                while writer.execute(_READ).fetchone():
                    time.sleep(0.01)
                yield
            finally:
                peer.execute(alter.format(sql.Identifier(name), sql.SQL("ENABLE")))

    def await_row(self, peer: psycopg.Connection[Any], number: int) -> None:
        """Looks for it as long as it takes; not by reading the whole table each time, which a plan
        that was made when it was empty would do."""
        peer.execute("SET enable_seqscan = off")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not peer.execute("SELECT 1 FROM ticket WHERE id = %s", (number,)).fetchone():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.database}: the peer did not get row {number}")
            time.sleep(0.002)

    def seconds_to_catch_up(
        self, transactions: int, rows: int, before: Callable[[], object] = lambda: None
    ) -> float:
        """From the first byte that gets into the peer until the last row is seen there. `before`
        is called when all is written and nothing is there yet."""
        self.empty()
        base = new_ids()
        with self.connect(PEER) as peer:
            with self.connect(WRITER) as writer, self.held():
                # Its plans are made while the table is empty, and kept.
                writer.execute("SET synchronous_commit = off; SET enable_seqscan = off")
                writer.execute("CALL stream(%s, %s, %s)", (transactions, rows, base))
                last = base + 900_000
                writer.execute(
                    f"INSERT INTO ticket (id, {COLUMNS}) SELECT {last}, {ROW}"
                    " FROM generate_series(1, 1) n"
                )
                time.sleep(0.3)
                before()
            return seconds_of(lambda: self.await_row(peer, last))

    def empty(self) -> None:
        """Both tables and all bookkeeping, as if nothing had been written; once the peer has all
        that was."""
        with self.connect(WRITER) as writer, self.connect(PEER) as peer:
            mark = next(_marks)
            writer.execute(_MARK, (mark,))
            self.await_row(peer, mark)
        ours = self.database == SPEC.database
        for region in (WRITER, PEER):
            with psycopg.connect(self.administrators[region], autocommit=True) as session:
                session.execute("SET session_replication_role = replica")
                session.execute("TRUNCATE ticket")
                if ours:
                    session.execute("TRUNCATE fabric.tombstone, fabric.conflict")
                    session.execute("VACUUM fabric.change, fabric.txn")
                session.execute("VACUUM ANALYZE ticket")


def catch_up_ratio(
    bench: Bench,
    key: str,
    ours: Side,
    theirs: Side,
    transactions: int,
    rows: int,
    *,
    target: float | None,
    against: str,
) -> None:
    """Record how fast our peer gets what it lacks, in times of theirs."""
    pairs = bench.paired(
        CATCH_UPS,
        lambda: ours.seconds_to_catch_up(transactions, rows),
        lambda: theirs.seconds_to_catch_up(transactions, rows),
    )
    bench.record_ratio(
        key,
        [(other, mine) for mine, other in pairs],
        target=target,
        better="higher",
        against=against,
    )


@contextmanager
def start() -> Iterator[tuple[Side, Side]]:
    """(the fabric's side, the native side); afterwards nothing of them is left."""
    state = Path(tempfile.mkdtemp(prefix="meridian-bench-"))
    state.chmod(0o711)
    with ExitStack() as stack:
        guard = Guard()
        stack.callback(guard.close)
        for folder in (state, haven_of(state)):
            guard.removes(folder)
        placement = place(state, os.environ)
        base = free_port_base(regions=2)
        plan = make_plan(state, regions=2, port_base=base, data=placement.data)
        document = deployment_document(plan, through_wan=False)
        (state / "deployment.json").write_text(json.dumps(document))
        load_or_make(state)
        deployment = load(state / "deployment.json")
        for region in (WRITER, PEER):
            port = plan.region(region).postgres_port
            cluster = Cluster(plan.pgdata(region), port, placement.binaries, placement.account)
            prepare(cluster, deployment.password(ADMIN_ROLE))
            with (cluster.data / "postgresql.conf").open("a") as settings:
                settings.write("shared_buffers = '256MB'\nmax_wal_size = '4GB'\n")
                # A held worker answers nobody; its sender waits for as long as it takes.
                settings.write("wal_sender_timeout = 0\nwal_receiver_timeout = 0\n")
            server = start_cluster(cluster, plan.logs)
            guard.ends(server.pid)
            wait_until_ready(deployment.dsn(region, "postgres", ADMIN_ROLE))
        _make_cell(deployment)
        _make_native(deployment)
        applier = subprocess.Popen(
            [
                *(sys.executable, "-m", "bench.fabric.applier"),
                *(str(state / "deployment.json"), PEER, WRITER, PEER),
            ]
        )
        guard.ends(applier.pid)
        stack.callback(applier.wait)
        stack.callback(applier.terminate)
        sides = (
            _side(deployment, SPEC.database, "fabric.change", OWNER_ROLE, applier.pid),
            _side(deployment, NATIVE, "ticket", ADMIN_ROLE),
        )
        for side in sides:
            with side.connect(WRITER) as session:
                session.execute(STREAM)
        yield sides
    shutil.rmtree(state, ignore_errors=True)


def _side(deployment: Deployment, database: str, inbox: str, role: str, *helpers: int) -> Side:
    dsns, administrators = (
        {region: deployment.dsn(region, database, each) for region in (WRITER, PEER)}
        for each in (role, ADMIN_ROLE)
    )
    return Side(database, inbox, dsns, administrators, helpers)


def _make_cell(deployment: Deployment) -> None:
    for region in (WRITER, PEER):
        cells.prepare_region(deployment, region)
    cells.create_databases(deployment, SPEC)
    for region in (WRITER, PEER):
        with psycopg.connect(deployment.dsn(region, SPEC.database, OWNER_ROLE)) as owner:
            owner.execute(TICKETS)
            capture.attach(owner, "public")
    cells.connect_replicas(deployment, SPEC)


def _make_native(deployment: Deployment) -> None:
    for region in (WRITER, PEER):
        with cells.administrator(deployment, region) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(NATIVE)))
        with cells.administrator(deployment, region, NATIVE) as admin:
            admin.execute(TICKETS)
    with cells.administrator(deployment, WRITER, NATIVE) as admin:
        admin.execute("CREATE PUBLICATION tickets FOR TABLE ticket")
        admin.execute("SELECT pg_create_logical_replication_slot('native', 'pgoutput')")
    with cells.administrator(deployment, PEER, NATIVE) as admin:
        admin.execute(
            sql.SQL(
                "CREATE SUBSCRIPTION native CONNECTION {} PUBLICATION tickets"
                " WITH (create_slot = false, slot_name = native, copy_data = false)"
            ).format(sql.Literal(deployment.dsn(WRITER, NATIVE, ADMIN_ROLE)))
        )
