"""What the API takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from ninja import Field, Schema
from pydantic import AfterValidator, StringConstraints

from desk.models import Ticket


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("PostgreSQL stores no NUL characters")
    return text


def _email(text: str) -> str:
    try:
        validate_email(text)
    except ValidationError:
        raise ValueError("this is not an e-mail address") from None
    return text


Text = Annotated[str, AfterValidator(_without_nul)]
Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_without_nul),
]
TagName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=50),
    AfterValidator(_without_nul),
]
Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=254),
    AfterValidator(_without_nul),
    AfterValidator(_email),
]


class CustomerIn(Schema):
    name: Line
    email: Email


class CustomerPatch(Schema):
    name: Line = ""
    email: Email = ""


class CustomerOut(Schema):
    id: int
    name: str
    email: str
    created_at: datetime
    updated_at: datetime


class TicketIn(Schema):
    title: Line
    body: Text = ""
    status: Ticket.Status = Ticket.Status.OPEN
    priority: Ticket.Priority = Ticket.Priority.NORMAL
    customer: int | None = None
    tags: list[TagName] = []


class TicketPatch(Schema):
    """Fields that are absent stay as they are."""

    title: Line = ""
    body: Text = ""
    status: Ticket.Status = Ticket.Status.OPEN
    priority: Ticket.Priority = Ticket.Priority.NORMAL
    customer: int | None = None
    tags: list[TagName] = []


class TicketOut(Schema):
    id: int
    title: str
    body: str
    status: str
    priority: str
    customer: int | None = Field(None, alias="customer_id")
    votes: int
    tags: list[str]
    created_at: datetime
    updated_at: datetime

    @staticmethod
    def resolve_tags(ticket: Ticket) -> list[str]:
        # From what the query prefetched: another `.order_by()` would ask the database again.
        return sorted(tag.name for tag in ticket.tags.all())


class ReminderIn(Schema):
    """A remark that the ticket gets after some time."""

    text: Annotated[Text, StringConstraints(min_length=1)]
    in_seconds: Annotated[int, Field(ge=0, le=30 * 86_400)] = 0


class CommentIn(Schema):
    ticket: int
    author: Line
    body: Annotated[Text, StringConstraints(min_length=1)]


class CommentPatch(Schema):
    author: Line = ""
    body: Annotated[Text, StringConstraints(min_length=1)] = ""


class CommentOut(Schema):
    id: int
    ticket: int = Field(alias="ticket_id")
    author: str
    body: str
    created_at: datetime


class Page(Schema):
    """Which part of a list to return."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class TicketFilter(Page):
    status: Ticket.Status | None = None
    customer: int | None = None
    tag: str | None = None


class CommentFilter(Page):
    ticket: int | None = None


class TicketPage(Schema):
    items: list[TicketOut]
    count: int


class CustomerPage(Schema):
    items: list[CustomerOut]
    count: int


class CommentPage(Schema):
    items: list[CommentOut]
    count: int
