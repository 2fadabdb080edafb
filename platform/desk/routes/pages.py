"""One page of a list, in two queries."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from desk.schemas import Page


def page(rows: QuerySet[Any], at: Page) -> dict[str, Any]:
    return {"items": list(rows[at.offset : at.offset + at.limit]), "count": rows.count()}
