"""The life of one PostgreSQL cluster: made once, configured at each start, ready when it answers.

Making is all or nothing: a cluster that was interrupted half-way is made again from scratch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from infra.errors import ServerFailed
from infra.postgres.account import Account
from infra.postgres.binaries import PostgresBinaries
from infra.postgres.settings import HBA, postgresql_conf

ADMIN = "postgres"


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster: its folder, its port, and what runs it as whom."""

    data: Path
    port: int
    binaries: PostgresBinaries
    account: Account | None

    @property
    def command(self) -> tuple[str, ...]:
        """Runs the server in the foreground, logging to standard error."""
        return (str(self.binaries.postgres), "-D", str(self.data))


def prepare(cluster: Cluster, admin_password: str) -> None:
    """Make the cluster unless it exists, and write its settings. Safe to repeat."""
    parent = cluster.data.parent
    parent.mkdir(parents=True, exist_ok=True)
    if cluster.account is not None:
        for folder in (parent.parent, parent):
            folder.chmod(folder.stat().st_mode | 0o111)
    if not (cluster.data / "PG_VERSION").exists():
        _initdb(cluster, admin_password)
    _check_version(cluster)
    conf = postgresql_conf(port=cluster.port, version=cluster.binaries.version)
    _write(cluster.data / "postgresql.conf", conf, cluster.account)
    _write(cluster.data / "pg_hba.conf", HBA, cluster.account)


def wait_until_ready(dsn: str, *, timeout: float = 60.0) -> None:
    """Return once the cluster answers a query; raise ServerFailed if it never does."""
    deadline = time.monotonic() + timeout
    while (reason := why_not_ready(dsn)) is not None:
        if time.monotonic() > deadline:
            raise ServerFailed(f"PostgreSQL did not answer within {timeout:.0f} s: {reason}")
        time.sleep(0.1)


def why_not_ready(dsn: str) -> str | None:
    """None if the cluster answers a query now, or the first line of why it doesn't."""
    try:
        with psycopg.connect(dsn, connect_timeout=2, autocommit=True) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as error:
        return next(iter(str(error).splitlines()), type(error).__name__)
    return None


def _initdb(cluster: Cluster, admin_password: str) -> None:
    fresh = cluster.data.with_name(f"{cluster.data.name}.new")
    password_file = cluster.data.with_name("initdb.password")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    _write(password_file, admin_password, cluster.account)
    if cluster.account is not None:
        cluster.account.own(fresh)
    command = [
        str(cluster.binaries.initdb),
        f"--pgdata={fresh}",
        f"--username={ADMIN}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    ]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
            **(cluster.account.as_process() if cluster.account else {}),
        )
    finally:
        password_file.unlink()
    if done.returncode:
        shutil.rmtree(fresh, ignore_errors=True)
        raise ServerFailed(f"initdb failed in {cluster.data.parent}: {_reason(done.stderr)}")
    fresh.rename(cluster.data)


def _check_version(cluster: Cluster) -> None:
    made_by = int((cluster.data / "PG_VERSION").read_text())
    if made_by != cluster.binaries.version:
        raise ServerFailed(
            f"{cluster.data} was made by PostgreSQL {made_by}, this is "
            f"{cluster.binaries.version}: use the same one, or `down --purge` first."
        )


def _write(path: Path, text: str, account: Account | None) -> None:
    """Write a file that only the server's account reads, never half."""
    beside = path.with_name(f"{path.name}.tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    if account is not None:
        account.own(beside)
    beside.rename(path)


def _reason(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() or "fatal" in line.lower()]
    return (errors or lines or ["no message"])[0]
