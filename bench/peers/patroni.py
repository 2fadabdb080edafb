"""Patroni from the package index over the fleet's PostgreSQL, with Debian's etcd: two nodes.

A node is Patroni and the PostgreSQL that it starts; both are killed together, as a machine is
lost. etcd has one member, which stays: it stands for a majority elsewhere.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import httpx

from bench.failover.fleet import wait_until
from bench.frame import Bench
from bench.peers.environment import FOLDER, made
from infra.fleet.plan import HOST
from infra.fleet.ports import is_free
from infra.fleet.state import REPOSITORY
from infra.postgres.account import Account
from infra.postgres.placement import Placement, place, remove_haven
from testkit.debian import unpacked
from testkit.guard import Guard

PASSWORD = "bench"
PATIENCE_SECONDS = 180.0
Seconds = Mapping[str, int]


@dataclass(frozen=True)
class Node:
    name: str
    postgres_port: int
    rest_port: int

    def answers(self, check: str) -> bool:
        """Whether it says that it is `primary`; or in `readiness`, leads or follows so closely that
        it can be promoted: a replica that runs may still be about to find its new leader."""
        try:
            found = httpx.get(f"http://{HOST}:{self.rest_port}/{check}", timeout=2, trust_env=False)
        except httpx.HTTPError:
            return False
        return found.status_code == httpx.codes.OK


@dataclass
class Patroni:
    """A cluster that runs."""

    python: Path
    state: Path
    placement: Placement
    etcd_port: int
    seconds: Seconds
    nodes: tuple[Node, Node]
    guard: Guard
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def dsn(self) -> str:
        """Of a client that follows the leader, as libpq does it."""
        hosts = ",".join(HOST for _ in self.nodes)
        ports = ",".join(str(node.postgres_port) for node in self.nodes)
        return (
            f"host={hosts} port={ports} user=postgres password={PASSWORD} dbname=postgres"
            " target_session_attrs=read-write connect_timeout=2"
        )

    def leader(self) -> Node:
        return next(node for node in self.nodes if node.answers("primary"))

    def start(self, node: Node) -> None:
        config = self.state / f"{node.name}.json"  # which is YAML, too
        config.write_text(json.dumps(self._config(node)))
        with (self.state / f"{node.name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(self.python.with_name("patroni")), str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": os.environ["PATH"], "HOME": str(self.state)},
                **(self.placement.account.as_process() if self.placement.account else {}),
            )
        self.guard.ends(process.pid)
        self.processes[node.name] = process

    def kill(self, node: Node) -> None:
        """Patroni and its PostgreSQL, whose processes end with the first of them."""
        process = self.processes.pop(node.name)
        process.kill()
        process.wait()
        first = int((self._data(node) / "postmaster.pid").read_text().split()[0])
        os.kill(first, signal.SIGKILL)

    def await_whole(self) -> None:
        """One leads, and the other could take over."""
        wait_until(
            lambda: any(node.answers("primary") for node in self.nodes),
            "there is a leader",
            seconds=PATIENCE_SECONDS,
        )
        wait_until(
            lambda: all(node.answers("readiness") for node in self.nodes),
            "the other follows",
            seconds=PATIENCE_SECONDS,
        )

    def _data(self, node: Node) -> Path:
        return self.state / "data" / node.name

    def _config(self, node: Node) -> dict[str, object]:
        def user(name: str) -> dict[str, str]:
            return {"username": name, "password": PASSWORD}

        return {
            "scope": "bench",
            "name": node.name,
            "restapi": {"listen": f"{HOST}:{node.rest_port}"},
            "etcd3": {"hosts": [f"{HOST}:{self.etcd_port}"]},
            "bootstrap": {
                "dcs": {**self.seconds, "postgresql": {"use_pg_rewind": True}},
                "initdb": [{"encoding": "UTF8"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"{HOST}:{node.postgres_port}",
                "connect_address": f"{HOST}:{node.postgres_port}",
                "data_dir": str(self._data(node)),
                "bin_dir": str(self.placement.binaries.folder),
                "pgpass": str(self.state / "data" / f"{node.name}.pgpass"),
                "authentication": {
                    "superuser": user("postgres"),
                    "replication": user("replicator"),
                },
                "pg_hba": [
                    f"host all all {HOST}/32 scram-sha-256",
                    f"host replication replicator {HOST}/32 scram-sha-256",
                ],
                "parameters": {"unix_socket_directories": "", "shared_buffers": "48MB"},
            },
        }


@contextmanager
def running(bench: Bench, seconds: Seconds) -> Iterator[Patroni]:
    """Within the block both nodes are there; nothing of them is left after. `seconds`: Patroni's
    ttl, loop_wait and retry_timeout. Raises NotToBeHad where there is no etcd."""
    etcd = unpacked(REPOSITORY / ".bench" / "etcd", "etcd-server") / "usr" / "bin" / "etcd"
    wanted = (FOLDER / "requirements-patroni.txt").read_text().splitlines()
    python = made(bench, "patroni", [line for line in wanted if not line.startswith("#")])
    state = Path(tempfile.mkdtemp(prefix="meridian-bench-"))
    with ExitStack() as stack:
        guard = Guard()
        stack.callback(shutil.rmtree, state, ignore_errors=True)
        stack.callback(remove_haven, state)
        stack.callback(guard.close)
        guard.removes(state)
        state.chmod(0o711)
        placement = place(state, {})
        (state / "data").mkdir()
        _give(placement.account, state / "data")
        ports = islice((port for port in range(38_000, 39_000) if is_free(port)), 6)
        client, peer, *others = ports
        guard.ends(_start_etcd(etcd, state, client, peer))
        nodes = (Node("a", *others[:2]), Node("b", *others[2:]))
        patroni = Patroni(python, state, placement, client, seconds, nodes, guard)
        for node in nodes:
            patroni.start(node)
        patroni.await_whole()
        yield patroni


def _start_etcd(program: Path, state: Path, client: int, peer: int) -> int:
    words = {
        "data-dir": str(state / "etcd"),
        "listen-client-urls": f"http://{HOST}:{client}",
        "advertise-client-urls": f"http://{HOST}:{client}",
        "listen-peer-urls": f"http://{HOST}:{peer}",
    }
    command = [str(program), *(f"--{key}={value}" for key, value in words.items())]
    with (state / "etcd.log").open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log).pid


def _give(account: Account | None, folder: Path) -> None:
    if account is not None:
        account.own(folder)
