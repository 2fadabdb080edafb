"""A real PgBouncer for tests, in transaction mode.

Found on the machine, or taken out of Debian's packages (no root, nothing is installed) into
`.pgbouncer/`, where it is kept. Raises NotToBeHad, with the reason, where neither can be done.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from infra.fleet.state import REPOSITORY
from infra.postgres.account import Account, server_account
from regions.deployment import APP_ROLE, Deployment
from testkit.debian import unpacked
from testkit.ports import free_ports
from tests.settings import TEST_GUARD

PACKAGES = ("pgbouncer", "libevent-2.1-7", "libc-ares2")


@dataclass(frozen=True)
class Program:
    """The executable, and the folder of its libraries if they came with it."""

    path: Path
    libraries: Path | None = None

    def environment(self) -> dict[str, str]:
        own = {"LD_LIBRARY_PATH": str(self.libraries)} if self.libraries else {}
        return {**os.environ, **own}


def find() -> Program:
    """The machine's own, or Debian's."""
    if there := shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        return Program(Path(there))
    root = unpacked(REPOSITORY / ".pgbouncer", *PACKAGES)
    folder = next((root / "usr" / "lib").glob("*-linux-gnu*"))
    return Program(root / "usr" / "sbin" / "pgbouncer", folder)


@contextmanager
def pooling(deployment: Deployment, region: str, folder: Path, *, size: int) -> Iterator[int]:
    """PgBouncer in front of the region's PostgreSQL, `size` sessions a database; its port."""
    account = server_account()
    program = _reachable(find(), account, folder)
    port = next(free_ports())
    server = deployment.region(region).postgres
    password = deployment.password(APP_ROLE)
    (folder / "users.txt").write_text(f'"{APP_ROLE}" "{password}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server.host} port={server.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {folder / 'users.txt'}\n"
        f"pool_mode = transaction\ndefault_pool_size = {size}\nmax_client_conn = 200\n"
        "ignore_startup_parameters = extra_float_digits,options\nserver_idle_timeout = 3600\n"
    )
    if account:
        for path in (folder, *folder.glob("*.*")):
            account.own(path)
    with (
        (folder / "pgbouncer.log").open("ab") as log,
        subprocess.Popen(
            [str(program.path), str(folder / "pgbouncer.ini")],
            env=program.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            **(account.as_process() if account else {}),
        ) as process,
    ):
        TEST_GUARD.ends(process.pid)
        try:
            _wait(f"postgresql://{APP_ROLE}:{password}@127.0.0.1:{port}/control", folder)
            yield port
        finally:
            process.terminate()
            process.wait(120)


def _reachable(program: Program, account: Account | None, folder: Path) -> Program:
    """PgBouncer refuses to run as root: the other account must be able to walk to it."""
    if account is None or account.may_enter(program.path.parent):
        return program
    path = Path(shutil.copy(program.path, folder))
    if program.libraries is None:
        return Program(path)
    return Program(path, Path(shutil.copytree(program.libraries, folder / "lib", symlinks=True)))


def _wait(dsn: str, folder: Path) -> None:
    deadline = time.monotonic() + 240
    while True:
        try:
            psycopg.connect(dsn, connect_timeout=2).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                log = (folder / "pgbouncer.log").read_text()
                raise AssertionError(f"PgBouncer does not answer: {error}\n{log[-3000:]}") from None
            time.sleep(0.05)
        else:
            return
