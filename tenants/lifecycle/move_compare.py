"""Whether each replica of the target has what the source has, told by the servers themselves.

A table's digest is two sums over hashes of its rows' texts, of 64 bits and with different seeds: it
needs no order, nothing but a line a table leaves a server, and it takes a fraction of the time that
reading the rows does. It is there to find errors; nobody gains by making two rows alike.
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
SELECT count(*), coalesce(sum(hashtextextended(said, 0)), 0)::text,
       coalesce(sum(hashtextextended(said, 1)), 0)::text
  FROM (SELECT ROW({columns})::text AS said FROM {table} WHERE {whose} OFFSET 0) AS _rows
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
