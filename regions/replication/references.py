"""Mends references to rows that another region deleted while they were made.

No region breaks its own foreign keys, a merge can: one region deletes a parent, another adds a
child to it. Then the deletion has the last word, in every region: a reference that may be null
becomes null, a row that can't be without it goes, and what referred to that in turn. All of it is
an ordinary write of one region, so the others get it like any; what it takes away is in the ledger.

Guarantees that nothing is taken for dangling that is not: a parent may only be late. So the row
must have a tombstone, and everything that anybody had committed by then must have arrived.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from psycopg import sql

from regions.deployment import Deployment
from regions.errors import ReplicaDown
from regions.replication.merging import texts
from regions.replication.session import Session
from regions.replication.verification.cut import barrier
from regions.replication.verify import PATIENCE_SECONDS, replicas
from regions.topology import CellSpec

AT_ONCE = 1_000  # rows of one reference in one statement
DEEPEST = 50  # generations, each AT_ONCE at a time; what is left is for the next time
RULE = "its reference was deleted"

# Foreign keys of replicated tables to rows of which some are deleted. A column can be emptied if it
# may be null and is no part of the key.
_REFERENCES = """
WITH named AS (
    SELECT c.oid, n.nspname || '.' || c.relname AS rel, n.nspname, c.relname
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace)
SELECT child.nspname, child.relname, r.key, parent.nspname, parent.relname,
       array_agg(a.attname::text ORDER BY pair.place),
       array_agg(b.attname::text ORDER BY pair.place),
       array_agg(format_type(b.atttypid, b.atttypmod) ORDER BY pair.place),
       array_agg(a.attname::text) FILTER (WHERE NOT a.attnotnull AND a.attname <> ALL (r.key))
  FROM pg_constraint k
  JOIN named child ON child.oid = k.conrelid
  JOIN named parent ON parent.oid = k.confrelid
  JOIN fabric.relation r ON r.rel = child.rel
 CROSS JOIN LATERAL ROWS FROM (unnest(k.conkey), unnest(k.confkey))
       WITH ORDINALITY AS pair(here, there, place)
  JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = pair.here
  JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = pair.there
 WHERE k.contype = 'f' AND EXISTS (SELECT FROM fabric.tombstone g WHERE g.rel = parent.rel)
 GROUP BY k.oid, 1, 2, 3, 4, 5 ORDER BY k.oid
"""

# Where a row is tells it from others of its partition only.
_DANGLING = sql.SQL("""
SELECT c.tableoid, c.ctid, max(g.stamp) AS stamp, (array_agg(g.tenant))[1] AS tenant
  FROM fabric.tombstone g JOIN {child} c ON {refers}
 WHERE g.rel = {parent_name} AND NOT EXISTS (SELECT FROM {parent} p WHERE {there})
 GROUP BY c.tableoid, c.ctid LIMIT {at_once}
