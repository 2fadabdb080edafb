"""The page that shows what merges discarded of a tenant's data, and the button that restores it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from console.access import actor, effect, needs
from console.conflicts.forms import ConflictFilter
from console.pages import UNPROCESSABLE, page
from regions.cli import one_line
from regions.errors import RegionsError
from tenants.conflicts.entries import Cursor, Wanted
from tenants.errors import TenantsError
from tenants.lifecycle.conflicts import restore_conflict, show_conflicts
from tenants.models import Tenant

AT_ONCE = 25


@needs("tenants.change_tenant")
def tenant_conflicts(request: HttpRequest, slug: str) -> HttpResponse:
    """A page of entries; values are shown, so that it takes more than to view tenants."""
    tenant = get_object_or_404(Tenant, slug=slug)
    asked = request.GET
    document: dict[str, Any] = {"items": [], "next": None, "unreachable": []}
    refused = ""
    try:
        wanted = Wanted(
            table=asked.get("table") or None,
            kind=asked.get("kind") or None,
            after=Cursor.read(asked["after"]) if asked.get("after") else None,
            most=AT_ONCE,
        )
        document = show_conflicts(slug, wanted, at=None, actor=actor(request)).document()
    except (TenantsError, RegionsError) as error:
        refused = str(error)
    return page(
        request,
        "console/conflicts.html",
        title=f"Conflicts of {slug}",
        status=UNPROCESSABLE if refused else 200,
        tenant=tenant,
        refused=refused,
        filter=ConflictFilter(asked),
        asked=asked,
        **document,
    )


@effect("tenants.change_tenant")
def restore(request: HttpRequest, slug: str, key: UUID) -> HttpResponse:
    """Write the loser of an entry again."""
    get_object_or_404(Tenant, slug=slug)
    try:
        done = restore_conflict(slug, key, at=None, actor=actor(request))
    except (TenantsError, RegionsError, Error) as error:
        messages.error(request, f"It cannot come back: {one_line(error)}")
    else:
        said = "The value is restored; other regions have it in a moment."
        messages.success(request, said if done else "Somebody had restored it before.")
    return redirect("console:tenant_conflicts", slug)
