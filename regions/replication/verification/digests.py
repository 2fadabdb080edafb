"""The hash tree of one tenant's rows in one table. It only builds SQL; the replicas compute it.

A row's place is the SHA-256 of its key, so that it is the same in every region whatever the types,
the collations and the order of inserts. A branch is a prefix of places; each has up to 256 branches
below it. A branch's digest is the SHA-256 of the digests under it in the order of their places
(Merkle, CRYPTO '87): rows that are exchanged, or differ twice, cannot cancel each other out as they
can where digests are added or XORed. A row's own digest is that of its record's text, with the
platform's columns in it, under the settings of `session`; a deleted row's is that of its deletion's
stamp, as its tombstone has it.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from psycopg import sql

from regions.replication.verification.tables import TENANT_COLUMN, Table

_ROWS = sql.SQL(
    "SELECT {tenant} AS tenant, {pk} AS pk, sha256(convert_to(ROW({key})::text, 'UTF8')) AS place,"
    " sha256(convert_to(ROW({columns})::text, 'UTF8')) AS digest"
    " FROM {table} _fabric_row {narrowed}"
    " UNION ALL SELECT {tenant}, _fabric_row._fabric_pk,"
    " sha256(convert_to(ROW({key})::text, 'UTF8')),"
    " sha256(convert_to('deleted ' || _fabric_row._fabric_dead, 'UTF8'))"
    " FROM ({deleted}) AS _fabric_row {narrowed}"
)

# Deleted, and not back again: of those each replica has the tombstone, until it may be collected.
# Replicas note that before they do it; one that went back in time does not know it any more.
_DELETED = sql.SQL(
    "SELECT g.pk AS _fabric_pk, g.stamp AS _fabric_dead, {typed} FROM fabric.tombstone g"
    " WHERE g.rel = {name}"
    " AND g.stamp > greatest({collected}, (SELECT collected FROM fabric.member))"
    " AND NOT EXISTS (SELECT FROM {table} _fabric_row WHERE {is_there})"
)

_BRANCHES = sql.SQL(
    "SELECT tenant, substr(place, 1, {depth}) AS branch, count(*) AS rows,"
    " sha256(string_agg(digest, ''::bytea ORDER BY place)) AS digest"
    " FROM ({rows}) AS r {under} GROUP BY 1, 2"
)

_ROOT = sql.SQL(
    "SELECT {name} AS rel, tenant, sum(rows)::bigint,"
    " sha256(string_agg(digest, ''::bytea ORDER BY branch)) FROM ({branches}) AS b GROUP BY tenant"
)


def roots(tables: Collection[Table]) -> sql.Composed:
    """(table, tenant, rows, digest) of each tenant in each table."""
    return sql.SQL(" UNION ALL ").join(
        _ROOT.format(
            name=sql.Literal(table.name),
            branches=_BRANCHES.format(
                depth=sql.Literal(1), rows=_rows(table, sql.SQL("")), under=sql.SQL("")
            ),
        )
        for table in tables
    )


def branches(
    table: Table, tenant: UUID | None, under: Collection[bytes], depth: int
) -> sql.Composed:
    """(tenant, branch, rows, digest) of the branches just below those of this depth."""
    return _BRANCHES.format(
        depth=sql.Literal(depth + 1),
        rows=_rows(table, _of(table, tenant)),
        under=_under(under, depth),
    )


def leaves(table: Table, tenant: UUID | None, under: Collection[bytes], depth: int) -> sql.Composed:
    """(key's texts, digest) of the rows below the branches of this depth."""
    return sql.SQL("SELECT pk, digest FROM ({}) AS r {}").format(
        _rows(table, _of(table, tenant)), _under(under, depth)
    )


def rows_of(table: Table) -> sql.Composed:
    """(key's texts, digest) of the rows with the keys $1, $2 …: a list for each column."""
    return sql.SQL("SELECT pk, digest FROM ({}) AS r").format(
        _rows(table, sql.SQL("WHERE ({}) IN (SELECT {})").format(_key(table), wanted(table)))
    )


def wanted(table: Table) -> sql.Composed:
    """The keys that the parameters from $1 on name, typed: one list of texts a column."""
    return sql.SQL(", ").join(
        sql.SQL("unnest({}::text[])::{}").format(
            sql.SQL("$" + str(number)),
            sql.SQL(kind),  # the catalog's own text
        )
        for number, kind in enumerate(table.key_types, 1)
    )


def pk_of(table: Table) -> sql.Composed:
    """A row's key as the fabric's own tables have it."""
    return sql.SQL("ARRAY[{}]").format(
        sql.SQL(", ").join(
            sql.SQL("format('%s', {})").format(sql.Identifier("_fabric_row", name))
            for name in table.relation.key
        )
    )


def _rows(table: Table, narrowed: sql.Composable) -> sql.Composed:
    if table.by_row:
        tenant: sql.Composable = sql.Identifier("_fabric_row", TENANT_COLUMN)
    else:
        tenant = sql.SQL("{}::uuid").format(sql.Literal(table.owner and str(table.owner)))
    return _ROWS.format(
        tenant=tenant,
        pk=pk_of(table),
        key=_key(table),
        columns=_listed(table.columns),
        table=table.relation.table,
        deleted=_deleted(table),
        narrowed=narrowed,
    )


def _deleted(table: Table) -> sql.Composed:
    key = dict(zip(table.relation.key, table.key_types, strict=True))
    typed: dict[str, sql.Composable] = {
        name: sql.SQL("(g.pk[{}])::{}").format(place, sql.SQL(kind))  # the catalog's own text
        for place, (name, kind) in enumerate(key.items(), 1)
    }
    is_there = sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier("_fabric_row", name), value)
        for name, value in typed.items()
    )
    if table.by_row:
        typed.setdefault(TENANT_COLUMN, sql.SQL("g.tenant"))
    return _DELETED.format(
        typed=sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(value, sql.Identifier(name)) for name, value in typed.items()
        ),
        name=sql.Literal(table.name),
        collected=sql.Literal(table.collected),
        table=table.relation.table,
        is_there=is_there,
    )


def _of(table: Table, tenant: UUID | None) -> sql.Composable:
    if not table.by_row:
        return sql.SQL("")
    column = sql.Identifier("_fabric_row", TENANT_COLUMN)
    if tenant is None:
        return sql.SQL("WHERE {} IS NULL").format(column)
    return sql.SQL("WHERE {} = {}").format(column, sql.Literal(str(tenant)))


def _under(under: Collection[bytes], depth: int) -> sql.Composable:
    if depth == 0:
        return sql.SQL("")
    return sql.SQL("WHERE substr(place, 1, {}) = ANY ({})").format(
        sql.Literal(depth), sql.Literal(sorted(under))
    )


def _key(table: Table) -> sql.Composed:
    return _listed(table.relation.key)


def _listed(columns: Collection[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier("_fabric_row", name) for name in columns)
