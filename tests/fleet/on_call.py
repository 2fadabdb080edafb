"""Who is on call for a fleet: what the deployment's `pager` was told, by which region's agent."""

from __future__ import annotations

import json
from typing import Any

from infra.fleet.state import write_json
from tests.fleet.conftest import Fleet

PAGES = "pages.jsonl"


def listen(fleet: Fleet, region: str) -> None:
    """To this region's agent and others that begin anew from now on: what they hold may move."""
    file = fleet.folder / "deployment.json"
    keep = f"printf '%s\\n' \"$(cat)\" >> {fleet.folder / PAGES}"
    write_json(file, {**json.loads(file.read_text()), "pager": ["sh", "-c", keep]})
    fleet.run("restart", f"{region}:agent")


def told(fleet: Fleet, about: str, region: str) -> list[dict[str, Any]]:
    """Of a cell, by this region's agent, in order."""
    try:
        lines = (fleet.folder / PAGES).read_text().splitlines()
    except FileNotFoundError:
        return []
    pages = [json.loads(line) for line in lines]
    return [page for page in pages if (page["about"], page["seen_from"]) == (about, region)]
