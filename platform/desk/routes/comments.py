"""Comments on tickets."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Router, Status

from desk.models import Comment, Ticket
from desk.problems import InvalidField
from desk.routes.pages import page
from desk.schemas import CommentFilter, CommentIn, CommentOut, CommentPage, CommentPatch

router = Router(tags=["comments"])


@router.get("", response=CommentPage, summary="List comments")
def list_comments(request: HttpRequest, filters: Query[CommentFilter]) -> dict[str, Any]:
    rows = Comment.objects.all()
    if filters.ticket is not None:
        rows = rows.filter(ticket=filters.ticket)
    return page(rows, filters)


@router.post("", response={201: CommentOut}, summary="Comment on a ticket")
def create_comment(request: HttpRequest, payload: CommentIn) -> Status[Comment]:
    if not Ticket.objects.filter(pk=payload.ticket).exists():
        raise InvalidField("ticket", "no ticket has this id")
    fields = payload.dict(exclude={"ticket"})
    return Status(201, Comment.objects.create(ticket_id=payload.ticket, **fields))


@router.get("/{int:comment_id}", response=CommentOut, summary="Read a comment")
def read_comment(request: HttpRequest, comment_id: int) -> Comment:
    return get_object_or_404(Comment, pk=comment_id)


@router.patch("/{int:comment_id}", response=CommentOut, summary="Change a comment")
def change_comment(request: HttpRequest, comment_id: int, payload: CommentPatch) -> Comment:
    comment = get_object_or_404(Comment, pk=comment_id)
    changes = payload.dict(exclude_unset=True)
    if changes:
        for name, value in changes.items():
            setattr(comment, name, value)
        comment.save(update_fields=list(changes))
    return comment


@router.delete("/{int:comment_id}", response={204: None}, summary="Delete a comment")
def delete_comment(request: HttpRequest, comment_id: int) -> Status[None]:
    get_object_or_404(Comment, pk=comment_id).delete()
    return Status(204, None)
