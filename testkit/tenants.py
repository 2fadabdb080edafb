"""The tenants that a session's tests share: made when a test first wants them, then kept.

Guarantees that a test finds them as they were made. What it does is either undone with its
transaction, or, if it commits, by taking the cell's database from its template again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from django.core.cache import caches
from django.db import connections, transaction
from redis import RedisError

from regions.deployment import Deployment
from regions.topology import CellSpec, TenancyMode
from tenants.context import tenant_scope
from tenants.databases import CONTROL_ALIAS, cell_alias
from tenants.directory import TenantRecord
from tenants.files import transfer
from tenants.isolation.modes import isolation_of
from tenants.lifecycle import create_cell
from tenants.seams import cell_spec, record_for
from testkit import templates
from testkit.control import onboard, prepare_control, silent

MODES = tuple(mode.value for mode in TenancyMode if mode is not TenancyMode.CONTROL)


class Tenants:
    """Of all modes, in cells of their own in the deployment's first region."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.home = next(iter(deployment.regions))
        self._made: dict[str, list[TenantRecord]] = {mode: [] for mode in MODES}
        self._kept: dict[str, set[str]] = {}
        prepare_control(deployment)

    def get(self, mode: str, number: int) -> TenantRecord:
        """The mode's tenant of this number, from 0. They share a cell where it has room."""
        made = self._made[mode]
        while len(made) <= number:
            made.append(_apart(lambda: self._make(mode, len(made) + 1)))
        return made[number]

    def _make(self, mode: str, serial: int) -> TenantRecord:
        alone = mode == TenancyMode.DEDICATED
        name = f"testkit-{mode}" + (f"-{serial}" if alone else "")
        if alone or serial == 1:
            place: dict[str, Any] = {"regions": [self.home], "policy": "active_active"}
            create_cell(name, mode=mode, actor="test", progress=silent, **place)
        return record_for(onboard(f"{mode}-{serial}", mode, cell=name))

    def of(self, spec: CellSpec) -> list[TenantRecord]:
        return [tenant for tenant in self._made[spec.mode] if tenant.cell == spec.name]

    def keep(self, spec: CellSpec) -> None:
        if spec.name not in self._kept:
            templates.keep(spec)
            self._kept[spec.name] = {tenant.slug for tenant in self.of(spec)}

    def put_back(self, spec: CellSpec) -> None:
        templates.put_back(spec)
        for tenant in self.of(spec):
            if tenant.slug not in self._kept[spec.name]:
                isolation_of(spec).prepare_tenant(tenant, silent)


class Visit:
    """What one test may do with the tenants of one mode."""

    def __init__(self, tenants: Tenants, mode: str, *, commits: bool) -> None:
        self._tenants = tenants
        self._mode = mode
        self._commits = commits
        self._stack = ExitStack()
        self._given: list[TenantRecord] = []
        self._cells: set[str] = set()
        if not commits:
            self._stack.callback(_begin(CONTROL_ALIAS, None))

    def next(self) -> TenantRecord:
        """Another tenant, who has nothing yet."""
        tenant = self._tenants.get(self._mode, len(self._given))
        if tenant.cell not in self._cells:
            self._cells.add(tenant.cell)
            if self._commits:
                spec = cell_spec(tenant.cell)
                self._tenants.keep(spec)
                self._stack.callback(self._tenants.put_back, spec)
            else:
                self._stack.callback(_begin(cell_alias(tenant.cell), tenant))
        self._given.append(tenant)
        return tenant

    def end(self) -> None:
        try:
            self._stack.close()
        finally:
            for tenant in self._given:
                _forget_files_and_caches(tenant)


def _begin(alias: str, tenant: TenantRecord | None) -> Callable[[], None]:
    """A transaction; what is returned rolls it back, after its deferred constraints were checked:
    what a commit would refuse fails the test."""
    block = transaction.atomic(using=alias)
    block._from_testcase = True  # type: ignore[attr-defined]
    with tenant_scope(tenant):
        block.__enter__()

    def undo() -> None:
        connection = connections[alias]
        with tenant_scope(tenant):
            try:
                if tenant is not None and not connection.needs_rollback:
                    connection.check_constraints()
            finally:
                transaction.set_rollback(True, using=alias)
                block.__exit__(None, None, None)

    return undo


def _forget_files_and_caches(tenant: TenantRecord) -> None:
    transfer.remove(tenant.id)
    with tenant_scope(tenant):
        for cache in caches.all(initialized_only=True):
            # One that does not answer has kept nothing.
            with suppress(RedisError):
                cache.clear()


def _apart(work: Callable[[], TenantRecord]) -> TenantRecord:
    """In a thread: its connections are not in the transactions of the test."""
    done: list[TenantRecord] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
