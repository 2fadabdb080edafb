"""What the signed context and the policies cost, statement by statement.

One table that tenants share, secured by the platform's own code, a million rows of a thousand
tenants. Ours: the application's role, the tenant's signed context in front of each statement, no
word of the tenant in the SQL. Theirs: a role that no policy holds, and `WHERE tenant_id = …` by
hand; no superuser either, for whom PostgreSQL asks for no privilege. Both bind on the client.

`*.unsigned` is the floor of every design whose context travels in the statement's own message: a
plain setting, which anybody could forge, and a policy that only reads it.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
from psycopg import ClientCursor, sql

from bench.awake import awake
from bench.frame import Bench, Pair
from regions.deployment import APP_ROLE, OWNER_ROLE
from tenants.backend.context import CellContext, Prefix
from tenants.backend.cursor import TenantCursor
from tenants.context import current_tenant, tenant_scope
from tenants.directory import TenantRecord

FULLTEXT = ("fulltext", "fulltext.stored", "fulltext.leakproof")
SIGNED = ("count", "list", "get", "insert", *FULLTEXT)
UNSIGNED = ("count", "list", "get")
PREFIX = "tenancy.rls_cost."
KEYS = tuple(PREFIX + name for name in (*SIGNED, *(f"{name}.unsigned" for name in UNSIGNED)))
TARGETS = {"count": 1.3, "list": 1.3, "get": 1.3, "insert": 1.3}
PEER_ROLE = "bench_peer"
TENANTS, ROWS = 1000, 1000
# A pair takes milliseconds, in which the machine may do something else: there are many. And two
# processes of the server differ by a twentieth as long as they live: a few pairs have theirs.
# (statements a measurement, pairs, processes)
RUNS = (40, 20, 20)
FULLTEXT_RUNS = (8, 5, 5)
MATCH = {
    "fulltext": "to_tsvector('english', body)",
    "fulltext.stored": "document",
    "fulltext.leakproof": "document",
}
AGAINST = {
    "fulltext": "the same over an expression's GIN index, which the policy keeps from being used",
    "fulltext.stored": "the same over a stored tsvector: the tenant's rows are read and filtered",
    "fulltext.leakproof": "the same with GIN (tenant_id, document) and ts_match_vq LEAKPROOF",
}
UNSIGNED_POLICY = (
    "ALTER POLICY tenant_rows ON bench_item"
    " USING (tenant_id = (SELECT current_setting('bench.tenant')::uuid)) WITH CHECK (true)"
)
LEAKPROOF = "ALTER FUNCTION pg_catalog.ts_match_vq(tsvector, tsquery) {} LEAKPROOF"


def run(bench: Bench) -> None:
    (tenant,) = bench.region.tenants("shared", 1)
    numbers = 20 if bench.quick else TENANTS
    others = [UUID(int=number + 1) for number in range(numbers - 1)]
    keys = _build(bench, tenant, others)
    dsn = bench.region.deployment.dsn
    database = f"cell_{tenant.cell.replace('-', '_')}"
    key = bench.region.deployment.context_key(tenant.cell)

    @contextmanager
    def sessions(context: CellContext) -> Iterator[tuple[Any, Any]]:
        """A new process of the server for each side; ours sends `context` with each statement."""
        us, they = (dsn(bench.region.name, database, role) for role in (APP_ROLE, PEER_ROLE))
        with (
            psycopg.connect(us, autocommit=True, cursor_factory=TenantCursor) as one,
            psycopg.connect(they, autocommit=True, cursor_factory=ClientCursor) as other,
        ):
            ours: Any = one.cursor()
            ours.context = context
            yield ours, other.cursor()

    measure = partial(_measure, bench, tenant.id, keys, f"{numbers} tenants")
    with bench.region.administrator(database) as admin, tenant_scope(tenant), awake():
        signed = partial(sessions, CellContext(tenant.cell, APP_ROLE, key))
        for name in SIGNED:
            if name == "fulltext.leakproof" and bench.wants(PREFIX + name):
                admin.execute(LEAKPROOF.format(""))
                admin.execute("CREATE EXTENSION IF NOT EXISTS btree_gin SCHEMA pg_catalog")
                admin.execute("CREATE INDEX ON bench_item USING gin (tenant_id, document)")
                admin.execute("VACUUM ANALYZE bench_item")
            measure(signed, name)
        admin.execute(LEAKPROOF.format("NOT"))
        unsigned = partial(sessions, Unsigned(tenant.cell, APP_ROLE, key))
        admin.execute(UNSIGNED_POLICY)
        for name in UNSIGNED:
            measure(unsigned, name, suffix=".unsigned")


class Unsigned(CellContext):
    """A context that is believed."""

    def prefix(self) -> Prefix:
        return Prefix(f"SET LOCAL bench.tenant = '{current_tenant().id}';\n".encode(), 1)


def _measure(
    bench: Bench,
    tenant: UUID,
    keys: list[int],
    size: str,
    sessions: Callable[[], AbstractContextManager[tuple[Any, Any]]],
    name: str,
    *,
    suffix: str = "",
) -> None:
    if not bench.wants(PREFIX + name + suffix):
        return
    fulltext = name.startswith("fulltext")
    batch, pairs_each, times = FULLTEXT_RUNS if fulltext else RUNS
    pairs: list[Pair] = []
    for _ in range(bench.runs(times)):
        with sessions() as (ours, theirs):
            pairs += bench.paired(
                pairs_each,
                partial(_cost, ours, _statements(name, None, keys), batch),
                partial(_cost, theirs, _statements(name, tenant, keys), batch),
            )
    bench.record_ratio(
        PREFIX + name + suffix,
        pairs,
        target=None if suffix else TARGETS.get(name),
        better="lower",
        against=AGAINST.get(name, "the same statement with an explicit WHERE")
        + f"; {size} with {ROWS} rows each; the cores kept from sleeping",
    )


def _build(bench: Bench, tenant: TenantRecord, others: list[UUID]) -> list[int]:
    """The table, as a migration would make it, under the platform's isolation. The keys of the
    tenant's rows."""
    from tenants.isolation.base import secure

    database = f"cell_{tenant.cell.replace('-', '_')}"
    dsn = bench.region.deployment.dsn(bench.region.name, database, OWNER_ROLE)
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute(
            "CREATE TABLE public.bench_item ("
            " id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, title text NOT NULL,"
            " body text NOT NULL, price integer NOT NULL, at timestamptz NOT NULL DEFAULT now(),"
            " document tsvector GENERATED ALWAYS AS (to_tsvector('english', body)) STORED)"
        )
        secure(owner, "public", None)
    bench.say(f"filling {(len(others) + 1) * ROWS} rows")
    with bench.region.administrator(database) as admin:
        admin.execute(
            "INSERT INTO public.bench_item (tenant_id, title, body, price)"
            " SELECT tenant, 'Item ' || n,"
            "        'lorem ipsum dolor sit amet word' || (n * 7919) %% 500 || ' consectetur', n"
            "   FROM generate_series(1, %s) n, unnest(%s::uuid[]) tenant",
            (ROWS, [tenant.id, *others]),
        )
        admin.execute("CREATE INDEX ON public.bench_item USING gin (to_tsvector('english', body))")
        admin.execute("VACUUM ANALYZE public.bench_item")
        password = bench.region.deployment.password(PEER_ROLE)
        admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN BYPASSRLS PASSWORD {}").format(
                sql.Identifier(PEER_ROLE), sql.Literal(password)
            )
        )
        admin.execute(f"GRANT CONNECT ON DATABASE {database} TO {PEER_ROLE}")
        admin.execute(f"GRANT USAGE ON SCHEMA public TO {PEER_ROLE}")
        admin.execute(f"GRANT SELECT, INSERT ON public.bench_item TO {PEER_ROLE}")
        found = admin.execute("SELECT id FROM public.bench_item WHERE tenant_id = %s", [tenant.id])
        return [key for (key,) in found]


