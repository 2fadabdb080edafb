"""Rows of the shop, the same for every tenant: what keeps tenants apart is then seen."""

from __future__ import annotations

from tests.tenants.shop.models import (
    Booking,
    Employee,
    Note,
    Parcel,
    Person,
    Place,
    Product,
    Rate,
    Supplier,
)


def clear() -> None:
    """Of the tenant in scope."""
    Product.objects.update(replaces=None)
    for model in (Place, Note, Product, Supplier, Parcel, Employee, Person, Rate, Booking):
        model._default_manager.all().delete()


def make(count: int = 3, **fields: object) -> list[Product]:
    return [
        Product.objects.create(sku=f"a{number}", name=f"Name {number}", **fields)
        for number in range(count)
    ]
