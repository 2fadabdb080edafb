"""Makes replicas equal where they differ, row by row.

Guarantees that a row is only changed if it still is as it was judged, that nothing of it is
captured or sent to anybody, and that what a replica loses is in its ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from regions.errors import RepairRunning
from regions.replication.capture import HIDDEN_COLUMNS
from regions.replication.letters import reason as reason_of
from regions.replication.session import Session
from regions.replication.verification.asking import everywhere
from regions.replication.verification.cut import Key
from regions.replication.verification.judging import (
    Judgement,
    State,
    Version,
    differing,
    judge,
    possible,
    stamp_of,
)
from regions.replication.verification.tables import TENANT_COLUMN, Table
from regions.replication.verification.versions import as_record, join

RULE = "repair"
LEAVE_SECONDS = 5.0  # after which a server is left to itself: it may be frozen
_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('fabric.repair', 0))"
_UNLOCK = "SELECT pg_advisory_unlock_all()"

_CURRENT = sql.SQL(
    "SELECT hstore_to_jsonb(hstore(_fabric_row)) FROM {table} _fabric_row"
    " WHERE {matches} FOR UPDATE"
)
_PUT = sql.SQL("""
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {record}
ON CONFLICT ({key}) DO UPDATE SET {assignments}""")
# Where no row was: whoever inserts one meanwhile is waited for, and his row left alone.
_ADD = sql.SQL("""
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {record}
ON CONFLICT ({key}) DO NOTHING""")
_REMOVE = sql.SQL("DELETE FROM {table} _fabric_row WHERE {matches}")
_BURY = """
INSERT INTO fabric.tombstone AS g (rel, pk, stamp, tenant, state)
SELECT $1, $2, $3, $4, hstore(array_agg(key), array_agg(value)) FROM jsonb_each_text($5)
ON CONFLICT (rel, pk) DO UPDATE
   SET stamp = greatest(g.stamp, EXCLUDED.stamp), state = EXCLUDED.state
