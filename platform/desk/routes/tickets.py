"""Tickets, their votes and their tags."""

from __future__ import annotations

from typing import Any

from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Query, Router, Status

from desk.models import Customer, Tag, Ticket
from desk.problems import InvalidField
from desk.routes.pages import page
from desk.schemas import (
    ReminderIn,
    TagName,
    TicketFilter,
    TicketIn,
    TicketOut,
    TicketPage,
    TicketPatch,
)
from desk.tasks import remind

router = Router(tags=["tickets"])


@router.get("", response=TicketPage, summary="List tickets, the newest first")
def list_tickets(request: HttpRequest, filters: Query[TicketFilter]) -> dict[str, Any]:
    rows = _tickets()
    if filters.status is not None:
        rows = rows.filter(status=filters.status)
    if filters.customer is not None:
        rows = rows.filter(customer=filters.customer)
    if filters.tag is not None:
        rows = rows.filter(tags__name=filters.tag)
    return page(rows, filters)


@router.post("", response={201: TicketOut}, summary="Open a ticket")
def create_ticket(request: HttpRequest, payload: TicketIn) -> Status[Ticket]:
    _require_customer(payload.customer)
    fields = payload.dict(exclude={"customer", "tags"})
    ticket = Ticket.objects.create(customer_id=payload.customer, **fields)
    if payload.tags:
        ticket.tags.set(_tags(payload.tags))
    return Status(201, _ticket(ticket.pk))


@router.get("/{int:ticket_id}", response=TicketOut, summary="Read a ticket")
def read_ticket(request: HttpRequest, ticket_id: int) -> Ticket:
    return _ticket(ticket_id)


@router.patch("/{int:ticket_id}", response=TicketOut, summary="Change a ticket")
def change_ticket(request: HttpRequest, ticket_id: int, payload: TicketPatch) -> Ticket:
    ticket = _ticket(ticket_id)
    changes = payload.dict(exclude_unset=True)
    tags = changes.pop("tags", None)
    if "customer" in changes:
        _require_customer(changes["customer"])
        changes["customer_id"] = changes.pop("customer")
    if changes:
        for name, value in changes.items():
            setattr(ticket, name, value)
        # Only what was sent is written, so that changes of different fields merge.
        ticket.save(update_fields=[*changes, "updated_at"])
    if tags is not None:
        ticket.tags.set(_tags(tags))
    return _ticket(ticket_id)


@router.delete("/{int:ticket_id}", response={204: None}, summary="Delete a ticket")
def delete_ticket(request: HttpRequest, ticket_id: int) -> Status[None]:
    get_object_or_404(Ticket, pk=ticket_id).delete()
    return Status(204, None)


@router.post("/{int:ticket_id}/vote", response=TicketOut, summary="Add one vote")
def vote(request: HttpRequest, ticket_id: int) -> Ticket:
    Ticket.objects.filter(pk=ticket_id).update(votes=F("votes") + 1, updated_at=timezone.now())
    return _ticket(ticket_id)


@router.post("/{int:ticket_id}/reminders", response={202: None}, summary="Be reminded of it later")
def remind_later(request: HttpRequest, ticket_id: int, payload: ReminderIn) -> Status[None]:
    get_object_or_404(Ticket, pk=ticket_id)
    remind.apply_async((ticket_id, payload.text), countdown=payload.in_seconds or None)
    return Status(202, None)


@router.put("/{int:ticket_id}/tags/{tag}", response=TicketOut, summary="Tag a ticket")
def add_tag(request: HttpRequest, ticket_id: int, tag: TagName) -> Ticket:
    get_object_or_404(Ticket, pk=ticket_id).tags.add(*_tags([tag]))
    return _ticket(ticket_id)


@router.delete("/{int:ticket_id}/tags/{tag}", response=TicketOut, summary="Take a tag off a ticket")
def remove_tag(request: HttpRequest, ticket_id: int, tag: TagName) -> Ticket:
    ticket = get_object_or_404(Ticket, pk=ticket_id)
    ticket.tags.remove(*Tag.objects.filter(name=tag))
    return _ticket(ticket_id)


def _tickets() -> QuerySet[Ticket]:
    return Ticket.objects.prefetch_related("tags")


def _ticket(ticket_id: int) -> Ticket:
    return get_object_or_404(_tickets(), pk=ticket_id)


def _tags(names: list[str]) -> list[Tag]:
    """The tags of these names; those that don't exist yet are made."""
    return [Tag.objects.get_or_create(name=name)[0] for name in dict.fromkeys(names)]


def _require_customer(customer_id: int | None) -> None:
    if customer_id is not None and not Customer.objects.filter(pk=customer_id).exists():
        raise InvalidField("customer", "no customer has this id")
