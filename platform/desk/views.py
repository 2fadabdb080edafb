"""The landing page of a tenant's host."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from tenants.context import current_tenant


@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """Says whose desk this is and which region answered."""
    return render(
        request,
        "desk/landing.html",
        {"tenant": current_tenant(), "region": settings.MERIDIAN_REGION},
    )
