"""One migration (a field, a table that refers to an old one, an index) over many schemas, beside
the same SQL over as many raw connections; and a run that finds nothing to do.

What is compared runs in this process, from its first connection to its last commit. The run with
nothing to do is the whole command, from the shell.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from bench.frame import Bench, seconds_of
from bench.region import REPOSITORY, run_quietly
from tenants.directory import TenantRecord

KEYS = (
    "tenancy.migrate_200_vs_raw",
    "tenancy.migrate_1000_vs_raw",
    "tenancy.migrate_200_vs_app_ddl",
    "tenancy.migrate_1000_vs_app_ddl",
    "tenancy.migrate_noop_1000_s",
)
WORKERS = 2
PACKAGE = "bench_shop_migrations"
NEXT = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("shop", "{after}")]
    operations = [
        migrations.AddField("item", "weight", models.IntegerField(default=1)),
        migrations.CreateModel("Review", [
            ("id", models.BigAutoField(primary_key=True)),
            ("text", models.TextField()),
            ("stars", models.IntegerField(default=3)),
            ("item", models.ForeignKey("shop.Item", models.CASCADE)),
        ]),
        migrations.AddIndex("item", models.Index(fields=["weight", "id"], name="bench_weight")),
    ]
"""
UNDO = """
DROP TABLE shop_review; DROP INDEX bench_weight; ALTER TABLE shop_item DROP COLUMN weight;
DELETE FROM django_migrations WHERE name = '9999_bench';
DELETE FROM fabric.relation WHERE rel = '{schema}.shop_review';
UPDATE fabric.relation SET columns = array_remove(columns, 'weight')
 WHERE rel = '{schema}.shop_item'
"""


def run(bench: Bench) -> None:
    if bench.wants("tenancy.migrate_noop_1000_s"):
        bench.region.tenants("schema", 8 if bench.quick else 1000)
        _analyze(bench, "bench-schema")
        _measure_noop(bench, "bench-schema")
    for number, runs, cell in ((200, 15, "bench-fleet-200"), (1000, 5, "bench-schema")):
        keys = [f"tenancy.migrate_{number}_vs_{what}" for what in ("raw", "app_ddl")]
        if any(map(bench.wants, keys)):
            wanted = 8 if bench.quick else number
            tenants = bench.region.tenants("schema", wanted, cell=cell)
            _analyze(bench, cell)
            _measure(bench, tenants, cell, keys, runs)


def _analyze(bench: Bench, cell: str) -> None:
    """As autovacuum does within minutes after so many tenants have come."""
    from tenants.seams import cell_spec

    for database in ("control", cell_spec(cell).database):
        with bench.region.administrator(database) as admin:
            admin.execute("ANALYZE")


def _measure_noop(bench: Bench, cell: str) -> None:
    command = [sys.executable, "manage.py", "cell", "migrate", cell]
    environment = bench.region.environment(operator=True)

    def once() -> float:
        return seconds_of(lambda: run_quietly(command, cwd=REPOSITORY, env=environment))

    once()
    bench.record(
        "tenancy.migrate_noop_1000_s",
        [once() for _ in range(bench.runs(7))],
        unit="s",
        target=2,
        better="lower",
        against="the whole command, Python's start included, for a cell of 1,000 schemas",
    )


