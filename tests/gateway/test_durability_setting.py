"""Where a request does not say how durable it has to be, the setting does: by model, by view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import resolve

from desk.models import Customer, Ticket
from gateway import durability
from tenants import durable
from tenants.checks import durability_fits
from tenants.context import tenant_scope
from tenants.maps import region_map
from tenants.router import TenantRouter
from tests.gateway import maps

HOST, PATH = "acme.localhost", "/api/desk/tickets"
ROUTE = "api/desk/tickets"
Serve = Callable[..., str | None]


@pytest.fixture
def serve(settings, publish: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Serve:
    """What the answer to a write says; `writes`: of which models. Each wait for a peer succeeds."""
    monkeypatch.setattr(durability, "confirmed", lambda: True)

    def answered(
        setting: dict[str, str],
        *writes: type[Any],
        asked: str = "",
        status: int = 201,
        regions: tuple[str, ...] = ("eu-west", "eu-central"),
    ) -> str | None:
        publish(cells=[maps.cell("eu", *regions)], tenants=[maps.tenant("acme", "eu")])
        settings.MERIDIAN_DURABILITY = setting
        request = RequestFactory(headers={"x-durability": asked} if asked else {}).post(PATH)

        def view(request: HttpRequest) -> HttpResponse:
            request.resolver_match = resolve(PATH, urlconf=settings.MERIDIAN_TENANT_URLCONF)
            for model in writes:
                TenantRouter().db_for_write(model)
            return HttpResponse(status=status)

        tenant = region_map().tenant_of(HOST)
        assert tenant
        with tenant_scope(tenant):
            return durability.durably(view)(request).headers.get("X-Durability")

    return answered


def test_a_model_that_has_to_be_with_a_peer_is(serve: Serve) -> None:
    setting = {"desk.Ticket": "remote"}
    assert serve(setting, Ticket) == "remote"
    assert serve(setting, Customer, Ticket) == "remote"
    assert serve(setting, Customer) == "local"


def test_so_is_what_a_view_does_by_its_route_or_its_name(serve: Serve) -> None:
    name = resolve(PATH, urlconf="config.urls_tenant").view_name
    for key in (ROUTE, name):
        assert serve({key: "remote"}, Customer) == "remote"
    assert serve({"api/desk/customers": "remote"}, Customer) == "local"


def test_all_others_are_as_the_star_says_and_what_is_named_is_not(serve: Serve) -> None:
    setting = {"*": "remote", "desk.Ticket": "local"}
    assert serve(setting, Customer) == "remote"
    assert serve(setting, Ticket) == "local"


def test_a_request_that_says_what_it_wants_gets_that(serve: Serve) -> None:
    assert serve({"*": "remote"}, Ticket, asked="local") == "local"
    assert serve({}, Ticket, asked="remote") == "remote"


def test_a_form_that_sends_its_reader_on_is_as_durable(serve: Serve) -> None:
    assert serve({"*": "remote"}, Ticket, status=302) == "remote"
    assert serve({"*": "remote"}, Ticket, status=307) is None
    assert serve({"*": "remote"}, Ticket, status=400) is None


def test_a_wait_that_ends_early_says_maybe(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durability, "confirmed", lambda: False)
    assert serve({"desk.Ticket": "remote"}, Ticket) == "maybe"


def test_in_a_cell_without_a_peer_the_answer_is_local(serve: Serve) -> None:
    assert serve({"*": "remote"}, Ticket, regions=("eu-west",)) == "local"


def test_what_is_not_there_is_refused_before_anything_runs(settings) -> None:
    settings.MERIDIAN_DURABILITY = {"*": "remote", "desk.Ticket": "remote", ROUTE: "local"}
    assert durability_fits() == []
    settings.MERIDIAN_DURABILITY = {"desk.Tickets": "remote", "api/desk": "remote", "*": "all"}
    assert [message.id for message in durability_fits()] == ["tenants.E004"] * 3


def test_outside_a_request_nothing_is_noted() -> None:
    durable.writes(Ticket)
    with durable.noting() as written:
        durable.writes(Customer)
    assert written == {"desk.Customer"}
