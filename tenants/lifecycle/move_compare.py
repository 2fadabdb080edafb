"""Whether each replica of the target has what the source has, told by the servers themselves.

A table's digest is two sums over SHA-256 of its rows' texts, 64 bits each: no order, nothing but
a line a table leaves a server, and it takes a fraction of the time that reading the rows does.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from psycopg import sql

from tenants.errors import MoveFailed
from tenants.lifecycle.move_contents import (
    PLAIN_TEXT,
    Connection,
    Content,
    table_of,
    whose,
)
from tenants.lifecycle.move_side import Side

Digest = tuple[int, str, str]  # rows, and the sums

_DIGEST = sql.SQL("""
SELECT count(*), coalesce(sum(('x' || left(hash, 16))::bit(64)::bigint), 0)::text,
       coalesce(sum(('x' || substr(hash, 17, 16))::bit(64)::bigint), 0)::text
  FROM (SELECT encode(sha256(convert_to(ROW({columns})::text, 'UTF8')), 'hex') AS hash
          FROM {table} WHERE {whose}) AS _rows
""")


def require_equal(source: Side, target: Side, contents: list[Content]) -> int:
    """How many rows there are. Both sides are fenced and have settled. Raises MoveFailed, naming
    the tables and the region."""
    with ThreadPoolExecutor(max_workers=1 + len(target.sessions)) as pool:
        expected = pool.submit(_digests, source.sessions[source.home], source, contents)
        found = {
            region: pool.submit(_digests, session, target, contents)
            for region, session in target.sessions.items()
        }
    read = expected.result()
    for region, digests in found.items():
        unlike = sorted(name for name, digest in digests.result().items() if digest != read[name])
        if unlike:
            raise MoveFailed(f"the copy in {region} is not what was read ({', '.join(unlike)})")
    return sum(rows for rows, *_ in read.values())


def _digests(session: Connection, side: Side, contents: list[Content]) -> dict[str, Digest]:
    with session.transaction():
        session.execute(PLAIN_TEXT)
        return {content.name: _digest(session, side, content) for content in contents}


def _digest(session: Connection, side: Side, content: Content) -> Digest:
    columns = sql.SQL(", ").join(map(sql.Identifier, content.columns))
    statement = _DIGEST.format(columns=columns, table=table_of(side, content), whose=whose(side))
    digest: Digest = session.execute(statement).fetchall()[0]
    return digest
