"""The values of a field that is kept, or has a resolver, that two regions wrote at once.

The field itself has the newest one, or what the resolver makes of them, in every region. They stay
with the row until somebody writes the field who has them before him: a write of another value does,
and so does `settle`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models, transaction

from regions.current import deployment
from tenants.conflicts.entries import time_of
from tenants.hidden import HiddenRow

_VERSIONS = """
SELECT CAST(k.value AS {type}), k.stamp FROM fabric.kept_values((
       SELECT _fields -> %s FROM {table} WHERE {which})) AS k
"""


@dataclass(frozen=True, slots=True)
class Version:
    """A value of the field, with who wrote it when: the region's name, by that region's clock."""

    value: Any
    region: str | None
    at: datetime


def versions(row: models.Model, field: str) -> list[Version]:
    """All that are kept, the newest first; [] where nobody has changed the field since the row was
    made, or the row is gone. Raises ValueError if the field does not have the rule."""
    hidden = HiddenRow(row, field, "keep_both", "resolve")
    regions = {site.node: site.name for site in deployment().regions.values()}
    found = []
    for value, stamp in hidden.execute(_VERSIONS, [hidden.column]):
        for convert in hidden.field.get_db_converters(hidden.connection):
            value = convert(value, None, hidden.connection)
        found.append(Version(value, regions.get(stamp & 255), time_of(stamp)))
    return found


def settle(row: models.Model, field: str, value: Any) -> None:
    """The field has `value`, and nothing else is kept of those that are known here. Raises
    ValueError as `versions`."""
    hidden = HiddenRow(row, field, "keep_both", "resolve")
    alias = hidden.connection.alias
    with transaction.atomic(using=alias):
        type(row)._base_manager.using(alias).filter(pk=row.pk).update(**{field: value})
        hidden.tell({"settle": hidden.column})
