"""Session tokens: whose they are, what they ask of a region, and what it says when it lacks it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from gateway import consistency
from gateway.consistency import Token, issue, read
from regions.deployment import OWNER_ROLE, Deployment
from tenants.seams import local_directory
from tests.gateway import live
from tests.gateway.test_transactions import CUSTOMERS, client_of

pytestmark = pytest.mark.postgres
HEADER = "X-Consistency"
BEAT = (
    "INSERT INTO fabric.watermark (origin, region, heartbeat, at)"
    " VALUES (%(node)s, %(region)s, %(beat)s, clock_timestamp())"
    " ON CONFLICT (origin) DO UPDATE SET heartbeat = %(beat)s, at = clock_timestamp()"
)


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consistency, "WAIT_SECONDS", 0.2)


def get(token: str, slug: str = "acme", **headers: str) -> Any:
    return client_of(slug).get(CUSTOMERS, headers={HEADER: token, **headers})


def heard(deployment: Deployment, beat: int) -> None:
    """Here, the peer's log is applied up to that heartbeat."""
    dsn = deployment.dsn(live.HERE, live.LAB.database, OWNER_ROLE)
    known = {"node": deployment.region(live.PEER).node, "region": live.PEER, "beat": beat}
    with psycopg.connect(dsn) as owner:
        owner.execute(BEAT, known)


def peers(deployment: Deployment, beat: int, cell: str = live.LAB.name, slug: str = "acme") -> str:
    """A token that the peer gave."""
    tenant = local_directory().current().by_slug[slug]
    return issue(tenant, Token(cell, live.PEER, {str(deployment.region(live.PEER).node): beat}))


def test_who_does_not_ask_gets_no_token_and_who_asks_does(served: None) -> None:
    assert HEADER not in client_of("acme").get(CUSTOMERS)
    first = get("session")
    assert first.status_code == 200
    assert float(first["X-Staleness"]) >= 0
    assert get(first[HEADER])[HEADER]


def test_a_token_is_its_tenants_and_nobody_can_change_it(served: None) -> None:
    token = get("session")[HEADER]
    beat = token.rpartition(".")[0] + "0." + token.rpartition(".")[2]
    for wrong in (beat, token[:-1], token + "0", "mc1", "", "x.y.z", "sessión"):
        assert get(wrong).status_code == 400, wrong
    assert get(token, slug="beta").status_code == 400


def test_a_region_that_has_got_as_far_answers(served: None, deployment: Deployment) -> None:
    heard(deployment, 101)
    answer = get(peers(deployment, 100))
    assert answer.status_code == 200
    acme = local_directory().current().by_slug["acme"]
    token = read(acme, answer[HEADER])
    assert token is not None
    assert token.region == live.HERE
    assert token.beats[str(deployment.region(live.PEER).node)] == 101


def test_one_that_has_not_hands_the_request_to_the_one_that_has_or_says_so(
    served: None, deployment: Deployment
) -> None:
    heard(deployment, 100)  # the same is not enough: more may have come after it
    token = peers(deployment, 100)
    told = get(token)
    assert (told.status_code, told["Retry-After"]) == (503, "1")
    assert told.json()["type"] == "urn:meridian:problem:behind"
    through = get(token, **{"x-meridian-edge": "1"})
    assert (through.status_code, through["x-replay-region"]) == (307, "region_eu_central")
    again = get(token, **{"x-meridian-edge": "1", "x-replay-state": "1"})
    assert again.status_code == 503


def test_what_arrives_during_the_wait_is_waited_for(
    served: None, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consistency, "WAIT_SECONDS", 300.0)
    heard(deployment, 200)
    token = peers(deployment, 200)
    looks = []
    real = consistency._is_here

    def look(wanted: str) -> bool:
        looks.append(wanted)
        if len(looks) == 3:
            heard(deployment, 201)
        return real(wanted)

    monkeypatch.setattr(consistency, "_is_here", look)
    assert get(token).status_code == 200
    assert len(looks) == 3


def test_a_leased_cells_writer_answers_and_names_the_lost_region(
    served: None, deployment: Deployment
) -> None:
    answer = get(peers(deployment, 10_000, cell=live.FENCED.name, slug="beta"), slug="beta")
    assert answer.status_code == 200
    assert answer["X-Consistency-Missing"] == live.PEER
    after = get(answer[HEADER], slug="beta")
    assert (after.status_code, "X-Consistency-Missing" in after) == (200, False)


def test_a_token_from_before_a_move_asks_for_nothing(served: None, deployment: Deployment) -> None:
    assert get(peers(deployment, 10_000, cell="where-it-was")).status_code == 200


def test_a_write_has_its_own_number_in_its_token(served: None, deployment: Deployment) -> None:
    acme = local_directory().current().by_slug["acme"]
    own = str(deployment.region(live.HERE).node)
    before = read(acme, get("session")[HEADER])
    written = client_of("acme").post(
        CUSTOMERS,
        {"name": "Ada", "email": "ada@example.org"},
        content_type="application/json",
        headers={HEADER: "session"},
    )
    after = read(acme, written[HEADER])
    assert before is not None
    assert after is not None
    assert after.beats[own] > before.beats[own]


def test_a_database_that_can_not_say_gives_no_token(
    served: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consistency, "position", lambda: None)
    answer = get("session")
    assert (answer.status_code, HEADER in answer) == (200, False)
