"""Drills in the console: who would notice, the name typed, the timeline, the lever, and JSON."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from django.test import Client

from regions.deployment import Deployment, Drills
from regions.drills.folder import Folder
from regions.drills.page import render
from regions.drills.report import document
from tests.regions.drills.played import MOVED, OBJECTIVES, planned

URL = "/console/drills/"
RUN = "20260302-090000-kill-region"
JSON = {"HTTP_ACCEPT": "application/json"}


@pytest.fixture
def drills(registry: Deployment, settings, tmp_path: Path) -> Folder:
    """A deployment where drills are possible, and one run that is under way: in this process."""
    tool = Drills(("false",), ("drill-*",), tmp_path)
    settings.MERIDIAN_DEPLOYMENT = replace(registry, drills=tool)
    folder = Folder(tmp_path / RUN)
    folder.path.mkdir()
    state = {"scenario": "kill-region", "cell": "eu", "actor": "me", "began": 1.0}
    folder.write("state", {**state, "state": "running", "pid": os.getpid()})
    folder.happened(1.5, "eu-west loses its power")
    return folder


def end(folder: Folder) -> None:
    report = document(RUN, planned("kill-region"), MOVED, OBJECTIVES)
    folder.write("report", report)
    (folder.path / "report.html").write_text(render(report))
    folder.write("state", {**folder.state(), "state": "done", "passed": True})


def test_without_a_tool_that_breaks_things_the_page_says_so(
    operator: Client, registry: Deployment, settings
) -> None:
    settings.MERIDIAN_DEPLOYMENT = replace(registry, drills=None)
    assert "names no tool that breaks things" in operator.get(URL).content.decode()


def test_who_would_notice_is_shown_before_anything_is_broken(
    operator: Client, drills: Folder
) -> None:
    html = operator.get(f"{URL}kill-region/?cell=console-eu").content.decode()
    for text in ("console-eu", "moves to eu-central", "1 real tenant would notice (console-acme)"):
        assert text in html
    plan = operator.get(f"{URL}kill-region/?cell=console-eu", **JSON).json()
    assert plan["real_tenants"] == ["console-acme"]
    assert operator.get(f"{URL}kill-everybody/").status_code == 404


def test_the_scenarios_name_has_to_be_typed(operator: Client, drills: Folder) -> None:
    sent = {"confirm": "cut-link", "cell": "console-eu"}
    refused = operator.post(f"{URL}kill-region/", sent)
    assert refused.status_code == 422
    assert "Type kill-region to confirm" in refused.content.decode()
    assert operator.post(f"{URL}kill-region/", sent, **JSON).json()["error"].startswith("Type")


def test_a_run_shows_its_timeline_while_it_lasts_and_its_report_afterwards(
    operator: Client, drills: Folder
) -> None:
    html = operator.get(f"/console/drill/{RUN}/").content.decode()
    assert "eu-west loses its power" in html
    assert "every 1s" in html
    under_way = operator.get(f"/console/drill/{RUN}/", **JSON).json()
    assert (under_way["state"], len(under_way["timeline"])) == ("running", 1)
    assert operator.get(f"/console/drill/{RUN}/report/").status_code == 404
    end(drills)
    html = operator.get(f"/console/drill/{RUN}/progress/").content.decode()
    assert "never two writers" in html
    assert "every 1s" not in html
    assert operator.get(f"/console/drill/{RUN}/", **JSON).json()["rto_seconds"] == 3.6
    kept = operator.get(f"/console/drill/{RUN}/report/")
    assert kept["Content-Security-Policy"].startswith("sandbox")
    assert RUN in operator.get(URL).content.decode()


def test_the_lever_asks_the_run_to_halt(operator: Client, drills: Folder) -> None:
    assert operator.get(f"/console/drill/{RUN}/halt/").status_code == 405
    assert drills.halt_asked is None
    assert operator.post(f"/console/drill/{RUN}/halt/", **JSON).json()["state"] == "running"
    assert (drills.halt_asked or "").startswith("console:")


def test_who_may_only_look_sees_no_tenants_and_can_neither_start_nor_halt(
    viewer: Client, drills: Folder
) -> None:
    assert viewer.get(URL).status_code == 200
    for page in (f"{URL}kill-region/", f"/console/drill/{RUN}/", f"/console/drill/{RUN}/report/"):
        assert viewer.get(page).status_code == 403
    assert viewer.post(f"{URL}kill-region/", {"confirm": "kill-region"}).status_code == 403
    assert viewer.post(f"/console/drill/{RUN}/halt/").status_code == 403
