"""One run: clients in every region, faults by the schedule, then quiet, then the verdict."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tests.faults.checker import Observed, Verdict, check
from tests.faults.clients import Client, Door, operations
from tests.faults.history import Discarded, Outcome, Replica
from tests.faults.nemesis import Broken, Nemesis
from tests.faults.schedule import Fault
from tests.faults.watch import Watch
from tests.faults.workloads.base import Workload

CLIENTS_EACH = 2  # of a region
# A machine that is busy with something else gets more time, until there is something to judge.
LEAST = 0.2  # of what was to be attempted
MORE_SECONDS = 60.0


class Ground(Broken, Protocol):
    """What a run is made on: the fabric, or something else that claims to do its work."""

    door: Door

    def quiesce(self) -> list[str]: ...

    def readings(self) -> tuple[list[Replica], list[Discarded]]: ...


@dataclass(frozen=True, slots=True)
class Result:
    """`heal_seconds` from the end of the last fault until everybody had caught up; `notes` are the
    nemesis' own."""

    verdict: Verdict
    heal_seconds: float
    notes: list[str]


def run(
    ground: Ground,
    workloads: Sequence[Workload],
    schedule: Sequence[Fault],
    *,
    seed: int,
    seconds: float,
    rate: float,
) -> Result:
    """`rate` operations a second of each client."""
    began = time.monotonic()
    regions = ground.world.regions
    owners = {n + 1: region for n, region in enumerate(list(regions) * CLIENTS_EACH)}
    named = {workload.name: workload for workload in workloads}
    clients = [
        Client(
            ground.door,
            operations(seed, number, region, workloads),
            named,
            rate=rate,
            began=began,
        )
        for number, region in owners.items()
    ]
    watches = [Watch(region, ground.dsn(region), owners, began) for region in regions]
    nemesis = Nemesis(ground, schedule, began)
    threads: list[Any] = [*watches, *clients, nemesis]
    for thread in threads:
        thread.start()
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    least = LEAST * rate * seconds * len(clients)
    while _acknowledged(clients) < least and time.monotonic() < began + seconds + MORE_SECONDS:
        time.sleep(0.1)
    nemesis.join()
    nemesis.mend_all()
    for client in clients:
        client.stop()
    for client in clients:
        client.join()
    mended = time.monotonic()
    stalls = ground.quiesce()
    heal_seconds = time.monotonic() - mended
    time.sleep(0.3)  # a last look of each watch
    for watch in watches:
        watch.stop()
    history = [event for client in clients for event in client.events]
    observed = Observed(
        torn=sorted(_each(watch.torn for watch in watches)),
        early=sum(watch.early for watch in watches),
        stalls=stalls,
        undone=nemesis.undone,
        delays=list(_each(watch.delays(history) for watch in watches)),
    )
    verdict = check(history, *ground.readings(), named, observed)
    return Result(verdict, heal_seconds, nemesis.failures)


def _acknowledged(clients: Iterable[Client]) -> int:
    events = _each(list(client.events) for client in clients)
    return sum(event.outcome is Outcome.OK for event in events)


def _each(lists: Iterable[Iterable[Any]]) -> Iterable[Any]:
    return (item for items in lists for item in items)
