"""A tenant's write request is one transaction in its cell.

Guarantees that a request that fails, or is answered with an error, changed nothing: so a
write that the database fenced can be handed to the new writer with its body.
"""

from __future__ import annotations

from collections.abc import Callable

from django.db import Error, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from gateway import handoff
from gateway.errors import FENCED_SQLSTATE, database_problem, sqlstate
from gateway.metrics import FENCED
from gateway.problems import problem
from regions.writers import Action, decide
from tenants.context import current_tenant_or_none
from tenants.maps import here, region_map

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
GetResponse = Callable[[HttpRequest], HttpResponseBase]


class TransactionMiddleware:
    """Innermost: commits before anything is answered, and explains the database's refusals."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        tenant = current_tenant_or_none()
        if tenant is None or request.method in SAFE_METHODS:
            return self._get_response(request)
        committing = False
        try:
            with transaction.atomic():
                response = self._get_response(request)
                if response.status_code >= 400:
                    transaction.set_rollback(True)
                else:
                    committing = True
        except Error as error:
            refusal = explain(request, error, committing=committing)
            if refusal is None:
                raise
            return refusal
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Called by Django for what a view raised."""
        return explain(request, error) if isinstance(error, Error) else None


def explain(request: HttpRequest, error: Error, *, committing: bool = False) -> HttpResponse | None:
    """The answer to a database error: a handoff when the lease has moved, else a problem."""
    if sqlstate(error) != FENCED_SQLSTATE:
        return database_problem(error, committing=committing)
    region, tenant = here(), current_tenant_or_none()
    FENCED.labels(region=region).inc()
    cell = tenant.cell if tenant else "control"
    known = region_map()
    spec = known.topology().cells.get(cell)
    if spec is not None and request.method not in SAFE_METHODS:
        decision = decide(spec, known.lease(cell), region)
        if decision.action is Action.HAND_OFF:
            return handoff.answer(request, decision, region=region)
    return problem(
        "fenced", 503, "The lease ended or is moving. Try again.", retry_after=1, region=region
    )
