"""Many real tenants, quickly: the lifecycle's own steps, without waiting for servers that
aren't there, and one publication at the end."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from django.db import connections

from regions.models import Cell
from tenants.directory import TenantRecord
from tenants.lifecycle import create_cell, provision
from tenants.models import Tenant
from tenants.seams import record_for

if TYPE_CHECKING:
    from bench.frame import Bench

ACTOR = "bench"


def ensure(bench: Bench, mode: str, number: int, *, cell: str | None = None) -> list[TenantRecord]:
    """`number` active tenants of the mode, made if they aren't there."""
    usual = f"bench-{mode}"
    place = cell or usual
    prefix = f"{mode}-" if place == usual else f"{place}-"
    if mode != "dedicated" and not Cell.objects.filter(name=place).exists():
        create_cell(
            place,
            mode=mode,
            regions=[bench.region.name],
            policy="active_active",
            actor=ACTOR,
            progress=_silent,
        )
    known = Tenant.objects.filter(slug__startswith=prefix).count()
    wanted = [f"{prefix}{count:04}" for count in range(known, number)]
    if wanted:
        bench.say(f"onboarding {len(wanted)} {mode} tenants")
        started = time.monotonic()
        # The first leaves the blueprint behind that the others replay.
        _onboard(mode, wanted[0], place)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda slug: _onboard_in_thread(mode, slug, place), wanted[1:]))
        bench.region.publish()
        bench.say(f"… {(time.monotonic() - started) / len(wanted) * 1000:.0f} ms each")
    found = Tenant.objects.select_related("cell").prefetch_related("domains")
    return [record_for(tenant) for tenant in found.filter(slug__startswith=prefix)[:number]]


def _onboard(mode: str, slug: str, place: str) -> None:
    cell = None if mode == "dedicated" else place
    policy = "active_active" if mode == "dedicated" else None
    provision(
        slug,
        mode=mode,
        cell=cell,
        residency="EU",
        policy=policy,
        actor=ACTOR,
        progress=_silent,
    )


def _onboard_in_thread(mode: str, slug: str, place: str) -> None:
    try:
        _onboard(mode, slug, place)
    finally:
        for connection in connections.all(initialized_only=True):
            if "cell:" in connection.alias:
                connection.close()


def _silent(step: str, percent: int) -> None:
    """Progress that nobody reads."""
