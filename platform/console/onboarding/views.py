"""The onboarding page, and the part of it that answers each choice with what is lawful."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from console.access import actor, needs
from console.onboarding.choices import MODES, POLICIES
from console.onboarding.forms import OnboardingForm
from console.operations import queue
from console.pages import UNPROCESSABLE, page
from console.specs import tenants_by_cell, topology
from regions.current import deployment
from regions.models import Cell
from tenants.models import Operation, Plan


@needs("tenants.add_tenant")
def onboard(request: HttpRequest) -> HttpResponse:
    """Show the form; on POST queue the onboarding once and go to its progress page."""
    if request.method != "POST":
        return _page(request, _form(initial=_defaults(request)))
    form = _form(request.POST)
    if key := _submitted_before(form):
        return redirect("console:operation", key=key)
    if not form.is_valid():
        return _page(request, form, status=UNPROCESSABLE)
    operation = queue.start(
        form.cleaned_data["operation"],
        queue.PROVISION,
        form.cleaned_data["slug"],
        form.arguments(),
        actor=actor(request),
    )
    return redirect("console:operation", key=operation.id)


@needs("tenants.add_tenant")
def lawful(request: HttpRequest) -> HttpResponse:
    """The regions with their verdicts and the cells that remain, for the choices so far."""
    return render(request, "console/lawful.html", {"form": _form(initial=_defaults(request))})


def _form(data: object = None, **kwargs: object) -> OnboardingForm:
    """Spares and cells that are being made can't be chosen by name: the verb refuses them."""
    ready = topology(state=Cell.State.READY)
    return OnboardingForm(
        data, deployment=deployment(), topology=ready, taken=tenants_by_cell(), **kwargs
    )


def _defaults(request: HttpRequest) -> dict[str, str]:
    """The strictest choice is the default: one jurisdiction, the home of the first region."""
    home = next(iter(deployment().regions.values()))
    defaults = {
        "residency": home.jurisdiction,
        "mode": "shared",
        "policy": "active_passive",
        "cell": "",
        "plan": Plan.DEFAULT,
        "slug": "",
    }
    return defaults | {name: request.GET[name] for name in defaults if name in request.GET}


def _submitted_before(form: OnboardingForm) -> str | None:
    """The key, when this very form was sent before: by then its slug is taken, by itself."""
    try:
        key = form.fields["operation"].clean(form["operation"].value())
    except ValidationError:
        return None
    return str(key) if Operation.objects.filter(id=key).exists() else None


def _page(request: HttpRequest, form: OnboardingForm, *, status: int = 200) -> HttpResponse:
    return page(
        request,
        "console/onboarding.html",
        title="Onboard a tenant",
        status=status,
        form=form,
        modes=MODES,
        policies=POLICIES,
        domain=deployment().domain,
    )
