"""An etcd cluster as the one acceptor of leases: its members agree among themselves.

What is kept below `state/`, by name: each cell's promise and who accepted what, and which leases
a region keeps (`keeps/`). It changes seldom. Renewing a thousand leases writes one number,
`beat/<region>`, on the condition that nothing below `state/` has changed.

etcd has no clock that anybody could ask, so whoever looks counts: a lease lives for its time to
live after this process has *seen* its last renewal. The holder counts from before it asked for
that. So a holder's time ends first, whatever the clocks show, if only they go equally fast.

A store that was restored from an older snapshot has forgotten promises and leases. It is noticed by
its cluster's number, its revision, or an epoch or promise that has become less. Then nobody gets a
lease until every lease that it may have forgotten has ended. A new epoch is at least the time of
day in milliseconds, so it is higher than those forgotten, which nobody here may have seen.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from secrets import token_hex

from regions.failover.acceptors import Accepted
from regions.failover.etcd import (
    Entry,
    Etcd,
    Term,
    all_below,
    has_value,
    is_absent,
    put,
    unchanged_since,
)
from regions.failover.etcd_document import Document
from regions.failover.lease import later_than
from regions.failover.link import Unreachable

log = logging.getLogger("meridian.agent")

BATCH = 100  # of the 128 operations that a transaction may have
TRIES = 5  # so often what others have just changed is looked at again
STATE, CELLS, KEEPS, ASIDE, BEATS = "state/", "state/cell/", "state/keeps/", "state/aside/", "beat/"


class EtcdAcceptor:
    """The way of `region`'s proposer. `epochs`: the highest that it knows, by cell."""

    def __init__(
        self,
        etcd: Etcd,
        region: str,
        ttl: float,
        *,
        epochs: Mapping[str, int] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        prefix: str = "meridian/",
    ) -> None:
        self._etcd = etcd
        self._region = region
        self._ttl = ttl
        self._epochs = dict(epochs or {})
        self._mine: dict[str, int] = {}  # epochs that were accepted by way of this process
        self._clock, self._wall = clock, wall
        self._prefix = prefix
        self._entries: dict[str, Entry] = {}
        self._documents: dict[str, Document] = {}
        self._kept: dict[str, dict[str, int]] = {}
        self._words: list[tuple[str, float, bool]] = []
        self._seen: dict[str, float] = {}  # when a cell was last seen to change, or be renewed
        self._beats: dict[str, tuple[str, float]] = {}
        self._newest: Entry | None = None
        self._revision, self._taken_in, self._cluster = 0, 0, ""
        self._unsure_until: float | None = None
        self._forgetful_until = float("-inf")
        self._said: list[Accepted] = []

    # -- what a proposer asks -------------------------------------------------------------------

    async def state(self) -> Sequence[Accepted]:
        await self._look()
        said = [self._accepted(cell) for cell in self._documents]
        if said != self._said:
            self._said = said
        return self._said

    async def prepare(self, ballots: Mapping[str, int]) -> dict[str, tuple[bool, Accepted]]:
        for _ in range(TRIES):
            promises = {
                cell: self._of(cell).changed(promised=ballot)
                for cell, ballot in ballots.items()
                if self._of(cell).promised < ballot
            }
            # It reads, too: a renewal before the promise is seen, and none comes after it.
            if await self._write(promises):
                break
        return {cell: self._promise(cell, ballot) for cell, ballot in ballots.items()}

    async def accept(
        self, proposals: Mapping[str, tuple[int, int]], holder: str, ttl: float
    ) -> set[str]:
        for _ in range(TRIES):
            promised = {
                cell: (ballot, epoch)
                for cell, (ballot, epoch) in proposals.items()
                if self._of(cell).promised == ballot
            }
            kept, fresh = {}, {}
            for cell, (ballot, epoch) in promised.items():
                wanted = Document(ballot, ballot, holder, epoch, given=True)
                if self._of(cell).same_lease(wanted):
                    kept[cell] = epoch
                else:
                    fresh[cell] = wanted
            if kept and not await self._beat(kept):
                continue
            if not fresh or await self._write(fresh):
                self._mine |= {cell: epoch for cell, (_, epoch) in promised.items()}
                return set(promised)
        raise Unreachable("etcd: others have changed the leases again and again")

    async def release(
        self, cell: str, holder: str, epoch: int, successor: str | None, reserved: float
    ) -> None:
        await self._look()
        for _ in range(TRIES):
            known = self._of(cell)
            if (known.holder, known.epoch) != (holder, epoch):
                return
            wanted = known.changed(given=False, successor=successor, reserved=reserved)
            if await self._write({cell: wanted}):
                return

    async def stand_aside(self, region: str, now: float, aside: bool) -> None:
        """Keep a word that is newer than the last one about this region. Raises Unreachable."""
        await self._look()
        for _ in range(TRIES):
            at = later_than(self._words, region, now)
            if await self._put({f"{ASIDE}{region}": json.dumps([at, aside, token_hex(8)])}):
                return
        raise Unreachable("etcd: others have changed it again and again")

    async def hear(self) -> Sequence[tuple[str, float, bool]]:
        """The words about regions that stand aside, or not any more. Raises Unreachable."""
        await self._look()
        return self._words

    # -- the store ------------------------------------------------------------------------------

    async def _look(self) -> None:
        await self._transact(self._nothing_new(), self._everything()[1:], self._everything())

    async def _beat(self, kept: dict[str, int]) -> bool:
        """Renew these leases, and no others, if nothing has changed."""
        writes = [put(f"{self._prefix}{BEATS}{self._region}", token_hex(8))]
        if kept != self._kept.get(self._region):
            mark = {"cells": kept, "mark": token_hex(8)}
            writes.append(put(f"{self._prefix}{KEEPS}{self._region}", json.dumps(mark)))
            writes += self._everything()
        return await self._transact(self._nothing_new(), writes, self._everything())

    async def _write(self, documents: Mapping[str, Document]) -> bool:
        return await self._put({f"{CELLS}{cell}": one.text for cell, one in documents.items()})

    async def _put(self, values: Mapping[str, str]) -> bool:
        """Write what nobody else has changed since it was looked at, and look; False if somebody
        has."""
        items = [(f"{self._prefix}{key}", value) for key, value in values.items()]
        parts = [items[start : start + BATCH] for start in range(0, len(items), BATCH)] or [[]]
        for part in parts:
            as_seen = [self._as_seen(key) for key, _ in part]
            look = self._everything() if part is parts[-1] else []
            writes = [*(put(*item) for item in part), *look]
            if not await self._transact(as_seen, writes, self._everything()):
                return False
        return True

    def _everything(self) -> list[Term]:
        return [all_below(f"{self._prefix}{STATE}"), all_below(f"{self._prefix}{BEATS}")]

    def _nothing_new(self) -> list[Term]:
        """Conditions: what this process has seen of `state/` is the newest there is. Its newest
        entry is there, so all that came before it is; and nothing newer."""
        newest = self._newest
        first = unchanged_since(f"{self._prefix}{STATE}", newest.revision if newest else 0)
        return [first, has_value(newest.key, newest.value)] if newest else [first]

    async def _transact(
        self, conditions: Sequence[Term], then: Sequence[Term], otherwise: Sequence[Term]
    ) -> bool:
        """Whether the conditions held; takes in what was read."""
        known = self._revision
        outcome = await self._etcd.transact(conditions, then, otherwise)
        now = self._clock()
        if self._unsure_until is None:
            self._unsure_until = now + self._ttl
        if outcome.revision < known or self._cluster not in ("", outcome.cluster):
            self._revision = self._taken_in = 0
            self._forgetful(now)
        self._revision, self._cluster = max(self._revision, outcome.revision), outcome.cluster
        # An answer that was overtaken by a newer one is no sign of a store that went back.
        if outcome.revision >= self._taken_in and outcome.ranges:
            if len(outcome.ranges) == 2:
                self._taken_in = outcome.revision
                self._take_in(outcome.ranges[0], now)
            for beat in outcome.ranges[-1]:
                region = beat.key.removeprefix(f"{self._prefix}{BEATS}")
                if self._beats.get(region, ("", 0.0))[0] != beat.value:
                    self._beats[region] = (beat.value, now)
        return outcome.held

    def _take_in(self, entries: Sequence[Entry], now: float) -> None:
        cells, keeps, aside = (f"{self._prefix}{kind}" for kind in (CELLS, KEEPS, ASIDE))
        before, self._entries = self._entries, {entry.key: entry for entry in entries}
        forgot = bool(before.keys() - self._entries.keys())
        self._newest = max(entries, key=lambda entry: entry.revision, default=None)
        known, self._documents = self._documents, {}
        kept, self._kept = self._kept, {}
        self._words = []
        for entry in entries:
            if entry.key.startswith(cells):
                cell = entry.key.removeprefix(cells)
                self._documents[cell] = found = Document(**json.loads(entry.value))
                # At first sight it is compared with what was known before this process began.
                old = known.get(cell) or Document(epoch=0 if before else self._epochs.get(cell, 0))
                if not found.same_lease(old):
                    self._seen[cell] = now
                forgot = forgot or found.promised < old.promised or found.epoch < old.epoch
                self._epochs[cell] = max(self._epochs.get(cell, 0), found.epoch)
            elif entry.key.startswith(keeps):
                region = entry.key.removeprefix(keeps)
                self._kept[region] = json.loads(entry.value)["cells"]
            elif entry.key.startswith(aside):
                at, is_aside, _ = json.loads(entry.value)
                self._words.append((entry.key.removeprefix(aside), at, is_aside))
        for region, leases in kept.items():
            # What is not kept any more was renewed until now, perhaps.
            for cell in leases.keys() - self._kept.get(region, {}).keys():
                self._seen[cell] = now
        if forgot:
            self._forgetful(now)

    def _forgetful(self, now: float) -> None:
        log.error("etcd has gone back in time: no lease is granted until those forgotten end")
        self._forgetful_until = now + self._ttl

    # -- what is known --------------------------------------------------------------------------

    def _of(self, cell: str) -> Document:
        return self._documents.get(cell) or Document()

    def _as_seen(self, key: str) -> Term:
        entry = self._entries.get(key)
        return has_value(key, entry.value) if entry else is_absent(key)

    def _promise(self, cell: str, ballot: int) -> tuple[bool, Accepted]:
        """A new epoch is later than the time of day: higher than one that was forgotten."""
        said = self._accepted(cell)
        if not (said.live and said.epoch == self._mine.get(cell)):
            said = replace(said, epoch=max(said.epoch, int(self._wall() * 1000)))
        return self._of(cell).promised == ballot, said

    def _accepted(self, cell: str) -> Accepted:
        known, now = self._of(cell), self._clock()
        seen = self._seen.get(cell, float("-inf"))
        if known.holder and self._kept.get(known.holder, {}).get(cell) == known.epoch:
            seen = max(seen, self._beats.get(known.holder, ("", seen))[1])
        new_here = self._unsure_until or 0.0
        sure = now >= self._forgetful_until
        return Accepted(
            cell,
            known.promised,
            known.holder if sure else None,
            max(known.epoch, self._epochs.get(cell, 0)),
            live=not sure or now < new_here or (known.given and now < seen + self._ttl),
            successor=known.successor,
            reserved=known.successor is not None and now < seen + known.reserved,
            words=self._words,
        )
