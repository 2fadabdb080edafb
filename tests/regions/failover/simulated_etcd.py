"""A made-up etcd that keeps what the real one promises: transactions one after the other."""

from __future__ import annotations

import operator
from base64 import b64decode
from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from regions.failover.etcd import Entry, Outcome, Term

COMPARE = {"LESS": operator.lt, "EQUAL": operator.eq}
NEVER = Entry("", "", 0)


@dataclass
class Store:
    """What all members agree on."""

    entries: dict[str, Entry] = field(default_factory=dict)
    revision: int = 1
    cluster: str = "1"

    def transact(
        self, conditions: Sequence[Term], then: Sequence[Term], otherwise: Sequence[Term]
    ) -> Outcome:
        held = all(self._holds(condition) for condition in conditions)
        wanted = then if held else otherwise
        puts = [one["request_put"] for one in wanted if "request_put" in one]
        self.revision += bool(puts)
        for put in puts:
            key, value = _text(put, "key"), _text(put, "value")
            self.entries[key] = Entry(key, value, self.revision)
        reads = [one["request_range"] for one in wanted if "request_range" in one]
        return Outcome(held, [self._below(read) for read in reads], self.revision, self.cluster)

    def snapshot(self) -> Store:
        return deepcopy(self)

    def restore(self, snapshot: Store) -> None:
        self.entries, self.revision = dict(snapshot.entries), snapshot.revision
        self.cluster += "'"

    def _holds(self, condition: Term) -> bool:
        below = self._below(condition)
        if condition["target"] == "VALUE":
            return bool(below) and below[0].value == _text(condition, "value")
        compare, bound = COMPARE[condition["result"]], int(condition["mod_revision"])
        return all(compare(entry.revision, bound) for entry in below or [NEVER])

    def _below(self, term: Term) -> list[Entry]:
        first, end = _text(term, "key"), _text(term, "range_end") if "range_end" in term else None
        return [
            entry
            for key, entry in sorted(self.entries.items())
            if key == first or (end is not None and first <= key < end)
        ]


@dataclass
class Way:
    """One proposer's to the store; `travel` is awaited before and after."""

    store: Store
    travel: Callable[[], Awaitable[None]]

    async def transact(
        self, conditions: Sequence[Term], then: Sequence[Term], otherwise: Sequence[Term] = ()
    ) -> Outcome:
        await self.travel()
        outcome = self.store.transact(conditions, then, otherwise)
        await self.travel()
        return outcome


def _text(term: Term, part: str) -> str:
    return b64decode(term[part]).decode()
