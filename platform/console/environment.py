"""From where this process looks, and the badge that says so."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def here() -> str | None:
    """The region whose process this is; None for an operator's own."""
    region: str | None = settings.MERIDIAN_REGION
    return region


def badge(request: HttpRequest) -> list[str]:
    """Unfold's environment badge: the region that rendered the page."""
    return [f"seen from {here() or 'operator'}", "info"]
