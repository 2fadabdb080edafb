"""Goes down the hash trees of all replicas at once, and only where they differ.

Digests leave a replica, and of rows that differ their keys; no value does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from regions.replication.session import Session
from regions.replication.verification import digests
from regions.replication.verification.cut import Cut, Key
from regions.replication.verification.tables import Table

LEAF_ROWS = 1_000  # a branch with no more is compared row by row
DEEPEST = 31
MOST = 10_000  # differing rows of one tenant in one table that one look finds

Branch = bytes
Seen = dict[str, bytes | None]  # a row's digest by region; None: it is not there


@dataclass(frozen=True)
class Root:
    """One tenant's rows in one table, as each region has them: how many, and their digest."""

    table: Table
    tenant: UUID | None
    seen: Mapping[str, tuple[int, bytes]]

    @property
    def equal(self) -> bool:
        return len(set(self.seen.values())) == 1

    @property
    def rows(self) -> int:
        return max(rows for rows, _ in self.seen.values())


@dataclass
class Rows:
    """Rows that differ. `more`: there are further ones."""

    seen: dict[Key, Seen] = field(default_factory=dict)
    more: bool = False


async def read_roots(cut: Cut, tables: Collection[Table]) -> list[Root]:
    """A root for each tenant that has rows in one of the tables, in whichever region."""
    statement = digests.roots(tables)
    found = await cut.everywhere(lambda session: session.fetch(statement))
    known = {table.name: table for table in tables}
    seen: dict[tuple[str, UUID | None], dict[str, tuple[int, bytes]]] = {}
    for region, rows in found.items():
        for name, tenant, count, digest in rows:
            seen.setdefault((name, tenant), {})[region] = (count, digest)
    return [
        Root(known[name], tenant, {region: of.get(region, (0, b"")) for region in found})
        for (name, tenant), of in sorted(seen.items(), key=str)
    ]


async def differing_rows(cut: Cut, root: Root) -> Rows:
    """The rows below a root that differ."""
    found = Rows()
    under: list[Branch] = [b""]
    small = root.rows <= LEAF_ROWS
    depth = 0
    while under:
        leaves = under if small or depth == DEEPEST else []
        if not leaves:
            under, leaves = await _branches(cut, root, under, depth)
            depth += 1
        else:
            under = []
        if leaves:
            await _compare(cut, root, leaves, depth, found)
        if len(found.seen) >= MOST:
            found.more = True
            break
    return found


async def _branches(
    cut: Cut, root: Root, under: Collection[Branch], depth: int
) -> tuple[list[Branch], list[Branch]]:
    """Those below that differ: the large ones, and those that are compared row by row."""
    statement = digests.branches(root.table, root.tenant, under, depth)
    found = await cut.everywhere(lambda session: session.fetch(statement))
    below = {
        region: {branch: (rows, digest) for _, branch, rows, digest in answer}
        for region, answer in found.items()
    }
    large: list[Branch] = []
    small: list[Branch] = []
    for branch in sorted(set().union(*below.values())):
        seen = [of.get(branch, (0, b"")) for of in below.values()]
        if len(set(seen)) > 1:
            (small if max(rows for rows, _ in seen) <= LEAF_ROWS else large).append(branch)
    return large, small


async def _compare(
    cut: Cut, root: Root, leaves: Collection[Branch], depth: int, into: Rows
) -> None:
    statement = digests.leaves(root.table, root.tenant, leaves, depth)
    found = await cut.everywhere(lambda session: session.fetch(statement))
    into.seen |= _unequal({region: _by_key(rows) for region, rows in found.items()})


async def rows_by_key(cut: Cut, table: Table, keys: Collection[Key]) -> dict[Key, Seen]:
    """Those of the rows with these keys that differ."""
    statement = digests.rows_of(table)
    columns = [list(texts) for texts in zip(*keys, strict=True)]

    async def rows(columns: list[list[str]], session: Session) -> dict[Key, bytes]:
        return _by_key(await session.fetch(statement, columns))

    return _unequal(await cut.everywhere(partial(rows, columns)))


def _by_key(rows: Collection[tuple[list[str], bytes]]) -> dict[Key, bytes]:
    return {tuple(pk): digest for pk, digest in rows}


def _unequal(found: Mapping[str, Mapping[Key, bytes]]) -> dict[Key, Seen]:
    every = {key: {region: of.get(key) for region, of in found.items()} for key in _keys(found)}
    return {key: seen for key, seen in every.items() if len(set(seen.values())) > 1}


def _keys(found: Mapping[str, Mapping[Key, bytes]]) -> list[Key]:
    return sorted(set().union(*found.values()))
