"""Real etcd clusters for tests, on free ports: the machine's program, or Debian's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from infra.fleet.state import REPOSITORY
from testkit.debian import unpacked
from testkit.guard import Guard
from testkit.ports import free_ports

PACKAGES = ("etcd-server", "etcd-client")


def programs() -> dict[str, Path]:
    """`etcd` and `etcdctl`. Raises NotToBeHad."""
    found = {name: shutil.which(name) for name in ("etcd", "etcdctl")}
    if all(found.values()):
        return {name: Path(path) for name, path in found.items() if path}
    root = unpacked(REPOSITORY / ".etcd", *PACKAGES)
    return {name: root / "usr" / "bin" / name for name in found}


@dataclass(frozen=True)
class Tls:
    """An authority, and one certificate that members and clients show."""

    ca: Path
    certificate: Path
    key: Path

    @property
    def of_members(self) -> dict[str, str | None]:
        return {
            "cert-file": str(self.certificate),
            "key-file": str(self.key),
            "trusted-ca-file": str(self.ca),
            "client-cert-auth": None,
        }

    @property
    def of_clients(self) -> dict[str, str]:
        return {
            "ETCDCTL_CACERT": str(self.ca),
            "ETCDCTL_CERT": str(self.certificate),
            "ETCDCTL_KEY": str(self.key),
        }


@dataclass
class Cluster:
    """`members`: name → the ports of its clients and its peers. `generation` names the data. What
    runs already is not started again, and what is down not killed."""

    folder: Path
    guard: Guard
    members: dict[str, tuple[int, int]]
    tls: Tls | None = None
    user: str = ""  # and its password, once users are asked for
    generation: int = 1
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def urls(self) -> list[str]:
        return [self._url(client) for client, _ in self.members.values()]

    def start(self, *names: str) -> None:
        for name in names or self.members:
            if name in self.processes:
                continue
            client_port, peer_port = self.members[name]
            client, peer = self._url(client_port), f"http://127.0.0.1:{peer_port}"
            words = {
                **self._own(name),
                **(self.tls.of_members if self.tls else {}),
                "listen-client-urls": client,
                "advertise-client-urls": client,
                "listen-peer-urls": peer,
                "heartbeat-interval": "50",
                "election-timeout": "500",
                "unsafe-no-fsync": None,
            }
            command = [f"--{key}" if v is None else f"--{key}={v}" for key, v in words.items()]
            with (self.folder / f"{name}.log").open("ab") as log:
                process = subprocess.Popen(
                    [str(programs()["etcd"]), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            self.guard.ends(process.pid)
            self.processes[name] = process

    def kill(self, *names: str) -> None:
        for name in names or list(self.processes):
            process = self.processes.pop(name, None)
            if process is None:
                continue
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(120)

    def freeze(self, *names: str) -> None:
        self._signal(signal.SIGSTOP, names)

    def thaw(self, *names: str) -> None:
        self._signal(signal.SIGCONT, names or tuple(self.members))

    def mend(self) -> None:
        """As it was at the beginning."""
        self.thaw()
        self.start()
        self.await_leader()

    def _signal(self, number: signal.Signals, names: tuple[str, ...]) -> None:
        for process in filter(None, map(self.processes.get, names)):
            process.send_signal(number)

    def await_leader(self) -> None:
        deadline = time.monotonic() + 240
        while True:
            try:
                self.control("get", "none")
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def snapshot(self) -> None:
        into = str(self.folder / "snapshot")
        self.control("snapshot", "save", into)

    def restore(self) -> None:
        """All members begin anew with what was in the snapshot."""
        self.kill()
        self.generation += 1
        for name in self.members:
            words = [f"--{key}={value}" for key, value in self._own(name).items()]
            self.control("snapshot", "restore", str(self.folder / "snapshot"), *words)
        (self.folder / "snapshot").unlink()
        self.start()
        self.await_leader()

    def _own(self, name: str) -> dict[str, str | None]:
        peers = {who: f"http://127.0.0.1:{peer}" for who, (_, peer) in self.members.items()}
        return {
            "name": name,
            "data-dir": str(self.folder / f"{name}.{self.generation}"),
            "initial-advertise-peer-urls": peers[name],
            "initial-cluster": ",".join(f"{who}={url}" for who, url in peers.items()),
            "initial-cluster-token": f"test-{self.generation}",
        }

    def _url(self, port: int) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{port}"

    def control(self, *words: str) -> None:
        """`etcdctl WORDS…`, at the first member."""
        subprocess.run(
            [str(programs()["etcdctl"]), *words],
            env={
                **os.environ,
                "ETCDCTL_API": "3",
                "ETCDCTL_ENDPOINTS": self.urls[0],
                **(self.tls.of_clients if self.tls else {}),
                **({"ETCDCTL_USER": self.user} if self.user else {}),
            },
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )


@contextmanager
def running(
    folder: Path, guard: Guard, members: int = 3, tls: Tls | None = None
) -> Iterator[Cluster]:
    free = free_ports()
    ports = {f"m{n}": (next(free), next(free)) for n in range(members)}
    folder.mkdir(exist_ok=True)
    cluster = Cluster(folder, guard, ports, tls)
    cluster.start()
    try:
        cluster.await_leader()
        yield cluster
    finally:
        cluster.kill()
