"""What a merge of two regions' writes discarded of the tenant's data, and how it comes back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field

from desk.problems import problem
from tenants.conflicts.browse import browse
from tenants.conflicts.entries import MOST, Cursor, Wanted
from tenants.conflicts.restore import restore
from tenants.errors import InvalidRequest, RestoreRefused, UnknownConflict

router = Router(tags=["conflicts"])


class Filter(Schema):
    """`since` and `until` are about the later of the two writes."""

    table: str | None = None
    kind: Literal["field", "delete", "unique", "repair", "reference"] | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = Field(50, ge=1, le=MOST)
    after: str | None = None


class VersionOut(Schema):
    """`value`: a text, null, or of a whole row an object of texts."""

    value: Any
    stamp: int
    written_at: datetime
    region: str | None


class RestoredOut(Schema):
    at: datetime
    by: str
    region: str


class ConflictOut(Schema):
    """`field` is `*` for a whole row."""

    id: UUID
    table: str
    key: dict[str, str]
    field: str
    kind: str
    rule: str
    loser: VersionOut
    winner: VersionOut
    recorded_at: datetime
    recorded_in: list[str]
    restored: RestoredOut | None


class ConflictsOut(Schema):
    """The newest first. `next` is the `after` of the following page."""

    items: list[ConflictOut]
    next: str | None
    unreachable: list[str]


class OutcomeOut(Schema):
    """`already`: somebody had done it before, so nothing was written."""

    id: UUID
    restored: bool
    already: bool


@router.get("", response=ConflictsOut, summary="Discarded values")
def conflicts(request: HttpRequest, filters: Query[Filter]) -> Any:
    try:
        wanted = Wanted(
            table=filters.table,
            kind=filters.kind,
            since=_zoned(filters.since),
            until=_zoned(filters.until),
            after=Cursor.read(filters.after) if filters.after else None,
            most=filters.limit,
        )
    except InvalidRequest as error:
        return problem("validation", 422, "Some fields are not valid", str(error))
    return _without_schemas(browse(wanted).document())


@router.get("/{conflict}", response=ConflictOut, summary="One of them")
def conflict(request: HttpRequest, conflict: UUID) -> Any:
    page = browse(Wanted(id=conflict)).document()
    if not page["items"]:
        return _unknown(f"The ledger has no entry {conflict}.")
    return _without_schemas(page)["items"][0]


@router.post("/{conflict}/restore", response=OutcomeOut, summary="Write the loser again")
def restored(request: HttpRequest, conflict: UUID) -> Any:
    try:
        done = restore(conflict, by="api").done
    except UnknownConflict as error:
        return _unknown(str(error))
    except RestoreRefused as error:
        return problem("cannot-restore", 409, "It cannot come back", str(error))
    return {"id": conflict, "restored": done, "already": not done}


def _unknown(detail: str) -> HttpResponse:
    return problem("not-found", 404, "Not found", detail)


def _zoned(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time and time.tzinfo is None else time


def _without_schemas(page: dict[str, Any]) -> dict[str, Any]:
    """A tenant's schema is the platform's affair."""
    for item in page["items"]:
        item["table"] = item["table"].partition(".")[2]
    return page
