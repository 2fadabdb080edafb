"""What the help desk does later: an ordinary task of an ordinary app."""

from __future__ import annotations

from celery import shared_task

from desk.models import Comment, Ticket

REMINDER = "reminder"


@shared_task  # type: ignore[untyped-decorator]
def remind(ticket_id: int, text: str) -> None:
    """A remark on the ticket, unless it is gone by then."""
    if Ticket.objects.filter(pk=ticket_id).exists():
        Comment.objects.create(ticket_id=ticket_id, author=REMINDER, body=text)
