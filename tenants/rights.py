"""What a region may take from a bounded counter, and how it comes by more.

A field with the rule `bounded` is taken from by ordinary code; what a region has no rights for is
refused with IntegrityError. These functions tell how much a region may take, and ask the others:

    try:
        Product.objects.filter(pk=pk).update(stock=F("stock") - 1)
    except IntegrityError as error:
        if not rights.is_refusal(error): raise
        rights.ask(product, "stock", 1)     # tell the customer to try again in a moment
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, models

from regions.replication import rules

CONSTRAINT = "fabric_bounded"


@dataclass(frozen=True, slots=True)
class Rights:
    """How much may be taken in this region, and in all others as far as is known here."""

    here: Decimal
    elsewhere: Decimal


def is_refusal(error: IntegrityError) -> bool:
    """Whether it says that this region holds no rights for so much."""
    return getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) == CONSTRAINT


def held(row: models.Model, field: str) -> Rights:
    """Raises ValueError if the field has no bound, and the model's DoesNotExist."""
    place = _Place(row, field)
    found = place.execute(
        "SELECT (fabric.rights_held(_fields -> %s, _born, {column}, %s)).* FROM {table}",
        [place.column, place.bound],
    )
    if not found:
        raise type(row).DoesNotExist  # type: ignore[attr-defined]
    return Rights(*map(Decimal, found[0]))


def ask(row: models.Model, field: str, amount: Decimal | int) -> None:
    """Ask the other regions for rights, so that this one holds `amount`; what they can spare comes
    within seconds, if at all. Committed with the transaction. Raises ValueError as `held`."""
    place = _Place(row, field)
    wanted = json.dumps({"ask": {place.column: str(amount)}})
    place.execute("UPDATE {table} SET _base = %s", [wanted])


class _Place:
    """One row of a bounded field's table, in the database that the row is from."""

    def __init__(self, row: models.Model, name: str) -> None:
        model = type(row)
        field = model._meta.get_field(name)
        self.column = str(getattr(field, "column", ""))
        rule = rules.declared(model._meta.db_table, [self.column]).get(self.column, "")
        if rules.kind(rule) != "bounded":
            raise ValueError(f"{model._meta.label}.{name} does not have the rule `bounded`.")
        self.bound = rules.bound(rule)
        self._row = row

    def execute(self, statement: str, params: list[Any]) -> list[tuple[Any, ...]]:
        """The statement, about the row; its rows, if it has some."""
        meta = self._row._meta
        connection = connections[self._row._state.db or DEFAULT_DB_ALIAS]
        quote = connection.ops.quote_name
        # The names are the model's own.
        where = " AND ".join(f"{quote(str(key.column))} = %s" for key in meta.pk_fields)
        text = statement.format(table=quote(meta.db_table), column=quote(self.column))
        keys = [
            key.get_db_prep_value(getattr(self._row, key.attname), connection)
            for key in meta.pk_fields
        ]
        with connection.cursor() as cursor:
            cursor.execute(f"{text} WHERE {where}", [*params, *keys])
            return list(cursor.fetchall()) if cursor.description else []
