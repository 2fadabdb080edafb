"""Cells that are a version behind: made with the app's first migration, before others are added."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import CommandError, call_command

from regions import cells
from regions.current import deployment
from regions.deployment import Deployment
from tenants import router
from tenants.directory import TenantRecord
from tenants.lifecycle import create_cell
from tenants.rollout.crew import Event
from tenants.rollout.planning import Options
from tenants.rollout.run import Report
from tenants.rollout.run import run as rollout
from tenants.rollout.waves import Pace, Share
from tenants.seams import cell_spec, find_tenant, record_for
from testkit.control import end_cell
from tests.tenants.appliers import applying
from tests.tenants.conftest import EU, HOME, onboard, silent
from tests.tenants.migrating.shelf import APP, ShelfApp


@pytest.fixture(scope="package")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShelfApp]:
    """The app is a tenant app while the tests of this package run."""
    folder = tmp_path_factory.mktemp("shelf-app")
    app = ShelfApp(folder)
    sys.path.insert(0, str(folder))
    before = (list(settings.TENANT_APPS), list(settings.INSTALLED_APPS))
    settings.TENANT_APPS = [*before[0], APP]
    apps.set_installed_apps([*before[1], APP])
    router.tenant_labels.cache_clear()
    yield app
    settings.TENANT_APPS = before[0]
    apps.unset_installed_apps()
    router.tenant_labels.cache_clear()
    sys.path.remove(str(folder))
    app.forget()


@pytest.fixture
def shelf(installed: ShelfApp) -> Iterator[ShelfApp]:
    installed.reset()
    yield installed
    installed.reset()


@pytest.fixture(scope="package")
def replicating(control: Deployment) -> Iterator[None]:
    with applying(control, HOME, "mg"):
        yield


class Place:
    """A cell of the first version with some tenants."""

    def __init__(self, mode: str, regions: list[str], tenants: int, policy: str) -> None:
        self.cell = f"mg-{uuid4().hex[:8]}"
        self.mode = mode
        create_cell(
            self.cell, mode=mode, regions=regions, policy=policy, actor="test", progress=silent
        )
        if policy == "active_passive":
            # Nobody grants leases here.
            with cells.administrator(deployment(), HOME, cell_spec(self.cell).database) as session:
                session.execute("UPDATE fabric.gate SET valid_until = 'infinity'")
        self.slugs = [
            onboard(f"{self.cell}-{n}", mode, cell=self.cell).slug for n in range(tenants)
        ]
        self.regions = regions

    @property
    def tenants(self) -> list[TenantRecord]:
        return [record_for(find_tenant(slug)) for slug in self.slugs]


@pytest.fixture
def place(
    control: Deployment, shelf: ShelfApp, replicating: None
) -> Iterator[Callable[..., Place]]:
    """`place(mode, regions=…, tenants=…)`: made before the test adds migrations."""
    made: list[Place] = []

    def make(
        mode: str = "schema",
        regions: list[str] | None = None,
        tenants: int = 2,
        policy: str = "active_active",
    ) -> Place:
        made.append(Place(mode, regions or [HOME], tenants, policy))
        return made[-1]

    yield make
    for each in made:
        end_cell(each.cell)


def migrate(*words: str) -> dict[str, Any]:
    """`cell migrate … --json`: its document, with the exit status under `status`."""
    out = io.StringIO()
    status = 0
    try:
        call_command("cell", "migrate", *words, "--json", stdout=out, stderr=io.StringIO())
    except CommandError as refusal:
        if not out.getvalue():
            raise
        status = refusal.returncode
    document: dict[str, Any] = json.loads(out.getvalue())
    return {**document, "status": status}


def brought(*words: str) -> dict[str, Any]:
    """The same, where everything must go well."""
    report = migrate(*words)
    assert report["status"] == 0, [unit["error"] for unit in report["units"]]
    return report


class Onlooker:
    """Does something before the wave of that number, in the middle of a run."""

    def __init__(self, before_wave: dict[int, Callable[[], Any]]) -> None:
        self._doing = before_wave

    def begin(self, total: int) -> None: ...

    def wave(self, number: int, size: int, reason: str) -> None:
        self._doing.pop(number, lambda: None)()

    def ended(self, event: Event) -> None: ...


def run_with(cell: str, before_wave: dict[int, Callable[[], Any]], **options: Any) -> Report:
    """A run in which the canary is one tenant and the second wave brings all others."""
    pace = Pace(Share(1), Share(100, percent=True), Share(100, percent=True))
    wanted = Options((cell_spec(cell),), pace=pace, **options)
    report = rollout(wanted, actor="test", watch=Onlooker(before_wave))
    assert not [number for number in before_wave if number < 3], "there was no such wave"
    return report


__all__ = ["EU", "HOME", "Path", "Place", "brought", "migrate", "run_with"]
