"""Errors → problem documents: Django's handlers, and what the database said.

Guarantees that an answer never carries SQL or a row's values, and that it tells apart what
was certainly not applied (retry) from what may have been (look first).
"""

from __future__ import annotations

import json
import logging
from typing import Any

from django.db import Error, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse

from gateway.metrics import LIMITED
from gateway.problems import problem
from tenants.backend.pool import Saturated
from tenants.context import current_tenant_or_none
from tenants.limits.connections import TooManyConnections
from tenants.maps import here

logger = logging.getLogger(__name__)

FENCED_SQLSTATE = "MDF01"
STATEMENT_TIMEOUT = "57014"
OVER_BUDGET = "MDF02"
OVER_QUOTA = "MQT01"
_LOST_CONNECTION = ("08", "57P")
_CONFLICTS = frozenset({"40001", "40P01", "55P03"})


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's error code, where there is one."""
    return getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None)


def is_connection_error(error: Error) -> bool:
    """Whether the server could not be reached, or the connection to it broke."""
    state = sqlstate(error)
    if state is None:
        return isinstance(error, OperationalError | InterfaceError)
    return state.startswith(_LOST_CONNECTION) or state == "53300"


def database_problem(error: Error, *, committing: bool = False) -> HttpResponse | None:
    """The answer to a database error, None for one that only a programmer can fix.

    `committing`: the error came while the commit was under way, so that a lost connection
    leaves the outcome unknown.
    """
    state = sqlstate(error)
    # Only names and codes are logged: the message quotes values.
    logger.warning("Database error %s (%s)", state, type(error).__name__)
    if isinstance(error, Saturated):
        return problem("saturated", 503, "Nothing was changed. Try again.", retry_after=1)
    if isinstance(error, TooManyConnections):
        return _too_many_connections(error)
    if is_connection_error(error):
        if committing:
            return problem(
                "outcome-unknown",
                503,
                "The write may have been applied: read before you repeat it.",
            )
        return problem(
            "database-unavailable", 503, "Nothing was changed. Try again.", retry_after=1
        )
    if state is None:
        return None
    if state == OVER_QUOTA:
        return _over_quota(error)
    return _by_state(state)


def _by_state(state: str) -> HttpResponse | None:
    if state == STATEMENT_TIMEOUT:
        return _statement_timeout()
    if state in _CONFLICTS:
        return problem("busy", 503, "Try again.", retry_after=1)
    if state == OVER_BUDGET:
        return problem("over-budget", 503, "Nothing was changed. Try again later.", retry_after=5)
    if state.startswith("53"):
        return problem("storage-full", 503, "The operator has to make room.", retry_after=30)
    if state == "23505":
        return problem("duplicate", 409, "Another record has the same value.")
    if state == "23503":
        return problem("broken-reference", 409, "Check the ids in the request.")
    if state.startswith(("22", "23")):
        return problem("invalid-data", 422, "Check the values in the request.")
    return None


def _too_many_connections(error: TooManyConnections) -> HttpResponse:
    LIMITED.labels(region=here(), limit="connections").inc()
    tenant = current_tenant_or_none()
    return problem(
        "too-many-connections",
        429,
        f"{error.allowed} connections to the database are allowed at the same time in each region. "
        "Nothing was changed. Wait for what is under way, then try again.",
        retry_after=1,
        limit="connections",
        allowed=error.allowed,
        plan=tenant.plan if tenant else "",
    )


def _statement_timeout() -> HttpResponse:
    """504: the edge asks another region again after a 503, and this would take as long there."""
    tenant = current_tenant_or_none()
    allowed = tenant.limits.statement_ms if tenant else None
    detail = "Nothing was changed. Ask for less at once."
    if tenant is None or allowed is None:
        return problem("statement-timeout", 504, detail)
    LIMITED.labels(region=here(), limit="statement_ms").inc()
    return problem(
        "statement-timeout",
        504,
        f"A statement may take {allowed} ms. {detail}",
        limit="statement_ms",
        allowed=allowed,
        plan=tenant.plan,
    )


def _over_quota(error: Error) -> HttpResponse:
    """Which quota, and how much of it is used: numbers that the database itself counted."""
    diagnosis = getattr(error.__cause__, "diag", None)
    told = json.loads(diagnosis.message_detail) if diagnosis else {}
    return quota_problem(told.get("what", "rows"), told.get("used"), told.get("allowed"))


def quota_problem(what: str, used: int | None, allowed: int | None) -> HttpResponse:
    """507 for rows and for files alike."""
    LIMITED.labels(region=here(), limit=what).inc()
    tenant = current_tenant_or_none()
    return problem(
        "quota-exceeded",
        507,
        f"{used} of {allowed} {what} are in use; nothing was added. Delete something, or ask the "
        "operator for more.",
        limit=what,
        used=used,
        allowed=allowed,
        plan=tenant.plan if tenant else "",
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem("bad-request", 400, "Check the request's headers and body.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem("forbidden", 403, "This account may not do that.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return problem("csrf", 403, "Reload the page and send the form again.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem("not-found", 404, "Nothing is at this address.")


def server_error(request: HttpRequest, *args: Any) -> HttpResponse:
    return problem("internal", 500, "The error was logged.")
