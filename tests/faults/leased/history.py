"""What clients of a leased cell did and what they were told, and what that must mean. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from tests.faults.history import Outcome
from tests.faults.leased.linear import Call, violation


@dataclass(frozen=True, slots=True)
class Event:
    """One request. `value` is what it wrote, or what it read. Times in seconds, on one clock."""

    client: str
    key: str
    writes: bool
    value: str
    outcome: Outcome
    called: float
    returned: float
    region: str = ""

    @property
    def call(self) -> Call:
        heard = self.outcome is Outcome.OK
        return Call(self.writes, self.value, self.called, self.returned if heard else math.inf)


def not_linearizable(history: Iterable[Event]) -> list[str]:
    """By key; every key begins as the empty text. Only what was confirmed `remote` claims it."""
    by_key: defaultdict[str, list[Call]] = defaultdict(list)
    for event in history:
        if event.outcome is Outcome.OK or (event.outcome is Outcome.MAYBE and event.writes):
            by_key[event.key].append(event.call)
    found = {key: violation(calls, "") for key, calls in by_key.items()}
    return [f"{key}: {sentence}" for key, sentence in found.items() if sentence]


def failed_and_there(history: Iterable[Event]) -> list[str]:
    """Writes that were refused, and that somebody has read."""
    history = list(history)
    read = {(event.key, event.value) for event in history if not event.writes}
    return [
        f"{event.key}: {event.value} was refused by {event.region or 'the edge'}, and is there"
        for event in history
        if event.outcome is Outcome.FAIL and event.writes and (event.key, event.value) in read
    ]


def lost_local(
    history: Iterable[Event], final: Mapping[str, str], recorded: AbstractSet[str]
) -> tuple[int, list[str]]:
    """Of keys that one client each has written with `local` durability: how many acknowledged
    writes gave way to an earlier value, and which of them no record knows."""
    by_key: defaultdict[str, list[Event]] = defaultdict(list)
    for event in history:
        if event.outcome is not Outcome.FAIL:
            by_key[event.key].append(event)
    discarded, silent = 0, []
    for key, events in by_key.items():
        values = [event.value for event in events]
        acknowledged = [n for n, event in enumerate(events) if event.outcome is Outcome.OK]
        at = values.index(final[key]) if final[key] in values else -1
        if acknowledged and at < acknowledged[-1]:
            discarded += 1
            lost = events[acknowledged[-1]]
            if lost.value not in recorded:
                silent.append(f"{key}: {lost.value}, acknowledged by {lost.region}, is gone")
    return discarded, silent


def differing(replicas: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Keys that are not the same everywhere; `replicas` are values by key, by region."""
    return [
        f"{key} differs: "
        + "; ".join(f"{region} {rows.get(key)!r}" for region, rows in replicas.items())
        for key in sorted(set().union(*replicas.values()))
        if len({rows.get(key) for rows in replicas.values()}) > 1
    ]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one round. Counts are of requests; `discarded` are acknowledged `local` writes that are in
    the ledger. It passes without a fault."""

    seed: int
    acknowledged: int
    maybe: int
    refused: int
    moves: int
    discarded: int
    faults: Sequence[str]

    def __str__(self) -> str:
        told = (
            f"seed {self.seed}: {self.acknowledged} acknowledged, {self.maybe} maybe, "
            f"{self.refused} refused, {self.moves} moves of a writer, {self.discarded} in a ledger"
        )
        return "\n  ".join([told, *(f"FAULT {fault}" for fault in self.faults)])
