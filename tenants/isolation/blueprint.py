"""A fresh tenant's tables without running the migrations again.

The first tenant of a mode is built step by step, and what ran is recorded: tables, isolation,
capture, reference rows. It is shortened (`shortest`), signed and kept in the control cell; the
tenants to come and the other regions play it in one message. A changed migration, or a changed way
of isolating, changes the fingerprint.
"""

from __future__ import annotations

import hashlib
import hmac
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from django.apps import apps
from django.conf import settings
from django.db import transaction

from regions.current import deployment
from regions.replication import rules
from regions.topology import TenancyMode
from tenants.databases import CONTROL_ALIAS, control_writer_alias
from tenants.isolation.recording import Script
from tenants.labels import tenant_labels
from tenants.models import Blueprint

# What else shapes a fresh tenant's tables.
_SHAPING = (
    "regions.replication.capture",
    "regions.replication.captured",
    "regions.replication.rules",
    "regions.replication.reference_ids",
)
_SHAPING_PACKAGES = ("tenants.backend", "tenants.isolation")

_verified: dict[str, Script] = {}


@cache
def fingerprint() -> str:
    """A digest of everything that a fresh tenant's tables follow from."""
    digest = hashlib.sha256(repr(sorted(settings.MERIDIAN_LOCAL_TABLES)).encode())
    digest.update(rules.as_json().encode())
    for name, path in _sources():
        digest.update(f"{name}\n".encode())
        digest.update(path.read_bytes())
    for model in apps.get_models():
        if model._meta.app_label in tenant_labels():
            options = model._meta
            names = (options.label, options.default_permissions, options.permissions)
            digest.update(repr(names).encode())
    return digest.hexdigest()


def find(mode: TenancyMode) -> Script | None:
    """The blueprint of what the code makes now. A forged one is as good as absent."""
    name = _name(mode)
    if name not in _verified:
        known = Blueprint.objects.using(CONTROL_ALIAS).filter(name=name).first()
        if known is None:
            return None
        script = Script(known.script, known.schema, known.tenant)
        if not hmac.compare_digest(known.signature, _signature(name, script)):
            return None
        _verified[name] = script
    return _verified[name]


def keep(mode: TenancyMode, script: Script) -> None:
    """Store a recorded run for the tenants to come."""
    if not script.portable:
        return
    name, control = _name(mode), control_writer_alias()
    values = {
        "script": script.text,
        "schema": script.schema,
        "tenant": script.tenant,
        "signature": _signature(name, script),
    }
    with transaction.atomic(using=control):
        Blueprint.objects.using(control).update_or_create(name=name, defaults=values)
    _verified[name] = script


def _name(mode: TenancyMode) -> str:
    return f"{mode.value}:{fingerprint()}"


def _sources() -> Iterator[tuple[str, Path]]:
    for name in _SHAPING:
        yield name, Path(import_module(name).__file__ or "")
    for name in _SHAPING_PACKAGES:
        yield from _modules(name, import_module(name))
    for label in sorted(tenant_labels()):
        name = f"{apps.get_app_config(label).name}.migrations"
        try:
            package = import_module(name)
        except ModuleNotFoundError as missing:
            if missing.name != name:
                raise
            continue
        yield from _modules(name, package)


def _modules(name: str, package: ModuleType) -> Iterator[tuple[str, Path]]:
    for module in sorted(found.name for found in pkgutil.iter_modules(package.__path__)):
        yield f"{name}.{module}", Path(package.__path__[0]) / f"{module}.py"


def _signature(name: str, script: Script) -> str:
    key = deployment().secrets.derive("blueprint")
    message = "\0".join((name, script.schema, str(script.tenant), script.text)).encode()
    return hmac.digest(key, message, "sha256").hex()