def _statements(
    name: str, tenant: UUID | None, keys: list[int]
) -> Callable[[], tuple[str, list[Any]]]:
    """A maker of statements with their parameters; `tenant`: named by hand."""
    own = "" if tenant is None else " AND tenant_id = %s"
    named = [] if tenant is None else [tenant]
    columns = "id, title, price, at"

    def make() -> tuple[str, list[Any]]:
        match name:
            case "count":
                return f"SELECT count(*) FROM bench_item WHERE true{own}", named
            case "list":
                text = f"SELECT {columns} FROM bench_item WHERE true{own} ORDER BY id DESC LIMIT 20"
                return text, named
            case "get":
                number = random.choice(keys)  # noqa: S311 - any row will do
                return f"SELECT {columns} FROM bench_item WHERE id = %s{own}", [number, *named]
            case "insert":
                more, value = (", tenant_id", ", %s") if tenant else ("", "")
                return (
                    f"INSERT INTO bench_item (title, body, price{more})"
                    f" VALUES (%s, %s, %s{value}) RETURNING id",
                    ["New", "A new one", 1, *named],
                )
            case _:
                word = f"word{random.randrange(500)}"  # noqa: S311
                return (
                    f"SELECT {columns} FROM bench_item"
                    f" WHERE {MATCH[name]} @@ plainto_tsquery('english', %s){own}"
                    " ORDER BY id DESC LIMIT 20",
                    [word, *named],
                )

    return make


def _cost(cursor: Any, make: Callable[[], tuple[str, list[Any]]], batch: int) -> float:
    """Seconds a statement: the lower quartile of `batch`, which others disturb least."""
    taken = []
    for _ in range(batch):
        statement = make()
        started = time.perf_counter()
        cursor.execute(*statement)
        cursor.fetchall()
        taken.append(time.perf_counter() - started)
    return statistics.quantiles(taken, n=4)[0]
