"""One comparison of a cell's replicas, some tables at a time, each at a watermark of its own.

A row is a difference when it differs at two watermarks and, at the second, no change of it was
under way. Sessions are the agents': the comparison needs no administrator.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from regions.replication.session import Session
from regions.replication.verification.cut import Key, cut
from regions.replication.verification.judging import Version, as_buried, stamps_of
from regions.replication.verification.repair import Outcome, repair_row
from regions.replication.verification.tables import Odd, Table, read_tables
from regions.replication.verification.tree import (
    Root,
    Seen,
    differing_rows,
    read_roots,
    rows_by_key,
)
from regions.replication.verification.verdict import Difference, Verdict, describe
from regions.replication.verification.versions import read_versions

Tell = Callable[[str], None]
LivedIn = Callable[[str], bool]

TABLES_AT_ONCE = 20  # of one schema: their locks and snapshots are held together
ROUNDS = 8  # looks at a row that is being written
PAUSE_SECONDS = 0.05
MAKING_SECONDS = 10.0  # that a place takes to be the same in every region
MAKING_PAUSE_SECONDS = 0.2
SHOWN = 100  # differing rows of one tenant in one table that a verdict names
TOGETHER = 500  # rows whose versions are read at once


@dataclass
class Run:
    """`down`: the numbers of the regions that do not answer. `repair`: mend what is found.
    `is_lived_in`: whether a schema is anybody's; others may be half there. `collected`: a region
    whose database is an old backup, and up to which stamp the others collected tombstones."""

    sessions: Mapping[str, Session]
    nodes: Mapping[str, int]
    down: frozenset[int]
    patience: float
    repair: bool
    tell: Tell
    verdict: Verdict
    is_lived_in: LivedIn
    collected: tuple[str, int] | None = None

    async def everything(self) -> None:
        """Compare all tables. Raises NotSettled."""
        tables = await self._tables()
        done = 0
        for batch in _batches(tables):
            self.tell(
                f"{self.verdict.cell}: {done} of {len(tables)} tables, {self.verdict.rows} rows"
            )
            for root in await self._roots(batch):
                if not root.equal:
                    await self._settle(root)
            done += len(batch)
            self.verdict.tables = done

    async def _tables(self) -> list[Table]:
        """Those that every replica has alike. The others are looked at again before they are told:
        a tenant's tables are made, and go, in one region after the other."""
        deadline = time.monotonic() + MAKING_SECONDS
        while True:
            tables, odd = await read_tables(self.sessions)
            odd = [one for one in odd if self.is_lived_in(one.schema)]
            if not odd or time.monotonic() > deadline:
                break
            await asyncio.sleep(MAKING_PAUSE_SECONDS)
        for one in odd:
            self._note_odd(one)
        return tables

    async def _roots(self, tables: Sequence[Table]) -> list[Root]:
        async with cut(self.sessions, patience=self.patience) as here:
            roots = await read_roots(here, tables)
        self.verdict.rows += sum(root.rows for root in roots)
        self.verdict.tenants |= {root.tenant for root in roots if root.tenant}
        return roots

    async def _settle(self, root: Root) -> None:
        """Find what differs below the root, and mend it, until nothing more can be done."""
        known: set[Key] = set()
        while True:
            async with cut(self.sessions, patience=self.patience) as here:
                rows = await differing_rows(here, root)
            sure = await self._confirmed(root.table, rows.seen)
            mended = 0
            for keys in _slices([key for key in sure if key not in known]):
                versions = await read_versions(self.sessions, root.table, keys)
                if self.collected is not None:
                    versions = {k: as_buried(v, *self.collected) for k, v in versions.items()}
                outcomes = await self._mend(root, keys, versions) if self.repair else {}
                for key in keys:
                    outcome = outcomes.get(key)
                    mended += bool(outcome and outcome.done)
                    self.verdict.found += 1
                    self.verdict.repaired += bool(outcome and outcome.done)
                    if len(known) < SHOWN:
                        self._note(root, key, sure[key], versions[key], outcome)
                    known.add(key)
            if not (rows.more and mended):
                return

    async def _confirmed(self, table: Table, suspects: Mapping[Key, Seen]) -> dict[Key, Seen]:
        """Those that differ although nothing of them is under way."""
        sure: dict[Key, Seen] = {}
        pending = list(suspects)
        for number in range(ROUNDS):
            if not pending:
                break
            await asyncio.sleep(PAUSE_SECONDS * number)
            async with cut(self.sessions, patience=self.patience) as here:
                differing = await rows_by_key(here, table, pending)
                moving = await here.touched(table) if differing else set()
            moving |= await self._of_the_missing(table, list(differing))
            sure |= {key: seen for key, seen in differing.items() if key not in moving}
            pending = [key for key in differing if key in moving]
        self.verdict.in_flight += len(pending)
        return sure

    async def _of_the_missing(self, table: Table, keys: Sequence[Key]) -> set[Key]:
        """Rows that a region which does not answer may have sent to some of the others only."""
        found: set[Key] = set()
        for some in _slices(keys) if self.down else ():
            versions = await read_versions(self.sessions, table, some)
            found |= {key for key in some if self.down & _nodes_of(versions[key])}
        return found

    async def _mend(
        self, root: Root, keys: Sequence[Key], versions: Mapping[Key, Mapping[str, Version]]
    ) -> dict[Key, Outcome]:
        outcomes = {
            key: await repair_row(self.sessions, self.nodes, root.table, key, versions[key])
            for key in keys
        }
        mended: dict[Key, Seen] = {key: {} for key, outcome in outcomes.items() if outcome.done}
        left = await self._confirmed(root.table, mended)
        lost = Outcome(done=False, reason="it still differs")
        return outcomes | dict.fromkeys(left, lost)

    def _note(
        self,
        root: Root,
        key: Key,
        seen: Seen,
        versions: Mapping[str, Version],
        outcome: Outcome | None,
    ) -> None:
        reason, fields = describe(versions)
        self.verdict.differences.append(
            Difference(
                table=root.table.name,
                tenant=root.tenant,
                key=root.table.named(key),
                regions={r: digest.hex()[:8] if digest else None for r, digest in seen.items()},
                reason=f"{reason}: {outcome.reason}" if outcome else reason,
                fields=fields,
                repaired=bool(outcome and outcome.done),
            )
        )

    def _note_odd(self, odd: Odd) -> None:
        self.verdict.found += 1
        regions = {r: None if r in odd.lacking else "there" for r in self.sessions}
        self.verdict.differences.append(Difference(odd.table, None, None, regions, odd.reason))


def _nodes_of(versions: Mapping[str, Version]) -> set[int]:
    stamps = {version.dead for version in versions.values() if version.dead is not None}
    for version in versions.values():
        if version.state is not None:
            stamps |= stamps_of(version.state)
    return {stamp & 255 for stamp in stamps}


def _batches(tables: Sequence[Table]) -> Iterator[list[Table]]:
    """Some tables of one schema at a time."""
    batch: list[Table] = []
    for table in tables:
        if batch and (len(batch) == TABLES_AT_ONCE or table.schema != batch[0].schema):
            yield batch
            batch = []
        batch.append(table)
    if batch:
        yield batch


def _slices(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    for start in range(0, len(keys), TOGETHER):
        yield keys[start : start + TOGETHER]
