"""Probes are the operators': whoever has no token of theirs is told so."""

from collections.abc import Callable

import pytest
from django.test import RequestFactory

from gateway.probes import probe
from regions.current import deployment
from tests.gateway.maps import cell


@pytest.mark.parametrize("sent", ["", "Bearer wrong", "Bearer \xfcml\xe4ut"])
def test_a_probe_without_the_operators_token_is_refused(publish: Callable[..., None], sent: str):
    publish(cells=[cell("eu", "eu-west", "eu-central")], tenants=[], writers={"eu": "eu-west"})
    request = RequestFactory().post("/", headers={"authorization": sent})
    assert probe(request, deployment().probe_host("eu")).status_code == 401
