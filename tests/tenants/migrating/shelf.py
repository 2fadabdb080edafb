"""A small tenant app whose migrations tests write as they go, in a package of its own."""

from __future__ import annotations

import importlib
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from django.apps import apps
from django.db import connections

from tenants.isolation import blueprint

APP = "shelf"
_MODELS = """
from django.db import models

class Book(models.Model):
    title = models.CharField(max_length=100)

class Shelf(models.Model):
    name = models.CharField(max_length=50)
"""
_FIRST = """
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    dependencies = [("contenttypes", "0002_remove_content_type_name")]
    operations = [
        migrations.CreateModel("Book", [
            ("id", models.BigAutoField(primary_key=True)),
            ("title", models.CharField(max_length=100)),
            ("note", models.CharField(max_length=100, null=True)),
        ]),
    ]
"""
_NEXT = """
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import F, Q
from django.db.models.functions import Now

{preamble}

class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = [("shelf", "{after}")]
    operations = [{operations}]
"""
# A subprocess of a test has the same deployment and the same app.
_SETTINGS = """
from tests.tenants.operator_settings import *
TENANT_APPS = [*TENANT_APPS, "shelf"]
INSTALLED_APPS = [*INSTALLED_APPS, "shelf"]
"""


# For a `RunPython` in the middle of a run: what happens at the same time, elsewhere.
MEANWHILE = """
def meanwhile(apps, schema_editor):
    from tests.tenants.migrating.shelf import happen
    happen()
"""
_meanwhile: list[Callable[[], object]] = []


def happen() -> None:
    """The first time: what was given to `ShelfApp.meanwhile`, in a thread, to its end."""
    while _meanwhile:
        in_a_thread(_meanwhile.pop())


def in_a_thread(work: Callable[[], object]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_alone, work).result()


def _alone(work: Callable[[], object]) -> None:
    try:
        work()
    finally:
        connections.close_all()  # this thread's


class ShelfApp:
    """`folder` is on `sys.path` while the app is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.migrations = folder / APP / "migrations"
        self.migrations.mkdir(parents=True)
        (folder / APP / "__init__.py").write_text("")
        (folder / APP / "models.py").write_text(_MODELS)
        (folder / "shelf_settings.py").write_text(_SETTINGS)
        (self.migrations / "__init__.py").write_text("")
        self.reset()

    def meanwhile(self, work: Callable[[], object]) -> None:
        """Done when a migration calls `meanwhile`."""
        _meanwhile.append(work)

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """The code is an older one."""
        path = self.migrations / f"{name}.py"
        text = path.read_text()
        path.unlink()
        self._reload()
        yield
        path.write_text(text)
        self._reload()

    def reset(self) -> None:
        """As the first version of the app was."""
        _meanwhile.clear()
        for path in self.migrations.glob("0*.py"):
            path.unlink()
        (self.migrations / "0001_initial.py").write_text(_FIRST)
        self._reload()

    def forget(self) -> None:
        """The next one is another, from another folder."""
        self.reset()
        for module in [name for name in sys.modules if name.partition(".")[0] == APP]:
            del sys.modules[module]
        apps.all_models.pop(APP, None)

    def add(
        self, operations: str, *, name: str = "next", preamble: str = "", atomic: bool = True
    ) -> str:
        """Another migration, after those that are there; returns its name."""
        present = sorted(path.stem for path in self.migrations.glob("0*.py"))
        made = f"{len(present) + 1:04}_{name}"
        text = _NEXT.format(
            preamble=textwrap.dedent(preamble),
            atomic=atomic,
            after=present[-1],
            operations=operations,
        )
        (self.migrations / f"{made}.py").write_text(text)
        self._reload()
        return made

    def replace(self, name: str, old: str, new: str) -> None:
        """Somebody mends a migration."""
        path = self.migrations / f"{name}.py"
        path.write_text(path.read_text().replace(old, new))
        self._reload()

    def _reload(self) -> None:
        for module in [name for name in sys.modules if name.startswith(f"{APP}.migrations")]:
            del sys.modules[module]
        shutil.rmtree(self.migrations / "__pycache__", ignore_errors=True)
        importlib.invalidate_caches()
        blueprint.fingerprint.cache_clear()
