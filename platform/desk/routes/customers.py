"""Customers; their e-mail address is unique."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Router, Status

from desk.models import Customer
from desk.routes.pages import page
from desk.schemas import CustomerIn, CustomerOut, CustomerPage, CustomerPatch, Page

router = Router(tags=["customers"])


@router.get("", response=CustomerPage, summary="List customers")
def list_customers(request: HttpRequest, at: Query[Page]) -> dict[str, Any]:
    return page(Customer.objects.all(), at)


@router.post("", response={201: CustomerOut}, summary="Add a customer")
def create_customer(request: HttpRequest, payload: CustomerIn) -> Status[Customer]:
    return Status(201, Customer.objects.create(**payload.dict()))


@router.get("/{int:customer_id}", response=CustomerOut, summary="Read a customer")
def read_customer(request: HttpRequest, customer_id: int) -> Customer:
    return get_object_or_404(Customer, pk=customer_id)


@router.patch("/{int:customer_id}", response=CustomerOut, summary="Change a customer")
def change_customer(request: HttpRequest, customer_id: int, payload: CustomerPatch) -> Customer:
    customer = get_object_or_404(Customer, pk=customer_id)
    changes = payload.dict(exclude_unset=True)
    if changes:
        for name, value in changes.items():
            setattr(customer, name, value)
        customer.save(update_fields=[*changes, "updated_at"])
    return customer


@router.delete("/{int:customer_id}", response={204: None}, summary="Delete a customer")
def delete_customer(request: HttpRequest, customer_id: int) -> Status[None]:
    get_object_or_404(Customer, pk=customer_id).delete()
    return Status(204, None)
