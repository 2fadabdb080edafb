"""What a tenant's client hears when the database was not done in time."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest
from django.test import Client

from regions.deployment import AGENT_ROLE, Deployment
from tenants import tokens
from tenants.seams import local_directory
from tests.gateway import live

ALLOWED = 300


def allow(deployment: Deployment, **limits: int) -> None:
    """Acme's limits, from now on."""
    path = deployment.region(live.HERE).map_dir / "directory.json"
    document = json.loads(path.read_text())
    document["tenants"][0] |= {"plan": "small", "limits": limits}
    fresh = path.with_suffix(".fresh")
    fresh.write_text(json.dumps(document))
    fresh.rename(path)


@pytest.fixture
def acme(served: None) -> Client:
    bearer = f"Bearer {tokens.issue(local_directory().current().by_slug['acme'])}"
    return Client(headers={"host": "acme.localhost", "authorization": bearer})


@pytest.fixture
def locked(acme: Client, deployment: Deployment) -> Iterator[int]:
    """A ticket that somebody else holds."""
    made = acme.post("/api/desk/tickets", {"title": "Held"}, content_type="application/json")
    dsn = deployment.dsn(live.HERE, live.LAB.database, AGENT_ROLE)
    with psycopg.connect(dsn) as session:
        session.execute("SELECT FROM desk_ticket WHERE id = %s FOR UPDATE", (made.json()["id"],))
        yield made.json()["id"]
        session.rollback()


def test_a_write_that_takes_too_long_is_explained_and_changes_nothing(
    acme: Client, locked: int, deployment: Deployment
):
    path = f"/api/desk/tickets/{locked}"
    allow(deployment, statement_ms=ALLOWED)
    answer = acme.patch(path, {"title": "Changed"}, content_type="application/json")
    # What is slow for other reasons has its time.
    allow(deployment)
    assert answer.status_code == 504
    told = answer.json()
    assert told["type"] == "urn:meridian:problem:statement-timeout"
    assert (told["limit"], told["allowed"], told["plan"]) == ("statement_ms", ALLOWED, "small")
    assert "SELECT" not in answer.content.decode()
    assert acme.get(path).json()["title"] == "Held"
