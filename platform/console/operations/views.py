"""The progress page of an operation: step, percent, the error with a retry, the result."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from console.access import actor, effect, needs
from console.operations import queue
from console.pages import page
from regions.current import deployment
from regions.errors import RegionsError
from tenants.errors import TenantsError
from tenants.lifecycle import issue_token
from tenants.models import Operation, Tenant

# Of each verb: what its page is called, and what an operator needs to start it again.
KINDS = {
    queue.PROVISION: ("Onboarding {}", "tenants.add_tenant"),
    queue.FAILOVER: ("Failing {} over", "regions.change_region"),
    queue.SWITCHOVER: ("Moving the writer of {}", "regions.change_cell"),
    queue.EVACUATE: ("Emptying {}", "regions.change_region"),
    queue.FAILBACK: ("Bringing the cells of {} home", "regions.change_region"),
    queue.POLICY: ("Write policy of {}", "regions.change_cell"),
    queue.MOVE: ("Moving {}", "tenants.change_tenant"),
}


@needs("tenants.view_operation")
def show(request: HttpRequest, key: UUID) -> HttpResponse:
    operation = get_object_or_404(Operation, id=key)
    return page(
        request, "console/operation.html", title=_title(operation), **_context(request, operation)
    )


@needs("tenants.view_operation")
def progress(request: HttpRequest, key: UUID) -> HttpResponse:
    """The part of the page that is asked for until the operation has ended."""
    operation = get_object_or_404(Operation, id=key)
    return render(request, "console/operation_progress.html", _context(request, operation))


@effect("tenants.view_operation")
def retry(request: HttpRequest, key: UUID) -> HttpResponse:
    operation = get_object_or_404(Operation, id=key)
    if not _may_retry(request, operation):
        messages.error(request, "Your account may not start this operation.")
    elif not queue.retry(operation):
        messages.info(request, "This operation is not in a failed state any more.")
    return redirect("console:operation", key=key)


@effect("tenants.change_tenant")
def token(request: HttpRequest, slug: str) -> HttpResponse:
    """A new API token for the tenant, in this answer only: it is stored nowhere."""
    tenant = get_object_or_404(Tenant, slug=slug)
    try:
        context = {"token": issue_token(tenant.slug, actor=actor(request))}
    except (TenantsError, RegionsError) as refused:
        context = {"problem": str(refused)}
    answer = render(
        request, "console/token.html", context | {"tenant": tenant, "edge": deployment().edge_url}
    )
    answer["Cache-Control"] = "no-store"
    return answer


def _context(request: HttpRequest, operation: Operation) -> dict[str, Any]:
    result = operation.arguments.get("result")
    tenant = None
    if operation.verb == queue.PROVISION and operation.state == Operation.State.DONE:
        tenant = Tenant.objects.select_related("cell").filter(slug=operation.slug).first()
    return {
        "operation": operation,
        "ended": operation.state in (Operation.State.DONE, Operation.State.FAILED),
        "may_retry": _may_retry(request, operation),
        "result": result if isinstance(result, dict) else None,
        "tenant": tenant,
        "host": f"{operation.slug}.{deployment().domain}",
        "edge": deployment().edge,
    }


def _may_retry(request: HttpRequest, operation: Operation) -> bool:
    kind = KINDS.get(operation.verb)
    return kind is not None and request.user.has_perm(kind[1])


def _title(operation: Operation) -> str:
    title, _ = KINDS.get(operation.verb, (operation.verb + " {}", ""))
    return title.format(operation.slug)
