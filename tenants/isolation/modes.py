"""From a cell's tenancy mode to the code that implements it."""

from __future__ import annotations

from collections.abc import Mapping

from regions.topology import CellSpec, TenancyMode
from tenants.errors import InvalidRequest
from tenants.isolation.base import Isolation
from tenants.isolation.dedicated import Dedicated
from tenants.isolation.schema import Schema
from tenants.isolation.shared import Shared

_MODES: Mapping[TenancyMode, type[Isolation]] = {
    TenancyMode.SHARED: Shared,
    TenancyMode.SCHEMA: Schema,
    TenancyMode.DEDICATED: Dedicated,
}


def isolation_of(spec: CellSpec) -> Isolation:
    """Raises InvalidRequest for the control cell, which has no tenants."""
    try:
        return _MODES[spec.mode](spec)
    except KeyError:
        raise InvalidRequest(f"Cell {spec.name!r} holds no tenants.") from None
