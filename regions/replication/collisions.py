"""Two rows that want one unique value, from two regions: who has it is the same in every region.

Whoever claimed it first keeps it: a claim is as old as the newest write to the columns that the
index is about. The loser is parked, whole, in every region, and comes back when the value is free.
Where the field has the rule `rename` it stays, under a name that every region makes up alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import psycopg
from psycopg import sql

from regions.replication.session import Session, merge_stage
from regions.replication.statements import Statements

Load = Callable[[], Awaitable[Statements]]  # stages the one row that is to be placed
MOST = 8  # unique indexes of one table that one row can offend

# The index' terms as the catalog writes them, the columns that it depends on, its condition.
_INDEX = """
SELECT (SELECT array_agg(pg_get_indexdef(i.indexrelid, n, true) ORDER BY n)
          FROM generate_series(1, i.indnkeyatts) n),
       (SELECT array_agg(DISTINCT a.attname::text) FROM pg_depend d
          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = d.refobjsubid
         WHERE d.refobjid = i.indrelid AND d.refobjsubid > 0
           AND (d.objid = i.indexrelid OR d.objid IN (
                SELECT oid FROM pg_constraint k WHERE k.conindid = i.indexrelid
                   AND k.conrelid = i.indrelid AND k.contype = 'u'))),
       coalesce(pg_get_expr(i.indpred, i.indrelid), 'true')
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE c.relname = $1 AND i.indrelid = to_regclass($2)
"""

_CLAIM = sql.SQL("SELECT {claim} FROM {stage} r")
_HOLDERS = sql.SQL("""
SELECT ctid::text, {claim} FROM {table} r WHERE {same} AND ({condition}) FOR UPDATE""")

_DISPLACE = sql.SQL("""
WITH gone AS (DELETE FROM {table} WHERE ctid = $1::text::tid RETURNING {row} AS state)
INSERT INTO fabric.dead_letter AS d (rel, pk, origin, tenant, state, reason)
SELECT {rel}, gone.state -> {key}, (SELECT node FROM fabric.member), s._fabric_tenant, gone.state,
       $2 FROM gone, {stage} s
ON CONFLICT (rel, pk, origin) DO UPDATE
   SET state = EXCLUDED.state, reason = EXCLUDED.reason, attempts = d.attempts + 1, last_at = now()
""")

_RECORD = sql.SQL("""
INSERT INTO fabric.conflict
       (rel, pk, field, loser_stamp, loser, winner_stamp, winner, rule, tenant)
SELECT {rel}, {row} -> {key}, {field}, $1, {loser}, $2, NULL, {rule}, s._fabric_tenant
  FROM {of} r, {stage} s WHERE {which}
ON CONFLICT DO NOTHING
""")

_RENAME = sql.SQL("""
UPDATE {of} AS r
   SET {column} = {renamed},
       _fields = coalesce(_fields, '{{}}') || jsonb_build_object({name}, {stamp}),
       _stamp = greatest(_stamp, {stamp})
 WHERE {which}