""")

# Whoever holds such a row keeps it until the next time.
_MEND = sql.SQL("""
WITH dangling AS ({dangling}), held AS (
    SELECT c.tableoid, c.ctid, d.stamp, d.tenant, hstore(c) AS state, c._stamp, c._born, c._fields
      FROM dangling d JOIN {child} c ON c.ctid = d.ctid AND c.tableoid = d.tableoid
       FOR UPDATE OF c SKIP LOCKED
), noted AS (
    INSERT INTO fabric.conflict
           (rel, pk, field, loser_stamp, loser, winner_stamp, winner, rule, tenant)
    {ledger}
    ON CONFLICT DO NOTHING
)
{write}
""")
_EMPTY = sql.SQL(
    "UPDATE {child} c SET {nulls} FROM held WHERE c.ctid = held.ctid AND c.tableoid = held.tableoid"
)
_LEDGER_OF_FIELDS = sql.SQL("""
    SELECT {rel}, state -> {key}, field,
           coalesce(fabric.stamp_of(_fields -> field), _born), to_jsonb(state -> field), stamp,
           NULL, {rule}, tenant
      FROM held CROSS JOIN unnest({fields}) AS field""")
_DELETE = sql.SQL(
    "DELETE FROM {child} c USING held WHERE c.ctid = held.ctid AND c.tableoid = held.tableoid"
)
_LEDGER_OF_ROWS = sql.SQL("""
    SELECT {rel}, state -> {key}, '*', _stamp, hstore_to_jsonb(state), stamp, NULL, {rule}, tenant
      FROM held""")


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key: `child`'s `columns` name `parent`'s `targets`. `emptied`: those of `columns`
    that may be null."""

    child: tuple[str, str]
    key: tuple[str, ...]
    parent: tuple[str, str]
    columns: tuple[str, ...]
    targets: tuple[str, ...]
    types: tuple[str, ...]
    emptied: tuple[str, ...]

    @property
    def dangling(self) -> sql.Composed:
        """(tableoid, ctid, the newest deletion's stamp, tenant) of rows whose parent is deleted."""
        pairs = list(zip(self.columns, self.targets, self.types, strict=True))
        return _DANGLING.format(
            child=sql.Identifier(*self.child),
            parent=sql.Identifier(*self.parent),
            parent_name=sql.Literal(".".join(self.parent)),
            refers=_all(
                sql.SQL("c.{} = (g.state -> {})::{}").format(
                    sql.Identifier(column),
                    sql.Literal(target),
                    sql.SQL(kind),  # the catalog's own text
                )
                for column, target, kind in pairs
            ),
            there=_all(
                sql.SQL("p.{} = c.{}").format(sql.Identifier(target), sql.Identifier(column))
                for column, target, _ in pairs
            ),
            at_once=sql.Literal(AT_ONCE),
        )

    @property
    def mend(self) -> sql.Composed:
        """Empty, or delete, some of them, and keep what that takes away."""
        child = sql.Identifier(*self.child)
        named = {
            "rel": sql.Literal(".".join(self.child)),
            "key": texts(self.key),
            "rule": sql.Literal(RULE),
        }
        if self.emptied:
            nulls = sql.SQL(", ").join(
                sql.SQL("{} = NULL").format(sql.Identifier(column)) for column in self.emptied
            )
            write = _EMPTY.format(child=child, nulls=nulls)
            ledger = _LEDGER_OF_FIELDS.format(**named, fields=texts(self.emptied))
        else:
            write = _DELETE.format(child=child)
            ledger = _LEDGER_OF_ROWS.format(**named)
        return _MEND.format(dangling=self.dangling, child=child, ledger=ledger, write=write)


async def any_dangling(session: Session) -> bool:
    """Whether there is a row whose parent is deleted here."""
    for reference in await _references(session):
        if await session.fetch(sql.SQL("SELECT FROM ({}) d LIMIT 1").format(reference.dangling)):
            return True
    return False


async def mend(
    deployment: Deployment,
    spec: CellSpec,
    session: Session,
    *,
    seen_from: str | None = None,
    patience: float = PATIENCE_SECONDS,
) -> int:
    """Mend, as a write of the replica that `session` applies in; returns how many rows. Every
    region must have applied what all had committed. Raises ReplicaDown, NotSettled, psycopg.Error.
    """
    async with replicas(deployment, spec, seen_from) as sessions:
        if silent := [region for region in spec.regions if region not in sessions]:
            raise ReplicaDown(f"{', '.join(silent)} does not answer: a parent may be there")
        await barrier(sessions, patience)
    async with _writing(session):
        return await _mend_all(session)


async def _mend_all(session: Session) -> int:
    done = 0
    for _ in range(DEEPEST):
        generation = 0
        for reference in await _references(session):
            generation += (await session.execute(reference.mend)).rowcount
        if not generation:
            break
        done += generation
    return done


@asynccontextmanager
async def _writing(session: Session) -> AsyncIterator[None]:
    """In one transaction, as anybody writes: captured, stamped, checked."""
    async with session.connection.transaction():
        await session.execute("SET LOCAL session_replication_role = origin")
        await session.execute("SET LOCAL lock_timeout = '1s'")
        yield


async def _references(session: Session) -> list[Reference]:
    found = await session.fetch(_REFERENCES)
    return [
        Reference(
            child=(schema, name),
            key=tuple(key),
            parent=(parent_schema, parent),
            columns=tuple(columns),
            targets=tuple(targets),
            types=tuple(types),
            emptied=tuple(emptied or ()),
        )
        for schema, name, key, parent_schema, parent, columns, targets, types, emptied in found
    ]


def _all(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(" AND ").join(parts)
