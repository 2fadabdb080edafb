"""How long onboarding takes, from the call until the region serves the tenant.

What is timed is `tenants.lifecycle.provision` in a process that is up, as a worker's is, with the
region's real agent and web server beside it: it returns when the web server answers for the new
host. The pool is filled before, and not while, warm runs are timed; cold runs find it empty.
"""

from __future__ import annotations

import re
import subprocess
from uuid import uuid4

from bench.frame import Bench, seconds_of
from bench.live import live

MODES = {"shared": 15.0, "schema": 50.0, "dedicated": 150.0}
COLD = "tenancy.onboard_cold_vs_raw_ddl.schema"
BARE = "tenancy.onboard_cold_vs_bare_ddl.schema"
KEYS = (*(f"tenancy.onboard_ms.{mode}" for mode in MODES), COLD, BARE)
ACTOR = "bench"
TENANTS = 1000
DEDICATED = 50
RUNS = {"shared": 30, "schema": 30, "dedicated": 12}
COLD_RUNS = 15
STACK = "one region with its real agent and web server (granian), no edge, waited for until served"


def run(bench: Bench) -> None:
    for mode in MODES:
        if bench.wants(f"tenancy.onboard_ms.{mode}"):
            _tenants(bench, mode)
    cold = bench.wants(COLD) or bench.wants(BARE)
    if cold:
        _tenants(bench, "schema")
    with live(bench.region):
        for mode in MODES:
            if bench.wants(f"tenancy.onboard_ms.{mode}"):
                _warm(bench, mode)
        if cold:
            _cold(bench)


def _tenants(bench: Bench, mode: str) -> None:
    number = DEDICATED if mode == "dedicated" else TENANTS
    bench.region.tenants(mode, 5 if bench.quick else number)


def _warm(bench: Bench, mode: str) -> None:
    from tenants.databases import control_writer_alias
    from tenants.models import Tenant

    runs = bench.runs(RUNS[mode])
    # One to warm up.
    _fill(mode, runs + 1)
    values = [seconds_of(lambda: _onboard(mode)) * 1000 for _ in range(runs + 1)][1:]
    tenants = Tenant.objects.using(control_writer_alias()).filter(state="active")
    own = tenants.filter(cell__mode=mode).count()
    bench.record(
        f"tenancy.onboard_ms.{mode}",
        values,
        unit="ms",
        target=MODES[mode],
        better="lower",
        against=f"nothing: {STACK}; warm pool; {tenants.count()} tenants in the cluster, "
        f"{own} of them {mode}",
    )
    _drain()


def _cold(bench: Bench) -> None:
    _drain()
    ddl = _final_ddl(bench, _onboard("schema"))
    bare = _without_platform(ddl)
    for key, target, text, what in (
        (COLD, 1.5, ddl, "pg_dump's DDL of a finished tenant schema"),
        (BARE, None, bare, "the same without triggers, policies and grants"),
    ):
        if bench.wants(key):
            pairs = bench.paired(
                COLD_RUNS,
                lambda: seconds_of(lambda: _onboard("schema")),
                lambda text=text: _replay(bench, text),
            )
            bench.record_ratio(
                key,
                pairs,
                target=target,
                better="lower",
                against=f"{what}, in one message on an open connection; ours is the whole "
                f"onboarding with an empty pool: {STACK}",
            )


def _onboard(mode: str) -> str:
    """The tenant's schema."""
    from tenants.lifecycle import provision

    # Dedicated: as it is without further wishes, active-passive, with a lease.
    cell = None if mode == "dedicated" else f"bench-{mode}"
    tenant = provision(
        f"o{uuid4().hex[:12]}",
        mode=mode,
        cell=cell,
        residency="EU",
        actor=ACTOR,
        progress=_silent,
    )
    return tenant.own_schema


def _fill(mode: str, number: int) -> None:
    from django.conf import settings

    from tenants.lifecycle import fill_pools

    if mode == "shared":
        return
    place = "schema:bench-schema" if mode == "schema" else "dedicated:EU:active_passive"
    settings.MERIDIAN_SPARES = {place: number}
    problems = [done.problem for done in fill_pools(actor=ACTOR, progress=_silent) if done.problem]
    if problems:
        raise RuntimeError(f"the pool is not filled: {problems}")


def _drain() -> None:
    from tenants.lifecycle import drain_pools

    drain_pools(actor=ACTOR, progress=_silent)


def _final_ddl(bench: Bench, schema: str) -> str:
    """The statements that make this schema as it is, by pg_dump."""
    from infra.postgres.binaries import find_postgres
    from regions.deployment import ADMIN_ROLE

    region = bench.region
    dsn = region.deployment.dsn(region.name, "cell_bench_schema", ADMIN_ROLE)
    command = [
        *(str(find_postgres({}).folder / "pg_dump"), "--schema-only", "--no-comments"),
        *(f"--schema={schema}", "--no-owner", dsn),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("\\", "--", "SET "))]
    text = "\n".join(line for line in lines if line and "pg_catalog.set_config" not in line)
    return text.replace(schema, "t_raw")


def _without_platform(ddl: str) -> str:
    kept = [
        statement
        for statement in re.split(r";\n", ddl)
        if not re.match(
            r"\s*(CREATE TRIGGER|CREATE POLICY|GRANT|REVOKE|ALTER DEFAULT PRIVILEGES"
            r"|ALTER TABLE .*ROW LEVEL SECURITY)",
            statement,
        )
    ]
    return ";\n".join(kept)


def _replay(bench: Bench, ddl: str) -> float:
    """Seconds; what it made is dropped again."""
    with bench.region.administrator("cell_bench_schema") as admin:
        seconds = seconds_of(lambda: admin.execute(ddl.encode()))
        admin.execute("DROP SCHEMA t_raw CASCADE")
    return seconds


def _silent(step: str, percent: int) -> None:
    """Progress that nobody reads."""
