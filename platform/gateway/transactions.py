"""A tenant's write request is one transaction in its cell.

Guarantees that a request that fails, or is answered with an error, changed nothing: so a
write that the database fenced can be handed to the new writer with its body.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.db import Error, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from gateway import handoff
from gateway.errors import FENCED_SQLSTATE, database_problem, quota_problem, sqlstate
from gateway.idempotency.once import once, once_async
from gateway.metrics import FENCED
from gateway.problems import problem
from gateway.serving import GetResponse, GetResponseAsync
from regions.writers import Action, decide
from tenants.context import current_tenant_or_none
from tenants.errors import QuotaExceeded
from tenants.maps import here, region_map

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


@sync_and_async_middleware
def transaction_middleware(
    get_response: Callable[[HttpRequest], Any],
) -> Callable[[HttpRequest], Any]:
    """Innermost: commits before anything is answered, and explains the database's refusals."""
    make = _asynchronous if iscoroutinefunction(get_response) else _synchronous
    middleware: Any = make(get_response)
    middleware.process_exception = explain_exception
    return middleware  # type: ignore[no-any-return]


def _synchronous(get_response: GetResponse) -> GetResponse:
    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.method in SAFE_METHODS or current_tenant_or_none() is None:
            return get_response(request)
        committing = False
        try:
            with transaction.atomic():
                response = once(request, get_response)
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

    return middleware


def _asynchronous(get_response: GetResponseAsync) -> GetResponseAsync:
    """The transaction is the request's thread's, where its ORM calls and synchronous views run. A
    request that is cancelled is rolled back once the statement under way has ended."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.method in SAFE_METHODS or current_tenant_or_none() is None:
            return await get_response(request)
        block = transaction.atomic()
        leave = sync_to_async(block.__exit__)
        committing = False
        try:
            await sync_to_async(block.__enter__)()
            try:
                response = await once_async(request, get_response)
                if response.status_code >= 400:
                    await sync_to_async(transaction.set_rollback)(True)
            except BaseException as error:
                await leave(type(error), error, error.__traceback__)
                raise
            committing = response.status_code < 400
            await leave(None, None, None)
        except Error as error:
            refusal = explain(request, error, committing=committing)
            if refusal is None:
                raise
            return refusal
        return response

    return middleware


def explain_exception(request: HttpRequest, error: Exception) -> HttpResponse | None:
    """Called by Django for what a view raised."""
    if isinstance(error, QuotaExceeded):
        return quota_problem(error.what, error.used, error.allowed)
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
