"""Who may do what in the console's own pages.

Guarantees, on top of the admin site's check for staff, a model permission for each page, and
that what has effects is sent by POST (the site's views check the CSRF token).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.http import require_POST

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def needs(permission: str) -> Callable[[View[P]], View[P]]:
    """Refuse with 403 unless the operator has `permission` (`app.codename`)."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def checked(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.has_perm(permission):
                raise PermissionDenied(f"This needs the permission {permission}.")
            return view(request, *args, **kwargs)

        return checked

    return decorate


def effect(permission: str) -> Callable[[View[P]], View[P]]:
    """Like `needs`, for views that change something: POST only."""

    def decorate(view: View[P]) -> View[P]:
        return require_POST(needs(permission)(view))

    return decorate


def actor(request: HttpRequest) -> str:
    """How the operator is named in audit entries."""
    return f"console:{request.user.get_username()}"