""")


class Lost(psycopg.errors.UniqueViolation):
    """Another row has claimed the value `earlier` than the staged one."""

    def __init__(self, index: str, claim: int, earlier: int) -> None:
        super().__init__(
            f'duplicate key value violates unique constraint "{index}":'
            " another row claimed it first"
        )
        self.claim = claim
        self.earlier = earlier


async def place(session: Session, load: Load) -> psycopg.Error | None:
    """Merge the row that `load` stages, whatever unique values it wants. None, or why it can't be:
    then nothing has changed."""
    offended: list[str] = []
    while True:
        try:
            async with session.connection.transaction():
                statements = await load()
                for index in offended:
                    await _make_room(session, statements, index)
                await merge_stage(session, statements, rows=1)
        except psycopg.errors.OperationalError:
            raise
        except Lost as lost:
            session.forget()
            await _record_lost(session, load, lost)
            return lost
        except psycopg.errors.UniqueViolation as error:
            session.forget()
            name = error.diag.constraint_name
            if name is None or name in offended or len(offended) == MOST:
                return error
            offended.append(name)
        except psycopg.Error as error:
            session.forget()
            return error
        else:
            return None


async def _make_room(session: Session, statements: Statements, index: str) -> None:
    """Let whoever claimed the index' value first have it. Raises Lost if that is not the staged
    row, and it is to be parked."""
    shape = statements.shape
    relation = shape.relation
    found = await session.fetch(_INDEX, (index, relation.table.as_string(session.connection)))
    if not found:
        raise Lost(index, 0, 0)
    terms, columns, condition = found[0]
    claim = sql.SQL("greatest({})").format(
        sql.SQL(", ").join(
            sql.SQL("coalesce(fabric.stamp_of(r._fields -> {}), r._born)").format(
                sql.Literal(column)
            )
            for column in columns
        )
    )
    # The terms are the catalog's own text.
    same = sql.SQL(" AND ").join(
        sql.SQL("({term}) = (SELECT {term} FROM {stage})").format(
            term=sql.SQL(term), stage=shape.stage
        )
        for term in terms
    )
    ((mine,),) = await session.fetch(_CLAIM.format(claim=claim, stage=shape.stage))
    renamed = next((c for c in columns if dict(relation.rules).get(c) == "rename"), None)
    holders = await session.fetch(
        _HOLDERS.format(claim=claim, table=relation.table, same=same, condition=sql.SQL(condition))
    )
    for ctid, theirs in holders:
        here = sql.SQL("r.ctid = {}::text::tid").format(sql.Literal(ctid))
        if theirs < mine:
            if renamed is None:
                raise Lost(index, mine, theirs)
            await _record(session, statements, shape.stage, sql.SQL("true"), mine, theirs, renamed)
            await _rename(session, statements, shape.stage, sql.SQL("true"), renamed, mine)
            return
        await _record(session, statements, relation.table, here, theirs, mine, renamed)
        if renamed is None:
            await session.execute(
                _DISPLACE.format(
                    table=relation.table,
                    row=sql.SQL("hstore({})").format(sql.Identifier(relation.table._obj[-1])),
                    rel=sql.Literal(relation.name),
                    key=statements.key,
                    stage=shape.stage,
                ),
                (ctid, f"23505: {Lost(index, theirs, mine)}"),
            )
        else:
            await _rename(session, statements, relation.table, here, renamed, theirs)


async def _record_lost(session: Session, load: Load, lost: Lost) -> None:
    """In the ledger, and nothing else of the row."""
    async with session.connection.transaction():
        statements = await load()
        everything = sql.SQL("true")
        stage = statements.shape.stage
        await _record(session, statements, stage, everything, lost.claim, lost.earlier, None)
        await session.execute(statements.clear)
        await session.leave(statements)


async def _record(
    session: Session,
    statements: Statements,
    of: sql.Identifier,
    which: sql.Composable,
    loser: int,
    winner: int,
    renamed: str | None,
) -> None:
    row = sql.SQL("(hstore(r) - {})").format(statements.meta)
    value = sql.SQL("hstore_to_jsonb({})").format(row)
    await session.execute(
        _RECORD.format(
            rel=sql.Literal(statements.shape.relation.name),
            row=row,
            key=statements.key,
            field=sql.Literal(renamed or "*"),
            loser=sql.SQL("{} -> {}").format(value, sql.Literal(renamed)) if renamed else value,
            rule=sql.Literal("first claim wins"),
            of=of,
            stage=statements.shape.stage,
            which=which,
        ),
        (loser, winner),
    )


async def _rename(
    session: Session,
    statements: Statements,
    of: sql.Identifier,
    which: sql.Composable,
    column: str,
    claim: int,
) -> None:
    """Nothing in the new name and its stamp is of this region: every region makes the same."""
    kind = statements.shape.relation.plain[column].type
    limit = int(kind.partition("(")[2].rstrip(")") or 1_000_000)
    suffix = sql.SQL("left(md5((hstore(r) -> {})::text), 8)").format(statements.key)
    await session.execute(
        _RENAME.format(
            of=of,
            column=sql.Identifier(column),
            name=sql.Literal(column),
            renamed=sql.SQL("left({}, {}) || '-' || {}").format(
                sql.Identifier("r", column), sql.Literal(max(limit - 9, 0)), suffix
            ),
            stamp=sql.SQL("{}::bigint").format(sql.Literal(((claim >> 8) + 1) << 8 | claim & 255)),
            which=which,
        )
    )
