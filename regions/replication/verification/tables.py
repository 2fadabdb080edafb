"""Which tables replicas have in common, and what keeps others from being compared."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from uuid import UUID

from psycopg import sql

from regions.replication.captured import arguments_of
from regions.replication.session import Session
from regions.replication.shapes import KNOWN, Column, Relation, relation_of
from regions.replication.verification.asking import everywhere, soon

TENANT_COLUMN = "tenant_id"

_COLLECTED = "SELECT collected FROM fabric.member"
# Of the fabric's own only tasks are compared: each region forgets the others' rows by itself.
_TABLES = sql.SQL("""
SELECT r.rel, {known},
       (SELECT encode(tgargs, 'hex') FROM pg_trigger
         WHERE tgrelid = to_regclass(quote_ident(split_part(r.rel, '.', 1)) || '.'
               || quote_ident(substr(r.rel, strpos(r.rel, '.') + 1)))
           AND tgname = 'fabric_insert')
  FROM fabric.relation r WHERE split_part(r.rel, '.', 1) <> 'fabric' OR r.rel = 'fabric.task'
 ORDER BY r.rel
""").format(known=KNOWN)


@dataclass(frozen=True)
class Table:
    """A table as a replica has it; `owner` is the tenant whose all of its rows are. `collected`: up
    to which stamp some replica's tombstones may be gone."""

    relation: Relation
    owner: UUID | None
    collected: int = 0

    @property
    def name(self) -> str:
        return self.relation.name

    @property
    def schema(self) -> str:
        return self.name.partition(".")[0]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """All of them in the order of their names, which is the same everywhere."""
        return tuple(sorted(column.name for column in self.relation.columns))

    @cached_property
    def key_types(self) -> tuple[str, ...]:
        types = {column.name: column.type for column in self.relation.columns}
        return tuple(types[name] for name in self.relation.key)

    def named(self, pk: Sequence[str]) -> dict[str, str]:
        """A key as its table's users know it: without the platform's column."""
        named = dict(zip(self.relation.key, pk, strict=True))
        return {c: text for c, text in named.items() if c != TENANT_COLUMN or not self.by_row}

    @property
    def by_row(self) -> bool:
        """Whether each row says whose it is."""
        return self.owner is None and TENANT_COLUMN in self.columns


@dataclass(frozen=True, slots=True)
class Odd:
    """A table that cannot be compared: it is not the same in every region."""

    table: str
    lacking: tuple[str, ...]

    @property
    def schema(self) -> str:
        return self.table.partition(".")[0]

    @property
    def reason(self) -> str:
        if self.lacking:
            return f"there is no such table in {', '.join(self.lacking)}"
        return "its columns are not the same in every region"


async def read_tables(sessions: Mapping[str, Session]) -> tuple[list[Table], list[Odd]]:
    """The tables that every replica has alike, and the others. Raises ReplicaDown."""
    noted = await asyncio.gather(
        *(soon(region, session.fetch(_COLLECTED)) for region, session in sessions.items())
    )
    collected = max(stamp for ((stamp,),) in noted)
    found = await everywhere(sessions, _read)
    alike, odd = [], []
    for name in sorted(set().union(*found.values())):
        lacking = tuple(region for region, tables in found.items() if name not in tables)
        versions = [tables[name] for tables in found.values() if name in tables]
        if lacking or any(_outline(one) != _outline(versions[0]) for one in versions):
            odd.append(Odd(name, lacking))
        else:
            alike.append(replace(versions[0], collected=collected))
    return alike, odd


async def _read(session: Session) -> dict[str, Table]:
    rows = await session.fetch(_TABLES)
    return {
        rel: Table(relation_of(rel, *known), _owner(arguments))
        for rel, *known, arguments in rows
        if known[1] is not None
    }


def _owner(encoded: str | None) -> UUID | None:
    tenant = arguments_of(encoded)[0] if encoded else ""
    return UUID(tenant) if tenant else None


def _outline(table: Table) -> tuple[tuple[str, ...], frozenset[tuple[str, str, bool]]]:
    """What must be the same. Where a column stands, and its default, need not."""

    def known(column: Column) -> tuple[str, str, bool]:
        return (column.name, column.type, column.generated)

    return table.relation.key, frozenset(map(known, table.relation.columns))
