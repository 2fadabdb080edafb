import json

from django.http import HttpRequest
from django.test import RequestFactory

from gateway import handoff
from regions.writers import Action, Decision

TO_EU_WEST = Decision(Action.HAND_OFF, "Cell eu is written in eu-west.", "eu-west")


def write(**headers: str) -> HttpRequest:
    return RequestFactory().post(
        "/api/desk/tickets?a=1", headers={"host": "acme.localhost:9500", **headers}
    )


def test_through_the_edge_the_request_is_replayed_in_the_writers_region() -> None:
    response = handoff.answer(write(**{"x-meridian-edge": "1"}), TO_EU_WEST, region="eu-central")
    assert response.status_code == 307
    assert response["x-replay-region"] == "region_eu_west"
    assert response["x-replay-state"] == "1"
    assert response["Location"] == "http://acme.localhost:9500/api/desk/tickets?a=1"


def test_a_direct_request_is_told_where_the_writer_is() -> None:
    response = handoff.answer(write(), TO_EU_WEST, region="eu-central")
    assert response.status_code == 421
    assert json.loads(response.content)["writer"] == "eu-west"
    assert "x-replay-region" not in response


def test_a_request_is_handed_off_once() -> None:
    replayed = write(**{"x-meridian-edge": "1", "x-replay-state": "1"})
    response = handoff.answer(replayed, TO_EU_WEST, region="eu-central")
    assert response.status_code == 503
    assert response["Retry-After"] == "1"


def test_without_a_writer_the_client_is_asked_to_come_back() -> None:
    nobody = Decision(Action.UNAVAILABLE, "No region holds the lease of cell eu now.")
    response = handoff.answer(write(**{"x-meridian-edge": "1"}), nobody, region="eu-central")
    assert response.status_code == 503
    assert response["Retry-After"] == "1"


def test_a_forged_destination_has_no_effect() -> None:
    forged = write(**{"x-meridian-edge": "1", "x-replay-region": "region_us_east"})
    response = handoff.answer(forged, TO_EU_WEST, region="eu-central")
    assert response["x-replay-region"] == "region_eu_west"