def _measure(
    bench: Bench, tenants: list[TenantRecord], cell: str, keys: list[str], runs: int
) -> None:
    with _next_version():
        whole, application = _statements(cell, tenants)
        dsn = _owner_dsn(bench, cell)

        def ours() -> float:
            taken = seconds_of(lambda: _migrate(cell))
            _replay(dsn, [(each.schema, UNDO.format(schema=each.schema)) for each in tenants])
            return taken

        def raw() -> float:
            taken = seconds_of(lambda: _replay(dsn, whole))
            _replay(dsn, [(each.schema, UNDO.format(schema=each.schema)) for each in tenants])
            return taken

        def application_only() -> float:
            taken = seconds_of(lambda: _replay(dsn, application))
            _replay(dsn, [(each.schema, UNDO.format(schema=each.schema)) for each in tenants])
            return taken

        said = f"over {len(tenants)} schemas and {WORKERS} raw connections"
        if bench.wants(keys[0]):
            bench.record_ratio(
                keys[0],
                bench.paired(runs, ours, raw),
                target=1.3,
                better="lower",
                against=f"the same final SQL {said}",
            )
        if bench.wants(keys[1]):
            bench.record_ratio(
                keys[1],
                bench.paired(runs, ours, application_only),
                target=None,
                better="lower",
                against=f"the app's own DDL, without isolation and capture, {said}",
            )


@contextmanager
def _next_version() -> Iterator[None]:
    """The measured app has one more migration, in a package of its own."""
    from django.test import override_settings

    with tempfile.TemporaryDirectory(prefix="meridian-bench-") as folder:
        package = Path(folder) / PACKAGE
        package.mkdir()
        present = sorted((REPOSITORY / "bench/peers/shop/migrations").glob("*.py"))
        for path in present:
            (package / path.name).write_text(path.read_text())
        (package / "9999_bench.py").write_text(NEXT.format(after=present[-2].stem))
        sys.path.insert(0, folder)
        try:
            with override_settings(MIGRATION_MODULES={"shop": PACKAGE}):
                yield
        finally:
            sys.path.remove(folder)
            for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
                del sys.modules[name]


def _migrate(cell: str) -> None:
    from django.core.management import call_command

    out = io.StringIO()
    call_command(
        "cell", "migrate", cell, "--parallel", str(WORKERS), "--json", stdout=out, stderr=out
    )
    found = json.loads(out.getvalue()[out.getvalue().index("{") :])
    if found["state"] != "done":
        raise RuntimeError(f"the migration was not done: {found}")


def _statements(
    cell: str, tenants: list[TenantRecord]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """For each schema the SQL that the platform replays, and Django's alone."""
    from django.db import connections

    from tenants.context import tenant_scope
    from tenants.rollout.marks import marks_of
    from tenants.rollout.planning import Options, plan
    from tenants.rollout.sessions import Sessions
    from tenants.rollout.templates import Templates
    from tenants.seams import cell_spec

    spec = cell_spec(cell)
    works = plan(Options(cells=(spec,))).ready
    part = works[0].route.parts[0]
    sessions = Sessions()
    alias = sessions.alias(spec, spec.regions[0])
    try:
        script = Templates(5.0).find(works[0].route, part, works[0].unit, alias)
        with tenant_scope(works[0].unit.tenant):
            with connections[alias].schema_editor(collect_sql=True) as editor:
                for bound in part.bound:
                    app = bound.migration.app_label
                    bound.operation.database_forwards(app, editor, bound.before, bound.after)
            own = "\n".join(editor.collected_sql)
    finally:
        sessions.close()
    marks = ";\n".join(marks_of(part))
    return (
        [(t.schema, script.for_tenant(t.schema, t.id)) for t in tenants],
        [(t.schema, f"{own}\n{marks}") for t in tenants],
    )


def _replay(dsn: str, scripts: list[tuple[str, str]]) -> None:
    """Each in a transaction and a message, over as many connections."""

    def some(number: int) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            for schema, text in scripts[number::WORKERS]:
                message = f'BEGIN; SET LOCAL search_path TO "{schema}";\n{text};\nCOMMIT'
                connection.execute(message.encode())

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(some, range(WORKERS)))


def _owner_dsn(bench: Bench, cell: str) -> str:
    from regions.deployment import OWNER_ROLE
    from tenants.seams import cell_spec

    region: Any = bench.region
    dsn: str = region.deployment.dsn(region.name, cell_spec(cell).database, OWNER_ROLE)
    return dsn
