"""New cells' databases, as copies of their mode's template in each region.

Guarantees that a template is what this code would make in an empty database, with this deployment's
settings and without a key: whatever that follows from is part of its name. So is the script that
shared tables were made by, so that a cell's replicas have the same rows in them.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from django.conf import settings

from regions import cells, templates
from regions.current import deployment
from regions.topology import CellSpec, TenancyMode, WritePolicy
from tenants.claim import claim
from tenants.errors import CellBusy
from tenants.isolation import blueprint, tenancy
from tenants.isolation.base import Progress
from tenants.isolation.modes import isolation_of
from tenants.isolation.owner import owner

WAIT_SECONDS = 120.0


def copy(spec: CellSpec, region: str, progress: Progress) -> bool:
    """The cell's database there, made of the template, which is made first if need be. False if
    there is a database of that name already: then nothing is changed."""
    with cells.administrator(deployment(), region) as admin:
        if cells.database_exists(admin, spec.database):
            return False
    templates.copy(deployment(), spec, region, _template(spec.mode, region, progress))
    with owner(spec, region) as connection:
        tenancy.set_key(connection, deployment().context_key(spec.name))
    return True


def name_of(mode: TenancyMode) -> str:
    tables = blueprint.find(mode) if mode is TenancyMode.SHARED else None
    parts = [blueprint.fingerprint(), repr(settings.MERIDIAN_EXTENSIONS), _texts()]
    parts += [tables.text] if tables else []
    return f"{_kind(mode)}{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"


def _kind(mode: TenancyMode) -> str:
    return f"template_{mode.value}_"


def _template(mode: TenancyMode, region: str, progress: Progress) -> str:
    name = name_of(mode)
    busy = CellBusy(f"Another process makes the template of {mode.value} cells. Try again later.")
    with cells.administrator(deployment(), region) as admin:
        if cells.database_exists(admin, name):
            return name
        # One region after the other: the first leaves the script that the others play, which is
        # part of the name.
        with claim(f"template {mode.value}", busy, patience=WAIT_SECONDS):
            if not cells.database_exists(admin, name_of(mode)):
                _make(mode, region, progress)
    return name_of(mode)


def _make(mode: TenancyMode, region: str, progress: Progress) -> None:
    progress(f"the template of {mode.value} cells in {region}", 20)
    # No cell has this name: it does not begin with a letter.
    spec = CellSpec(f"-{mode.value}", mode, WritePolicy.ACTIVE_PASSIVE, (region,))
    templates.begin(deployment(), spec, region)
    isolation_of(spec).prepare_cell(progress)
    with owner(spec, region) as connection:
        tenancy.forget_key(connection)
    templates.seal(deployment(), spec, region, name_of(mode), kind=_kind(mode))


@cache
def _texts() -> str:
    """Of the SQL that is run in each cell's database; modules are in the fingerprint."""
    found = hashlib.sha256(templates.version().encode())
    for file in sorted(resources.files("tenants.isolation").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            found.update(file.read_bytes())
    return found.hexdigest()
