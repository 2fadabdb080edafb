"""The fabric beside pglogical with `last_update_wins`: Debian's, on Debian's PostgreSQL 15.

It is taken out of the packages into `.bench/` (no root, nothing is installed). Each side has two
servers of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from bench.fabric.pair import PEER, WRITER, Side, catch_up_ratio, start
from bench.fabric.stream import STREAM, TICKETS, variants
from bench.frame import Bench
from infra.fleet.plan import HOST
from infra.fleet.ports import is_free
from infra.fleet.state import REPOSITORY
from infra.postgres.account import server_account
from infra.postgres.binaries import PostgresBinaries
from infra.postgres.cluster import ADMIN, Cluster, prepare, wait_until_ready
from testkit.debian import NotToBeHad, unpacked
from testkit.guard import Guard
from testkit.servers import start_cluster

KEYS = tuple(f"fabric.vs_pglogical.{variant}" for variant, _, _ in variants(quick=False))
PACKAGES = ("postgresql-15", "postgresql-15-pglogical")
_SETTINGS = """
shared_buffers = '256MB'
max_wal_size = '4GB'
shared_preload_libraries = 'pglogical'
track_commit_timestamp = on
pglogical.conflict_resolution = 'last_update_wins'
"""
# Newer minor versions let a sender load only what is named here; older ones do not know it.
_TRUSTED = "output_plugin_libraries"
PATIENCE = "5 min"


def run(bench: Bench) -> None:
    if not any(map(bench.wants, KEYS)):
        return
    try:
        root = unpacked(REPOSITORY / ".bench" / "pglogical", *PACKAGES)
        with start() as (ours, _), _pglogical(root) as theirs:
            for variant, transactions, rows in variants(quick=bench.quick):
                key = f"fabric.vs_pglogical.{variant}"
                if bench.wants(key):
                    catch_up_ratio(
                        bench,
                        key,
                        ours,
                        theirs,
                        transactions,
                        rows,
                        target=None,
                        against="pglogical 2.4 on PostgreSQL 15, last_update_wins,"
                        f" {transactions} transactions of {rows} rows, as in"
                        " fabric.apply_vs_native; times of its speed",
                    )
    except NotToBeHad as error:
        bench.say(f"fabric.vs_pglogical is not measured: {error}")


@contextmanager
def _pglogical(root: Path) -> Iterator[Side]:
    """Raises NotToBeHad where Debian's server does not run."""
    state = Path(tempfile.mkdtemp(prefix="meridian-bench-"))
    state.chmod(0o711)
    with ExitStack() as stack:
        guard = Guard()
        stack.callback(guard.close)
        guard.removes(state)
        # Where the server's account gets to it, too.
        shutil.copytree(root / "usr", state / "usr", symlinks=True)
        binaries = PostgresBinaries(
            state / "usr" / "lib" / "postgresql" / "15" / "bin", 15, from_wheel=False
        )
        _require_libraries(binaries)
        settings_text = _SETTINGS + _trusting(binaries)
        dsns = {}
        for region in (WRITER, PEER):
            port = next(port for port in range(39_000, 40_000) if is_free(port))
            data = state / "regions" / region / "postgres"
            cluster = Cluster(data, port, binaries, server_account())
            prepare(cluster, "bench")
            with (data / "postgresql.conf").open("a") as settings:
                settings.write(settings_text)
            guard.ends(start_cluster(cluster, state / "logs").pid)
            dsns[region] = f"host={HOST} port={port} user={ADMIN} password=bench dbname={ADMIN}"
            wait_until_ready(dsns[region])
        _connect(dsns)
        yield Side("pglogical", "ticket", dsns, dsns)
    shutil.rmtree(state, ignore_errors=True)


def _require_libraries(binaries: PostgresBinaries) -> None:
    """They are other packages', which this machine has, or not."""
    needed = subprocess.run(
        ["ldd", str(binaries.postgres)], capture_output=True, text=True, check=False
    ).stdout
    lacking = [line.split()[0] for line in needed.splitlines() if "not found" in line]
    if lacking:
        raise NotToBeHad(f"this machine lacks libraries of {PACKAGES[0]}: {', '.join(lacking)}")


def _trusting(binaries: PostgresBinaries) -> str:
    """The setting that lets senders decode with pglogical's library, where the server has one."""
    known = subprocess.run(
        [str(binaries.postgres), "--describe-config"], capture_output=True, text=True, check=False
    ).stdout
    if not any(line.startswith(f"{_TRUSTED}\t") for line in known.splitlines()):
        return ""
    return f"{_TRUSTED} = 'pgoutput, test_decoding, pglogical_output'\n"


def _connect(dsns: dict[str, str]) -> None:
    for region, dsn in dsns.items():
        with psycopg.connect(dsn, autocommit=True) as session:
            session.execute(TICKETS)
            session.execute(STREAM)
            session.execute("CREATE EXTENSION pglogical")
            session.execute("SELECT pglogical.create_node(%s, %s)", (region, dsn))
    with psycopg.connect(dsns[WRITER], autocommit=True) as writer:
        writer.execute("SELECT pglogical.replication_set_add_table('default', 'ticket')")
    with psycopg.connect(dsns[PEER], autocommit=True) as peer:
        peer.execute(
            sql.SQL(
                "SELECT pglogical.create_subscription('bench', {}, synchronize_structure := false,"
                " synchronize_data := false, forward_origins := '{{}}')"
            ).format(sql.Literal(dsns[WRITER]))
        )
        peer.execute(f"SET statement_timeout = '{PATIENCE}'".encode())  # its worker tries for ever
        peer.execute("SELECT pglogical.wait_for_subscription_sync_complete('bench')")
