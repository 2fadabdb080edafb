"""A fresh tenant's tables without running the migrations again.

The first run is recorded, signed and kept in the control cell; the next tenants and the other
regions replay it in one message. A changed migration file changes the fingerprint.
"""

from __future__ import annotations

import hashlib
import hmac
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from regions.current import deployment
from tenants.databases import control_writer_alias
from tenants.models import Blueprint
from tenants.router import tenant_labels

# They read, or move within a transaction: nothing to replay.
_NOT_REPLAYED = ("SELECT", "SAVEPOINT", "RELEASE", "ROLLBACK", "SHOW")


@cache
def fingerprint() -> str:
    """A digest of the migration files of all tenant apps."""
    digest = hashlib.sha256()
    for label in sorted(tenant_labels()):
        name = f"{apps.get_app_config(label).name}.migrations"
        try:
            package = import_module(name)
        except ModuleNotFoundError as missing:
            if missing.name != name:
                raise
            continue
        for module in sorted(found.name for found in pkgutil.iter_modules(package.__path__)):
            digest.update(f"{name}.{module}\n".encode())
            digest.update((Path(package.__path__[0]) / f"{module}.py").read_bytes())
    return digest.hexdigest()


def find() -> Blueprint | None:
    """The blueprint of the migrations as they are now. Raises nothing on a forged one: it is
    as good as absent."""
    known = Blueprint.objects.filter(fingerprint=fingerprint()).first()
    if known and hmac.compare_digest(known.signature, _signature(known.structure, known.rows)):
        return known
    return None


def keep(structure: list[str], rows: list[str]) -> Blueprint:
    """Store a recorded run for the tenants to come."""
    control = control_writer_alias()
    texts = {"structure": ";\n".join(structure), "rows": ";\n".join(rows)}
    with transaction.atomic(using=control):
        made, _ = Blueprint.objects.using(control).update_or_create(
            fingerprint=fingerprint(),
            defaults={**texts, "signature": _signature(**texts)},
        )
    return made


@contextmanager
def recording(connection: BaseDatabaseWrapper) -> Iterator[list[str]]:
    """Collects, with their parameters merged, the statements that change something."""
    statements: list[str] = []

    def record(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if not sql.lstrip().upper().startswith(_NOT_REPLAYED):
            cursor = context["cursor"].cursor
            for values in params if many else [params]:
                statements.append(cursor.mogrify(sql, values).rstrip().rstrip(";"))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(record):
        yield statements


def _signature(structure: str, rows: str) -> str:
    key = deployment().secrets.derive("blueprint")
    message = f"{fingerprint()}\0{structure}\0{rows}".encode()
    return hmac.digest(key, message, "sha256").hex()
