"""One round: clients of leased cells, faults by a schedule, everything mended, the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import pairwise

import httpx

from regions.drills.report import Gate, both_open
from regions.drills.watch import Watch
from tests.faults.history import Outcome
from tests.faults.leased.clients import Client, attempt, connect, events_of
from tests.faults.leased.ground import Ground, NotYet, insist
from tests.faults.leased.history import (
    Event,
    Verdict,
    differing,
    failed_and_there,
    lost_local,
    not_linearizable,
)
from tests.faults.leased.nemesis import Nemesis
from tests.faults.leased.schedule import Fault

REGISTERS = ("r1", "r2")
# A machine that is busy with something else gets more time, until there is something to judge.
LEAST, MORE_SECONDS = 30, 60.0
Tell = Callable[[str], None]


class Writes:
    """The clients of one cell in one round, on tickets of their own."""

    def __init__(self, ground: Ground, cell: str, seed: int) -> None:
        tenant = ground.tenants[cell]
        self.cell = cell
        self.ground = ground
        doors = ["edge", *tenant.doors]  # two at the edge
        alone = {door: f"l-{door}" for door in ("edge", tenant.regions[0])}
        self.tickets = ground.open_tickets(cell, [*REGISTERS, *alone.values()])
        self.remote = [
            Client(
                tenant, door, f"{cell}.{n}", self._of(*REGISTERS), durability="remote", seed=seed
            )
            for n, door in enumerate(doors)
        ]
        self.local = [
            Client(tenant, door, f"{cell}.{key}", self._of(key), durability="local", seed=seed)
            for door, key in alone.items()
        ]

    def _of(self, *titles: str) -> dict[str, int]:
        return {title: self.tickets[title] for title in titles}

    def last_reads(self) -> list[Event]:
        """Once everything is mended: what an acknowledged write has left behind is read."""
        with connect(self.ground.tenants[self.cell], "edge") as session:
            return [insist_read(session, key, self.tickets[key]) for key in REGISTERS]

    def judge(self, gates: Sequence[Gate]) -> tuple[list[str], int]:
        """Faults, and how many acknowledged `local` writes are in a ledger."""
        remote = events_of(self.remote) + self.last_reads()
        self.ground.quiesce(self.cell)
        values = self.ground.values(self.cell, self.tickets)
        final = next(iter(values.values()))
        discarded, silent = lost_local(
            events_of(self.local), final, self.ground.recorded(self.cell)
        )
        two = both_open(gates)
        found = [
            *not_linearizable(remote),
            *failed_and_there(remote),
            *silent,
            *differing(values),
            *([f"two writers: {two[1]} at {two[0]:.3f}"] if two else []),
        ]
        return [f"{self.cell}: {fault}" for fault in found], discarded


def insist_read(session: httpx.Client, key: str, ticket: int) -> Event:
    def read() -> Event:
        event = attempt(session, "last", key, ticket, "", False, durability="remote")
        if event.outcome is not Outcome.OK:
            raise NotYet
        return event

    event: Event = insist(read)
    return event


def play(
    ground: Ground,
    schedule: Sequence[Fault],
    *,
    seed: int,
    seconds: float,
    tell: Tell,
    cells: Sequence[str] = (),
) -> Verdict:
    """One round on these cells (none: all), each with clients at the edge and at its regions'
    doors."""
    writes = [Writes(ground, cell, seed) for cell in cells or ground.tenants]
    clients = [client for each in writes for client in (*each.remote, *each.local)]
    specs = [ground.spec(each.cell) for each in writes]
    with ExitStack() as stack:
        watch = stack.enter_context(Watch(ground.deployment, specs, tell))
        began = time.monotonic()
        nemesis = Nemesis(ground.plan, schedule, began, ground.etcd)
        for thread in (*clients, nemesis):
            thread.start()
        time.sleep(seconds)
        latest = time.monotonic() + MORE_SECONDS
        while _acknowledged(clients) < LEAST and time.monotonic() < latest:
            time.sleep(0.1)
        nemesis.join()
        nemesis.mend_all()
        for client in clients:
            client.stop()
        for client in clients:
            client.join()
    for failure in nemesis.failures:
        tell(f"not done: {failure}")
    events = events_of(clients)
    judged = [each.judge(watch.gates[each.cell]) for each in writes]
    return Verdict(
        seed,
        acknowledged=_acknowledged(clients),
        maybe=sum(event.outcome is Outcome.MAYBE for event in events),
        refused=sum(event.outcome is Outcome.FAIL for event in events),
        moves=sum(_moves(watch.gates[each.cell]) for each in writes),
        discarded=sum(count for _, count in judged),
        faults=[fault for faults, _ in judged for fault in faults],
    )


def _acknowledged(clients: Sequence[Client]) -> int:
    return sum(event.outcome is Outcome.OK for event in events_of(clients))


def _moves(gates: Sequence[Gate]) -> int:
    writers = [gate.region for gate in sorted(gates, key=lambda g: g.at) if gate.until > gate.at]
    return sum(one != other for one, other in pairwise(writers))
