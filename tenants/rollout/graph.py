"""The migrations of this code: loaded once, asked for each starting point.

A starting point is what `django_migrations` says: pairs of app and name. A migration that is done
in part has a mark there as well, its name with the number of operations: `0005_split#2`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from tenants.errors import InvalidRequest
from tenants.labels import tenant_labels
from tenants.rollout.handlers import with_handlers
from tenants.rollout.renamed import with_content_types
from tenants.rollout.steps import Part, divide

Progress = frozenset[tuple[str, str]]
MARK = "#"  # no migration's name has one: names are modules


class Loader(MigrationLoader):
    """Django's, for a starting point that was read elsewhere. Squashed migrations count as Django
    counts them."""

    def __init__(self, applied: Progress, disk: MigrationLoader | None = None) -> None:
        self._applied: dict[tuple[str, str], Any] = dict.fromkeys(applied)
        self._disk = disk
        super().__init__(None, ignore_no_migrations=True)

    @property
    def applied_migrations(self) -> dict[tuple[str, str], Any]:
        return self._applied

    @applied_migrations.setter
    def applied_migrations(self, _: dict[tuple[str, str], Any]) -> None:
        """Without a connection Django means none."""

    def load_disk(self) -> None:
        if self._disk is None:
            super().load_disk()
            return
        self.disk_migrations = self._disk.disk_migrations
        self.unmigrated_apps = self._disk.unmigrated_apps
        self.migrated_apps = self._disk.migrated_apps


class Graph:
    """Raises InvalidRequest when two migrations of an app have no order."""

    def __init__(self) -> None:
        self._disk = Loader(frozenset())
        for (app, _), migration in self._disk.disk_migrations.items():
            if app in tenant_labels():
                every = list(with_content_types(migration.operations))
                migration.operations = every  # type: ignore[misc]
        conflicts = {
            app: names
            for app, names in self._disk.detect_conflicts().items()
            if app in tenant_labels()
        }
        if conflicts:
            said = "; ".join(f"{app}: {', '.join(names)}" for app, names in conflicts.items())
            raise InvalidRequest(
                f"Migrations have no order ({said}): run `manage.py makemigrations --merge` first."
            )
        # Thousands of tenants stand at a few points.
        self.at = lru_cache(maxsize=64)(self._at)
        self.parts = lru_cache(maxsize=64)(self._parts)
        self.unknown = lru_cache(maxsize=64)(self._unknown)
        self.out_of_order = lru_cache(maxsize=64)(self._out_of_order)

    def _at(self, progress: Progress) -> Loader:
        return Loader(frozenset(done for done in progress if MARK not in done[1]), self._disk)

    def missing(self, progress: Progress) -> list[Migration]:
        """What this code has and the starting point lacks, in order."""
        loader, labels = self.at(progress), tenant_labels()
        found: dict[tuple[str, str], Migration] = {}
        for app, name in loader.graph.leaf_nodes():
            if app in labels:
                for node in loader.graph.forwards_plan((app, name)):
                    if node not in loader.applied_migrations:
                        found[node] = loader.graph.nodes[node]
        return list(found.values())

    def _parts(self, progress: Progress, until: Progress | None = None) -> Sequence[Part]:
        """How to come from one starting point to this code, or only as far as another is."""
        plan = []
        for migration in self.missing(progress):
            stop = len(migration.operations)
            if until is not None and (migration.app_label, migration.name) not in until:
                stop = operations_done(until, migration)
            first = operations_done(progress, migration)
            if until is None or first < stop or (migration.app_label, migration.name) in until:
                plan.append((migration, first, stop))
        if not plan:
            return []
        parts = divide(plan, self._state(progress))
        if until is None:
            return with_handlers(parts)
        for part in parts:
            for migration in [
                each for each in part.completes if (each.app_label, each.name) not in until
            ]:
                # Its operations are done there, and what comes after them is not.
                part.completes.remove(migration)
                part.reaches = (migration, len(migration.operations))
        return parts

    @property
    def fingerprint(self) -> str:
        """A digest of which migrations this code has."""
        labels = tenant_labels()
        names = sorted(node for node in self._disk.graph.nodes if node[0] in labels)
        return hashlib.sha256(repr(names).encode()).hexdigest()

    def newest(self) -> Progress:
        """What a tenant that was made with this code has applied, at least."""
        return frozenset(
            (app, name) for app, name in self._disk.graph.leaf_nodes() if app in tenant_labels()
        )

    def _unknown(self, progress: Progress) -> list[str]:
        """Migrations of tenant apps that were applied and that this code doesn't have."""
        known = self._disk.disk_migrations.keys() | {
            replaced
            for migration in self._disk.disk_migrations.values()
            for replaced in migration.replaces
        }
        return sorted(
            f"{app}.{name}"
            for app, name in progress
            if app in tenant_labels() and MARK not in name and (app, name) not in known
        )

    def _out_of_order(self, progress: Progress) -> list[str]:
        """Migrations that were applied before one that they depend on: somebody did it by hand."""
        loader = self.at(progress)
        return sorted(
            f"{node[0]}.{node[1]} without {parent.key[0]}.{parent.key[1]}"
            for node in loader.applied_migrations
            if node in loader.graph.nodes
            for parent in loader.graph.node_map[node].parents
            if parent.key not in loader.applied_migrations
        )

    def _state(self, progress: Progress) -> ProjectState:
        """The models as the starting point has them."""
        loader, labels = self.at(progress), tenant_labels()
        state = ProjectState(real_apps=loader.unmigrated_apps)
        seen = set()
        for leaf in loader.graph.leaf_nodes():
            for node in loader.graph.forwards_plan(leaf):
                if node in seen or leaf[0] not in labels:
                    continue
                seen.add(node)
                migration = loader.graph.nodes[node]
                if node in loader.applied_migrations:
                    migration.mutate_state(state, preserve=False)
                else:
                    for operation in migration.operations[: operations_done(progress, migration)]:
                        operation.state_forwards(migration.app_label, state)
        return state


def operations_done(progress: Iterable[tuple[str, str]], migration: Migration) -> int:
    """How many operations of a migration that is not complete are done."""
    prefix = f"{migration.name}{MARK}"
    return max(
        (
            int(name.removeprefix(prefix))
            for app, name in progress
            if app == migration.app_label and name.startswith(prefix)
        ),
        default=0,
    )
