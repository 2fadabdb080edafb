"""The pages of drills. Each answers with JSON to whoever asks for it (`Accept: application/json`).

Previews and reports name tenants, so they take the permission to change regions, as starting does.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from console.access import actor, effect, needs
from console.drills.forms import CellChoice, Confirmation, ScheduleForm
from console.pages import UNPROCESSABLE, page
from regions.current import deployment
from regions.drills import folder as folders
from regions.drills.scenarios import SCENARIOS
from regions.errors import RegionsError, UnknownDrill
from tenants.drill_schedules import document
from tenants.drilling import AS_OPERATOR, Wish, drill_list, plan_drill
from tenants.models import DrillSchedule
from tenants.seams import all_specs

START_SECONDS = 60
RUNS_SHOWN = 20


@needs("regions.view_region")
def index(request: HttpRequest) -> HttpResponse:
    """The scenarios with their last runs, all runs, and what runs by itself."""
    return show_index(request, ScheduleForm(cells=leased_cells()))


def show_index(request: HttpRequest, form: ScheduleForm, *, status: int = 200) -> HttpResponse:
    found: dict[str, Any] = {"scenarios": [], "runs": [], "schedules": [], "refused": ""}
    may_schedule = request.user.has_perm("regions.change_region")
    try:
        found["scenarios"] = drill_list()
        found["runs"] = [one.state() for one in folders.runs(deployment())[:RUNS_SHOWN]]
    except RegionsError as refused:
        found["refused"] = str(refused)
    if may_schedule:
        found["schedules"] = [document(one) for one in DrillSchedule.objects.all()]
    if wants_json(request):
        return JsonResponse(found)
    return page(
        request,
        "console/drills.html",
        title="Drills",
        status=status,
        form=form if may_schedule and not found["refused"] else None,
        **found,
    )


def leased_cells() -> list[str]:
    return [spec.name for spec in all_specs() if spec.policy.leased]


@needs("regions.change_region")
def preview(request: HttpRequest, scenario: str) -> HttpResponse:
    """Who would notice, before anything is broken."""
    return _preview(request, scenario, request.GET.get("cell") or None)


@effect("regions.change_region")
def start(request: HttpRequest, scenario: str) -> HttpResponse:
    """Run it: the scenario's name is typed, and once more if customers would notice."""
    cell = request.POST.get("cell") or None
    if request.POST.get("confirm", "").strip() != scenario:
        return _preview(request, scenario, cell, f"Type {scenario} to confirm. Nothing was broken.")
    words = ["run", scenario, "--detach", "--json", "--by", actor(request)]
    words += ["--cell", cell] if cell else []
    words += ["--real-tenants"] if request.POST.get("real_tenants") else []
    done = _manage(*words)
    if done.returncode:
        return _preview(request, scenario, cell, done.stderr.strip().removeprefix("CommandError: "))
    name = json.loads(done.stdout)["id"]
    if wants_json(request):
        return JsonResponse({"id": name, "state": folders.RUNNING}, status=202)
    return redirect("console:drill", name)


@needs("regions.change_region")
def show(request: HttpRequest, name: str) -> HttpResponse:
    """One run: its timeline as it grows, then its report."""
    context = _run(name)
    if wants_json(request):
        under_way = {**context["state"], "timeline": context["timeline"]}
        return JsonResponse(context["report"] or under_way)
    return page(request, "console/drill.html", title=f"Drill {name}", **context)


@needs("regions.change_region")
def progress(request: HttpRequest, name: str) -> HttpResponse:
    """The part of the page that is asked for until the run has ended."""
    return render(request, "console/drill_progress.html", _run(name))


@needs("regions.change_region")
def report(request: HttpRequest, name: str) -> HttpResponse:
    """The report as a page that can be kept."""
    try:
        html = (_folder(name).path / "report.html").read_text()
    except FileNotFoundError:
        raise Http404("This run has no report yet.") from None
    answer = HttpResponse(html)
    answer["Content-Security-Policy"] = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
    return answer


@effect("regions.change_region")
def halt(request: HttpRequest, name: str) -> HttpResponse:
    """The lever: the run ends and heals; so does everything if its process has died."""
    folder = _folder(name)
    folder.ask_to_halt(actor(request))
    if folder.state()["state"] != folders.RUNNING:
        _manage("halt", name, "--json")
    if wants_json(request):
        return JsonResponse(folder.state())
    messages.info(request, "It is halted, and everything is being healed.")
    return redirect("console:drill", name)


def either(read: Any, write: Any) -> Any:
    """One address: POST does what GET shows."""
    posted = require_POST(write)

    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        answer: HttpResponseBase = (posted if request.method == "POST" else read)(
            request, *args, **kwargs
        )
        return answer

    return view


def _preview(
    request: HttpRequest, scenario: str, cell: str | None, refused: str = ""
) -> HttpResponse:
    if scenario not in SCENARIOS:
        raise Http404(f"No scenario is called {scenario}.")
    plan: dict[str, Any] | None = None
    try:
        plan = plan_drill(Wish(scenario, cell))[0].document()
    except RegionsError as error:
        refused = refused or str(error)
    status = UNPROCESSABLE if refused else 200
    if wants_json(request):
        return JsonResponse({"error": refused} if refused else plan or {}, status=status)
    return page(
        request,
        "console/drill_preview.html",
        title=f"Drill: {scenario}",
        status=status,
        scenario=SCENARIOS[scenario],
        choice=CellChoice(leased_cells(), cell or (plan["cell"] if plan else "")),
        confirmation=Confirmation(),
        plan=plan,
        refused=refused,
    )


def _run(name: str) -> dict[str, Any]:
    folder = _folder(name)
    known, state = folder.read("report"), folder.state()
    return {
        "state": state,
        "running": state["state"] == folders.RUNNING,
        "report": known,
        "timeline": known["timeline"] if known else folder.timeline(),
    }


def _folder(name: str) -> folders.Folder:
    try:
        return folders.find(deployment(), name)
    except UnknownDrill as unknown:
        raise Http404(str(unknown)) from unknown


def wants_json(request: HttpRequest) -> bool:
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def _manage(*words: str) -> subprocess.CompletedProcess[str]:
    """`manage.py drill WORDS`, as an operator's command: of no region."""
    return subprocess.run(
        [*AS_OPERATOR, *words],
        cwd=settings.BASE_DIR,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        start_new_session=True,
        check=False,
    )