"""
_RECORD = """
INSERT INTO fabric.conflict
       (rel, pk, field, loser_stamp, loser, winner_stamp, winner, rule, tenant)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why a row is as it is now, or why it was left alone. `regions`: where it was changed."""

    done: bool
    reason: str
    regions: tuple[str, ...] = ()


@asynccontextmanager
async def alone(sessions: Mapping[str, Session]) -> AsyncIterator[None]:
    """Within the block nobody else repairs the cell. Raises RepairRunning."""
    try:
        for region, session in sorted(sessions.items()):
            if not (await session.fetch(_LOCK))[0][0]:
                raise RepairRunning(
                    f"somebody is repairing this cell already, as {region} says: wait for them"
                )
        yield
    finally:
        # A server ends a session some time after it was closed: too late for whoever is next.
        await everywhere(sessions, _leave)


async def _leave(session: Session) -> None:
    with suppress(TimeoutError, psycopg.Error):
        async with asyncio.timeout(LEAVE_SECONDS):
            await session.execute(_UNLOCK)


async def repair_row(
    sessions: Mapping[str, Session],
    nodes: Mapping[str, int],
    table: Table,
    pk: Key,
    versions: Mapping[str, Version],
) -> Outcome:
    """Give every replica the right content of the row. `versions` by region, of every region."""
    if parked := next((v.parked for v in versions.values() if v.parked), None):
        return Outcome(done=False, reason=f"a change of it is a dead letter: {parked}")
    try:
        judgement = await _judge(sessions, nodes, table, versions)
    except psycopg.errors.OperationalError:
        raise
    except (ValueError, TypeError, AttributeError, psycopg.Error):
        return Outcome(done=False, reason="its stamps cannot be read in one of the replicas")
    if judgement.undecided or judgement.state is None:
        return Outcome(done=False, reason=judgement.reason)
    changed: list[str] = []
    wrong = [region for region in sessions if _is_wrong(judgement, versions[region])]
    # Only a generated column differs: writing the row makes it anew.
    for region in wrong or sessions:
        session = sessions[region]
        try:
            async with session.connection.transaction():
                if not await _still(
                    session, table, judgement.state, versions[region]
                ) or not await _settle(session, table, pk, judgement, versions[region]):
                    return Outcome(
                        done=False, reason="it was written meanwhile", regions=(*changed,)
                    )
                changed.append(region)
        except psycopg.errors.OperationalError:
            raise
        except psycopg.Error as error:
            return Outcome(done=False, reason=f"{region}: {reason_of(error)}", regions=(*changed,))
    return Outcome(done=True, reason=judgement.reason, regions=(*changed,))


async def _judge(
    sessions: Mapping[str, Session],
    nodes: Mapping[str, int],
    table: Table,
    versions: Mapping[str, Version],
) -> Judgement:
    session = next(iter(sessions.values()))
    horizon = (await session.fetch("SELECT fabric.horizon()"))[0][0]
    sound = possible(versions, horizon)
    states = [s for v in sound.values() for s in (v.state, v.buried) if s is not None]
    if not states:
        return Judgement(None, "no replica has it any more", undecided=("*",))
    plain = [{name: state[name] for name in table.relation.plain} for state in states]
    alike = all(state == plain[0] for state in plain)
    joined = plain[0] if alike else await join(session, table, states)
    return judge(
        sound, joined, key=table.relation.key, rules=dict(table.relation.rules), nodes=nodes
    )


def _is_wrong(judgement: Judgement, seen: Version) -> bool:
    right = judgement.state
    if judgement.dead is not None:
        return seen.state is not None or (seen.dead or 0) < judgement.dead
    return seen.state is None or bool(differing(seen.state, right))


async def _still(session: Session, table: Table, right: State, seen: Version) -> bool:
    """Whether the row is as it was read; then it is locked, if it is there."""
    rows = await session.fetch(
        _CURRENT.format(table=table.relation.table, matches=_matches(table)), (Jsonb(dict(right)),)
    )
    return (rows[0][0] if rows else None) == seen.state


async def _settle(
    session: Session, table: Table, pk: Key, judgement: Judgement, seen: Version
) -> bool:
    """False: there is a row now where there was none."""
    assert judgement.state is not None  # noqa: S101 - whoever calls has looked
    right = judgement.state
    tenant = _tenant(table, right)
    if judgement.dead is not None:
        if seen.state is not None:
            await _record(session, table, pk, tenant, judgement, seen.state, ["*"])
            await session.execute(
                _REMOVE.format(table=table.relation.table, matches=_matches(table)),
                (Jsonb(dict(right)),),
            )
        buried = (table.name, list(pk), judgement.dead, tenant, Jsonb(dict(right)))
        await session.execute(_BURY, buried)
        return True
    fields = differing(seen.state, right)
    if seen.state is not None and fields:
        lost = [field for field in fields if field not in HIDDEN_COLUMNS]
        await _record(session, table, pk, tenant, judgement, seen.state, lost or ["*"])
    put = _put(table, _PUT if seen.state is not None else _ADD)
    done = await session.execute(put, (Jsonb(dict(right)),))
    return done.rowcount == 1


async def _record(
    session: Session,
    table: Table,
    pk: Key,
    tenant: UUID | None,
    judgement: Judgement,
    lost: State,
    fields: Iterable[str],
) -> None:
    """What this replica had, in its ledger. `*` stands for the whole row."""
    right = judgement.state or {}
    for field in fields:
        if field == "*":
            loser: object = dict(lost)
            winner: object = None if judgement.dead is not None else dict(right)
        else:
            loser, winner = lost[field], right[field]
        stamp = judgement.dead if judgement.dead is not None else stamp_of(right, field)
        await session.execute(
            _RECORD,
            (table.name, list(pk), field, stamp_of(lost, field), _json(loser), stamp,
             _json(winner), f"{RULE}: {judgement.reason}", tenant),
        )  # fmt: skip


def _json(value: object) -> Jsonb | None:
    return None if value is None else Jsonb(value)


def _tenant(table: Table, state: State) -> UUID | None:
    if table.by_row and state.get(TENANT_COLUMN):
        return UUID(state[TENANT_COLUMN])
    return table.owner


def _put(table: Table, statement: sql.SQL) -> sql.Composed:
    columns = [column for column in table.relation.plain if column not in table.relation.key]
    return statement.format(
        table=table.relation.table,
        columns=sql.SQL(", ").join(map(sql.Identifier, table.relation.plain)),
        record=as_record(table.relation.table),
        key=sql.SQL(", ").join(map(sql.Identifier, table.relation.key)),
        assignments=sql.SQL(", ").join(
            sql.SQL("{c} = EXCLUDED.{c}").format(c=sql.Identifier(column)) for column in columns
        ),
    )


def _matches(table: Table) -> sql.Composed:
    """By the key of the row that $1 is."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} = ($1::jsonb ->> {})::{}").format(
            sql.Identifier("_fabric_row", column),
            sql.Literal(column),
            sql.SQL(kind),  # the catalog's own text
        )
        for column, kind in zip(table.relation.key, table.key_types, strict=True)
    )


async def read_nodes(sessions: Mapping[str, Session]) -> dict[str, int]:
    """Each region's number in stamps."""
    found = await everywhere(sessions, lambda s: s.fetch("SELECT node FROM fabric.member"))
    return {region: rows[0][0] for region, rows in found.items()}
