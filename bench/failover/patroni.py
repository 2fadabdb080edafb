"""Failover beside ours: how long nobody's write is acknowledged when Patroni's primary is killed.

Measured as `failover.rto_s.kill` is: four clients write without a pause and follow the leader, the
primary's machine is lost (Patroni and PostgreSQL at once), and what counts is the longest time
between two acknowledgements.
"""

from __future__ import annotations

import threading
import time
import uuid

import psycopg

from bench.failover.writers import LANES, WARM_SECONDS, longest_gap
from bench.frame import Bench
from bench.peers.patroni import Patroni, running
from testkit.debian import NotToBeHad

RUNS = 5
PAUSE_SECONDS = 0.02
SETTINGS = {
    "recommended": {"ttl": 30, "loop_wait": 10, "retry_timeout": 10},
    "smallest": {"ttl": 20, "loop_wait": 1, "retry_timeout": 3},
}
KEYS = tuple(f"failover.vs_patroni.{name}" for name in SETTINGS)


def run(bench: Bench) -> None:
    for key, (name, seconds) in zip(KEYS, SETTINGS.items(), strict=True):
        if not bench.wants(key):
            continue
        bench.say(f"Patroni with its {name} settings")
        try:
            with running(bench, seconds) as patroni:
                gaps = [_lose_primary(patroni) for _ in range(bench.runs(RUNS))]
        except NotToBeHad as error:
            bench.say(f"{key} is not measured: {error}")
            continue
        words = ", ".join(f"{word} {number}" for word, number in seconds.items())
        bench.record(
            key,
            gaps,
            unit="s",
            target=None,
            better="lower",
            against=f"Patroni 4 and etcd, {name} settings ({words}): its primary's machine is"
            " killed, as the writer's region in failover.rto_s.kill",
        )


def _lose_primary(patroni: Patroni) -> float:
    """The longest time without an acknowledgement; both nodes are there before and after."""
    leader = patroni.leader()
    other = next(node for node in patroni.nodes if node != leader)
    with _Clients(patroni.dsn) as clients:
        time.sleep(WARM_SECONDS)
        broken = time.monotonic()
        patroni.kill(leader)
        clients.await_ack_after(broken + WARM_SECONDS)
        time.sleep(WARM_SECONDS)
    if not other.answers("primary"):
        raise RuntimeError(f"{other.name} did not take over")
    patroni.start(leader)
    patroni.await_whole()
    return longest_gap(clients.acknowledged, broken)


class _Clients:
    """Write until the block ends, each over a connection of its own, which is replaced when it
    breaks."""

    def __init__(self, dsn: str) -> None:
        self.acknowledged: list[float] = []
        self._dsn = dsn
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write_forever) for _ in range(LANES)]
        with psycopg.connect(dsn) as session:
            session.execute("CREATE TABLE IF NOT EXISTS probe (id uuid PRIMARY KEY)")

    def __enter__(self) -> _Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def await_ack_after(self, moment: float) -> None:
        deadline = time.monotonic() + 180
        while not any(at > moment for at in self.acknowledged[-LANES:]):
            if time.monotonic() > deadline:
                raise TimeoutError("nobody's write is acknowledged any more")
            time.sleep(0.05)

    def _write_forever(self) -> None:
        while not self._stop.is_set():
            try:
                with psycopg.connect(self._dsn, autocommit=True) as session:
                    while not self._stop.is_set():
                        session.execute("INSERT INTO probe VALUES (%s)", (uuid.uuid4(),))
                        self.acknowledged.append(time.monotonic())
                        time.sleep(PAUSE_SECONDS)
            except psycopg.Error:
                time.sleep(PAUSE_SECONDS)
