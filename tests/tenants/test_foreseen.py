"""Before a region is without writers it is said which tenants would be, by name."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command

from infra.fleet.plan import deployment_document, make_plan
from regions.deployment import Deployment, parse
from regions.failover import emptying
from regions.failover import plan as planning
from regions.mapfile import publish_document
from regions.topology import CellSpec, TenancyMode, Topology, WritePolicy
from tenants.directory import NAMED
from tenants.management.commands import region

WEST, CENTRAL = "eu-west", "eu-central"
SECRETS = {"passwords": {}, "master_key": "key", "operator_password": "word"}
CELLS = [
    CellSpec("alone", TenancyMode.SHARED, WritePolicy.ACTIVE_PASSIVE, (WEST,)),
    CellSpec("both", TenancyMode.SHARED, WritePolicy.ACTIVE_PASSIVE, (WEST, CENTRAL)),
]
EVERYWHERE = [
    CellSpec("every", TenancyMode.SHARED, WritePolicy.ACTIVE_ACTIVE, (WEST, CENTRAL)),
    CellSpec("last", TenancyMode.SHARED, WritePolicy.ACTIVE_ACTIVE, (WEST,)),
]
ALONE = [f"tenant-{number:02}" for number in range(NAMED + 5)]
EMPTIED = [("failover", WEST), ("evacuate", WEST), ("drain", WEST), ("maintenance", WEST)]


@pytest.fixture(autouse=True)
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Three regions that nobody has started, as far as their map folders say. eu-west writes."""
    found = parse(deployment_document(make_plan(tmp_path)), SECRETS, base=tmp_path)
    topology = Topology(cells={spec.name: spec for spec in (*CELLS, *EVERYWHERE)})
    monkeypatch.setattr(region, "world", lambda: (found, topology))
    for module in (planning, emptying, region):
        monkeypatch.setattr(module, "answers", lambda _, name: name != "us-east")
    folder, behind = found.region(CENTRAL).map_dir, found.region(WEST).map_dir
    held = {spec.name: {"writer": WEST, "epoch": 1} for spec in CELLS}
    publish_document(folder / "leases.json", {"region": CENTRAL, "cells": held})
    tenants = [*((slug, "alone") for slug in ALONE), ("ann", "both"), ("zoe", "last")]
    publish_document(folder / "directory.json", directory(2, tenants))
    publish_document(behind / "directory.json", directory(1, [("gone", "both")]))
    return found


def directory(version: int, tenants: list[tuple[str, str]]) -> dict[str, Any]:
    same = {"mode": "shared", "schema": "", "state": "active", "residency": "EU", "hosts": []}
    entries = [
        {"id": str(uuid4()), "slug": slug, "cell": cell, "token_generation": 1, **same}
        for slug, cell in tenants
    ]
    return {"version": version, "tenants": entries}


def told(*words: str) -> str:
    out = StringIO()
    command = region.Command(stdout=out, stderr=StringIO(), no_color=True)
    call_command(command, *words, "--dry-run")
    return out.getvalue()


@pytest.mark.parametrize("words", EMPTIED)
def test_a_document_names_all_who_would_go_dark_and_all_who_move(words: tuple[str, ...]) -> None:
    document = json.loads(told(*words, "--json"))
    found = {cell["cell"]: (cell["to"], cell["tenants"]) for cell in document["cells"]}
    assert found == {
        "alone": (None, ALONE),
        "both": (CENTRAL, ["ann"]),
        "last": (None, ["zoe"]),
    }
    assert document["tenants_dark"] == len(ALONE) + 1


@pytest.mark.parametrize("words", EMPTIED)
def test_people_are_told_how_many_go_dark_and_who_the_first_of_them_are(
    words: tuple[str, ...],
) -> None:
    text = told(*words)
    assert f"Tenants ({len(ALONE)}): {', '.join(ALONE[:NAMED])} and 5 more." in text
    assert f"{len(ALONE) + 1} tenants would have no writer." in text
    assert "last → nowhere: B06: it goes dark with eu-west: no other region is lawful." in text
    assert "ann" not in text


def test_a_switchover_says_whose_cell_moves_and_that_nobody_goes_dark() -> None:
    words = ("switchover", "both", "--to", CENTRAL)
    document = json.loads(told(*words, "--json"))
    assert document["cells"][0]["tenants"] == ["ann"]
    assert "dark" not in told(*words)
    assert "Tenants: 1." in told(*words)


def test_what_stays_where_it_is_written_because_its_home_is_away_is_not_dark(
    where: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {"both": {"writer": CENTRAL, "epoch": 2}}
    leases = {"region": CENTRAL, "cells": held}
    publish_document(where.region(CENTRAL).map_dir / "leases.json", leases)
    monkeypatch.setattr(emptying, "answers", lambda *_: False)
    text = told("failback", "--region", WEST)
    assert "ann" in text
    assert "no writer" not in text
