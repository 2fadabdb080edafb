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

from dataclasses import dataclass
from decimal import Decimal

from django.db import IntegrityError, models

from regions.replication import rules
from tenants.hidden import HiddenRow

CONSTRAINT = "fabric_bounded"
_HELD = """
SELECT (fabric.rights_held(_fields -> %s, _born, {column}, %s)).* FROM {table} WHERE {which}
"""


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
    hidden = HiddenRow(row, field, "bounded")
    found = hidden.execute(_HELD, [hidden.column, rules.bound(hidden.rule)])
    if not found:
        raise type(row).DoesNotExist  # type: ignore[attr-defined]
    return Rights(*map(Decimal, found[0]))


def ask(row: models.Model, field: str, amount: Decimal | int) -> None:
    """Ask the other regions for rights, so that this one holds `amount`; what they can spare comes
    within seconds, if at all. Committed with the transaction. Raises ValueError as `held`."""
    hidden = HiddenRow(row, field, "bounded")
    hidden.tell({"ask": {hidden.column: str(amount)}})
