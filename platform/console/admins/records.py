"""Operations and audit entries: what was asked for, and what was done by whom."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import display
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from console.admins.base import ReadOnlyAdmin
from console.templatetags.console import facts, state_badge
from tenants.models import AuditEntry, Operation


class OperationAdmin(ReadOnlyAdmin):
    list_display = ("what", "state_shown", "progress", "step", "actor", "created_at")
    list_filter = ("state", "verb")
    search_fields = ("slug", "actor")

    def change_view(
        self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """An operation's page is its progress page."""
        return redirect("console:operation", key=object_id)

    @display(description="Operation", ordering="verb")
    def what(self, operation: Operation) -> str:
        return f"{operation.verb} {operation.slug}"

    @display(description="State", ordering="state")
    def state_shown(self, operation: Operation) -> str:
        return state_badge(operation.state)

    @display(description="Progress", ordering="percent")
    def progress(self, operation: Operation) -> str:
        return f"{operation.percent} %"


class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor", "verb", "subject", "detail_shown")
    list_filter = ("verb",)
    search_fields = ("actor", "subject")
    date_hierarchy = "at"
    fields = ("at", "actor", "verb", "subject", "detail_shown")
    readonly_fields = ("detail_shown",)

    @display(description="Detail")
    def detail_shown(self, entry: AuditEntry) -> str:
        return facts(entry.detail) or "—"
