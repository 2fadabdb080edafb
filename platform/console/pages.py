"""Renders a page of the console's own inside the admin site's frame."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

UNPROCESSABLE = 422  # of a form that is shown again


def page(
    request: HttpRequest, template: str, *, title: str, status: int = 200, **context: Any
) -> HttpResponse:
    """The template with the sidebar, the account menu and the messages around it."""
    from console.site import console_site  # the site's URLs import the views that call this

    frame = console_site.each_context(request)
    return render(request, template, frame | {"title": title, **context}, status=status)
